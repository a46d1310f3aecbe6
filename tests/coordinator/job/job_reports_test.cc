// Many results at once: JobLoop::ReportAttempts.
#include <algorithm>

#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::Each;

class JobReportsTest : public testing::Test {
 protected:
  // A search with one candidate on each of six workers; their reports, with the records written.
  void SetUp() override {
    for (int i = 0; i < 6; ++i) world_.AddWorker(absl::StrCat("worker-", i));
    job_ = world_.Submit(SphereSpec()).id;
    while (Held() < 6 || !InSearch()) {
      for (auto& [id, worker] : world_.workers) {
        while (!InSearch() && !worker->held.empty()) ASSERT_TRUE(world_.Work(*worker).ok());
      }
      world_.loop->Tick();
    }
    for (auto& [id, worker] : world_.workers) reports_.push_back(*world_.Evaluate(*worker, worker->held.front()));
    world_.store.fault = [this](absl::string_view operation) {
      appends_ += operation == "append" ? 1 : 0;
      return fault_;
    };
  }
  bool InSearch() {
    return world_.Summary(job_).phase == JobPhase::kSearch && world_.Candidates(job_).size() > kFirstSearch;
  }
  size_t Held() {
    size_t held = 0;
    for (auto& [id, worker] : world_.workers) held += worker->held.empty() ? 0 : 1;
    return held;
  }
  std::vector<absl::StatusOr<Disposition>> Report() { return world_.loop->ReportAttempts(reports_); }

  World world_;
  std::string job_;
  std::vector<AttemptReport> reports_;
  int appends_ = 0;
  FaultyStore::Fault fault_ = FaultyStore::Fault::kNone;
};

TEST_F(JobReportsTest, ResultsOfOneJobAreStoredInOneAppend) {
  for (const auto& answer : Report()) EXPECT_EQ(answer.value(), Disposition::kCommitted);
  EXPECT_EQ(appends_, 1);
  EXPECT_EQ(world_.Summary(job_).search_finished, 6);
  for (const auto& answer : Report()) EXPECT_EQ(answer.value(), Disposition::kDuplicate);
}

// With as many workers as candidates a search costs a write for each generation's proposals, with the attempts at them, and
// one for its results.
TEST_F(JobReportsTest, AGenerationIsStoredTogetherWithItsFirstAttempts) {
  (void)Report();
  ASSERT_EQ(appends_, 1);
  for (auto& [id, worker] : world_.workers) worker->held.clear();
  world_.loop->Tick();
  EXPECT_EQ(appends_, 2);
  for (auto& [id, worker] : world_.workers) {
    ASSERT_FALSE(worker->held.empty()) << id;
    EXPECT_EQ(world_.loop->GetCandidate(job_, worker->held.front().id.candidate)->generation, 1);
  }
}

TEST_F(JobReportsTest, AResultIsStoredTogetherWithTheNextAttemptOfItsWorker) {
  (void)Report();
  for (auto& [id, worker] : world_.workers) {
    worker->held.clear();
    if (id != "worker-0") world_.loop->WorkerDisconnected(id, worker.get(), /*gone=*/true);
  }
  world_.loop->Tick();
  auto& worker = *world_.workers["worker-0"];
  ASSERT_EQ(worker.held.size(), 2u) << "one to evaluate, one ahead";
  const AttemptReport report = *world_.Evaluate(worker, worker.held.front());
  appends_ = 0;
  EXPECT_EQ(world_.loop->ReportAttempts({report})[0].value(), Disposition::kCommitted);
  EXPECT_EQ(worker.held.size(), 3u) << "the one that is reported, and two";
  EXPECT_EQ(appends_, 1);
  world_.loop->Tick();
  EXPECT_EQ(appends_, 1) << "nothing is left to dispatch";
}

TEST_F(JobReportsTest, ARecordThatWasReadAlreadyIsNotReadAgain) {
  int reads = 0;
  world_.store.fault = [&reads](absl::string_view operation) {
    reads += operation == "get_record" ? 1 : 0;
    return FaultyStore::Fault::kNone;
  };
  std::vector<std::string> records;
  for (const AttemptReport& report : reports_) records.push_back(*world_.memory.GetRecord(report.record_key));
  records[1].clear();                                             // it is read
  records[2] = *world_.memory.GetRecord(reports_[3].record_key);  // of another attempt: the plain way reads the right one
  for (const auto& answer : world_.loop->ReportAttempts(reports_, records))
    EXPECT_EQ(answer.value(), Disposition::kCommitted);
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(world_.Summary(job_).search_finished, 6);
}

TEST_F(JobReportsTest, EachGetsItsOwnAnswer) {
  reports_[0].token = "of another attempt";
  reports_[1].record_sha256 = std::string(64, '0');
  reports_[2].record_key.clear();
  reports_[2].failure = FailureClass::kInfeasible;
  reports_.push_back(reports_[3]);
  reports_.push_back(reports_[3]);
  reports_.back().id.job_id = "job-99";
  const auto answers = Report();
  EXPECT_EQ(answers[0].value(), Disposition::kRejected);
  EXPECT_EQ(answers[1].value(), Disposition::kRejected);
  EXPECT_EQ(answers[2].value(), Disposition::kCommitted);
  EXPECT_EQ(answers[3].value(), Disposition::kCommitted);
  EXPECT_EQ(answers[6].value(), Disposition::kDuplicate) << "the second report of one candidate in one batch";
  EXPECT_EQ(answers[7].value(), Disposition::kRejected);
  EXPECT_EQ(world_.Summary(job_).search_finished, 4);
}

TEST_F(JobReportsTest, AStoreThatIsAwayCommitsNothingOrAllOfIt) {
  fault_ = FaultyStore::Fault::kBefore;
  for (const auto& answer : Report()) EXPECT_TRUE(absl::IsUnavailable(answer.status()));
  EXPECT_EQ(world_.Summary(job_).search_finished, 0);
  fault_ = FaultyStore::Fault::kNone;
  for (const auto& answer : Report()) EXPECT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(world_.Summary(job_).search_finished, 6);
}

TEST_F(JobReportsTest, ALostAnswerIsSettledByTheRetry) {
  fault_ = FaultyStore::Fault::kAfter;
  for (const auto& answer : Report()) EXPECT_FALSE(answer.ok());
  fault_ = FaultyStore::Fault::kNone;
  world_.clock.Advance(absl::Seconds(1));
  world_.loop->Tick();
  for (const auto& answer : Report()) EXPECT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(world_.Summary(job_).search_finished, 6);
}

// A log is read from the store where memory no longer has it.
TEST_F(JobReportsTest, EventsAreThoseOfTheWholeLog) {
  (void)Report();
  std::vector<int64_t> seqs;
  while (true) {
    const auto batch = world_.loop->EventsAfter(job_, static_cast<int64_t>(seqs.size()));
    ASSERT_TRUE(batch.ok()) << batch.status();
    if (batch->events.empty()) break;
    for (const auto& [seq, event] : batch->events) seqs.push_back(seq);
  }
  EXPECT_EQ(static_cast<int64_t>(seqs.size()), world_.Summary(job_).seq);
  EXPECT_TRUE(std::is_sorted(seqs.begin(), seqs.end()));
}

}  // namespace
}  // namespace merganser
