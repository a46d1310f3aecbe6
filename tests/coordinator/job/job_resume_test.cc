// A job that failed for reasons outside of it goes on after the repair.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/transfer/checkpoint_files.h"
#include "coordinator/job/history.h"
#include "tests/coordinator/job/job_loop_testing.h"

namespace merganser {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kGone[] = "no directory 'm/ja'";

class JobResumeTest : public JobLoopTest {
 protected:
  JobResumeTest() {
    world_.AddWorker("w-1");
    world_.AddWorker("w-2");
  }
  // From now on, every attempt of a candidate for which `about` holds.
  void Fail(
      FailureClass failure, std::function<bool(const Assignment&)> about = [](const Assignment&) { return true; }) {
    world_.fail = [failure, about](const Assignment& a) -> std::optional<World::Failure> {
      if (!about(a)) return std::nullopt;
      return World::Failure{failure, kGone};
    };
  }
  void Repair() {
    world_.fail = [](const Assignment&) { return std::nullopt; };
  }
  JobSummary Resume() {
    absl::StatusOr<JobSummary> resumed = world_.loop->ResumeJob(job_, "submitter/alice");
    EXPECT_TRUE(resumed.ok()) << resumed.status();
    return resumed.value_or(JobSummary{});
  }
  std::vector<std::pair<CandidateKind, CandidateState>> NotSucceeded() {
    std::vector<std::pair<CandidateKind, CandidateState>> others;
    for (const Candidate& c : world_.Candidates(job_)) {
      if (c.state != CandidateState::kSucceeded) others.emplace_back(c.kind, c.state);
    }
    return others;
  }
  void ExpectAHistoryWithoutFindingsThatReplays() {
    const JobState state = *world_.loop->StateOf(job_);
    const std::vector<StoredJob> jobs = *world_.memory.ListJobs();
    for (const StoredJob& job : jobs) {
      const HistoryReport report = *CheckHistory(&world_.memory, ProtoJobCodec(), job, {.must_be_over = true});
      for (const HistoryFinding& finding : report.findings) ADD_FAILURE() << ToString(finding);
    }
    world_.NewLoop();
    EXPECT_TRUE(state == *world_.loop->StateOf(job_));
  }
};

TEST_F(JobResumeTest, APreparationThatFailedIsTriedAgain) {
  Fail(FailureClass::kTransient);
  job_ = world_.Submit(SphereSpec()).id;
  const JobSummary failed = world_.Run(job_);
  ASSERT_EQ(failed.phase, JobPhase::kFailed);
  EXPECT_THAT(failed.message, HasSubstr("the same error on two workers"));
  Repair();
  const JobSummary resumed = Resume();
  EXPECT_EQ(resumed.phase, JobPhase::kPreparing);
  EXPECT_EQ(resumed.message, "");
  EXPECT_EQ(resumed.end_time, absl::InfiniteFuture());
  EXPECT_EQ(resumed.queued, 1);
  EXPECT_EQ(resumed.failed, 0);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 14);
  EXPECT_THAT(NotSucceeded(), IsEmpty());
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, APreparationIsTriedAgainWhateverItsFailureWas) {
  Fail(FailureClass::kInfeasible);  // a broken file, which somebody may mend
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  Repair();
  Resume();
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(JobResumeTest, AttemptsFromBeforeTheResumptionDoNotCount) {
  Fail(FailureClass::kTransient);
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  const size_t before = Get(0).attempts.size();
  Resume();
  // The same error again, from one worker and then from another: it takes both of them once more.
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  EXPECT_EQ(Get(0).attempts.size(), 2 * before);
  EXPECT_TRUE(Get(0).attempts.front().forgiven);
  EXPECT_FALSE(Get(0).attempts.back().forgiven);
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, SourcesAndSearchCandidatesThatAMountTookAreTriedAgain) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 40;
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.kind != CandidateKind::kPrepare; });
  job_ = world_.Submit(spec).id;
  const JobSummary failed = world_.Run(job_);
  ASSERT_EQ(failed.phase, JobPhase::kFailed);
  EXPECT_THAT(failed.message, HasSubstr("20 of the first 20 candidates failed; most often: the same error"));
  Repair();
  const JobSummary resumed = Resume();
  EXPECT_EQ(resumed.phase, JobPhase::kSearch);
  EXPECT_EQ(resumed.queued, 4 + 24) << "also what its end cancelled";
  EXPECT_EQ(resumed.search_finished, 0);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 40);
  EXPECT_THAT(NotSucceeded(), IsEmpty());
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, WhatHasFinishedStaysAndWhatTheSearchHasLearntFromFailuresOfLongAgo) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 60;
  // One in the second generation for reasons outside of it and one of itself; the fourth and all after it.
  const int64_t outside = kFirstSearch + 7, of_itself = kFirstSearch + 8, first_lost = kFirstSearch + 18;
  world_.fail = [=](const Assignment& a) -> std::optional<World::Failure> {
    if (a.id.candidate == of_itself) return World::Failure{FailureClass::kInfeasible, "NaN"};
    if (a.kind != CandidateKind::kSearch || (a.id.candidate != outside && a.id.candidate < first_lost)) return std::nullopt;
    return World::Failure{FailureClass::kTransient, kGone};
  };
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  const std::vector<Candidate> before = world_.Candidates(job_);
  const std::map<std::pair<std::string, int64_t>, int> evaluated = world_.evaluated;
  Repair();
  EXPECT_EQ(Resume().queued, static_cast<int64_t>(before.size()) - first_lost);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 60);
  EXPECT_EQ(Get(outside).state, CandidateState::kFailed);
  EXPECT_EQ(Get(of_itself).state, CandidateState::kFailed);
  EXPECT_EQ(NotSucceeded().size(), 2);
  const std::vector<Candidate> after = world_.Candidates(job_);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(after[i].genome, before[i].genome) << i;
    EXPECT_EQ(after[i].recipe, before[i].recipe) << i;
    if (before[i].state != CandidateState::kSucceeded) continue;
    EXPECT_EQ(after[i], before[i]) << i;
  }
  for (const auto& [candidate, times] : evaluated) EXPECT_EQ(world_.evaluated[candidate], times) << candidate.second;
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, AResumedSearchGoesOnTheSameAfterARestart) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 60;
  const auto genomes = [&](bool restart) {
    Fail(FailureClass::kUnavailable, [](const Assignment& a) { return a.id.candidate >= kFirstSearch + 12; });
    job_ = world_.Submit(spec).id;
    EXPECT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
    Repair();
    Resume();
    for (int i = 0; i < 10; ++i) {
      world_.loop->Tick();
      for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
    }
    if (restart) {
      world_.NewLoop();
      for (auto& [id, worker] : world_.workers) EXPECT_TRUE(world_.Connect(worker).ok());
    }
    EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
    std::vector<std::vector<double>> all;
    for (const Candidate& candidate : world_.Candidates(job_)) all.push_back(candidate.genome);
    return all;
  };
  world_.options.snapshot_every = 1;  // those from before the resumption must not be taken up
  world_.NewLoop();
  for (auto& [id, worker] : world_.workers) ASSERT_TRUE(world_.Connect(worker).ok());
  const auto straight = genomes(false);
  spec.name = "restarted";
  EXPECT_EQ(genomes(true), straight);
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, InARollingSearchWhatWasInFlightIsTriedAgain) {
  JobSpec spec = SphereSpec();
  spec.mode = SearchMode::kRolling;
  spec.budget.candidates = 60;
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.id.candidate >= kFirstSearch + 8; });
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  EXPECT_GT(world_.Summary(job_).cancelled, 0);
  Repair();
  EXPECT_EQ(Resume().cancelled, 0);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 60);
  EXPECT_THAT(NotSucceeded(), IsEmpty());
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, ARaceGoesOnWithItsNewestGeneration) {
  JobSpec spec = SampledSpec(0);
  spec.samples.racing = Racing{.block = 30, .confidence = 0.9};
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.id.candidate >= kFirstSearch + 14; });
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  Repair();
  Resume();
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 60);
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, TheSettingsOfAFailedJobMayChangeBeforeItIsResumed) {
  Fail(FailureClass::kTimedOut, [](const Assignment& a) { return a.kind == CandidateKind::kSearch; });
  JobSpec spec = SphereSpec();
  spec.attempt_timeout = absl::Minutes(1);
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  JobUpdate update{.fields = {"attempt_timeout", "budget.candidates"}};
  update.values.attempt_timeout = absl::Hours(1);
  update.values.budget.candidates = 20;
  const absl::StatusOr<JobSummary> updated = world_.loop->UpdateJob(job_, update, "submitter/alice");
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->phase, JobPhase::kFailed) << "it goes on once it is resumed";
  Repair();
  Resume();
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 20);
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobResumeTest, TimeBetweenFailureAndResumptionIsNoWallTime) {
  JobSpec spec = SphereSpec();
  spec.budget.wall_time = absl::Minutes(20);
  Fail(FailureClass::kTransient);
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  world_.clock.Advance(absl::Hours(8));
  world_.loop->Tick();
  for (auto& [id, worker] : world_.workers) ASSERT_TRUE(world_.Connect(worker).ok());
  Repair();
  Resume();
  EXPECT_EQ(world_.Run(job_).search_finished, 14);
}

TEST_F(JobResumeTest, AJobOfWhichNothingWouldGoOtherwiseIsNotResumed) {
  Fail(FailureClass::kInfeasible, [](const Assignment& a) { return a.kind == CandidateKind::kSearch; });
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
  const int64_t seq = world_.Summary(job_).seq;
  const absl::Status refused = world_.loop->ResumeJob(job_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("nothing of it would go otherwise"));
  EXPECT_THAT(refused.message(), HasSubstr(kGone)) << "with what it failed of";
  EXPECT_EQ(world_.Summary(job_).seq, seq);
  // A larger budget is something.
  JobUpdate update{.fields = {"budget.candidates"}};
  update.values.budget.candidates = 30;
  ASSERT_TRUE(world_.loop->UpdateJob(job_, update).ok());
  Repair();
  Resume();
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.failed, 14);
}

TEST_F(JobResumeTest, ACancelledJobIsNotResumed) {
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_TRUE(world_.loop->CancelJob(job_).ok());
  EXPECT_THAT(world_.loop->ResumeJob(job_).status().message(), HasSubstr("is over: cancelled"));
}

// --- what the models were when the job was prepared ---------------------------------------------------------------------

class JobContentsTest : public JobResumeTest {
 protected:
  // Every worker says of the models what they are by `contents_`.
  JobContentsTest() {
    world_.tamper = [this](v1::ResultRecord* record) {
      if (!record->has_facts()) return;
      for (const auto& [name, content] : contents_) (*record->mutable_facts()->mutable_contents())[name] = content;
    };
    world_.fail = [this](const Assignment& a) -> std::optional<World::Failure> {
      std::vector<std::string> paths;
      for (const ModelRef& model : a.spec->models) paths.push_back(model.path);
      (a.kind == CandidateKind::kPrepare ? prepared_with_ : evaluated_with_) = paths;
      return std::nullopt;
    };
  }
  std::map<std::string, std::string> contents_ = {
      {"base", std::string(64, 'a')}, {"ja", std::string(64, 'b')}, {"math", std::string(64, 'c')}};
  std::vector<std::string> prepared_with_, evaluated_with_;
};

TEST_F(JobContentsTest, AttemptsAreHeldToTheModelsThatTheJobWasPreparedWith) {
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_THAT(prepared_with_, ElementsAre("m/base", "m/ja", "m/math"));
  EXPECT_THAT(evaluated_with_, ElementsAre(WithContent("m/base", contents_["base"]), WithContent("m/ja", contents_["ja"]),
                                           WithContent("m/math", contents_["math"])));
  EXPECT_EQ(world_.Summary(job_).facts->contents, contents_);
  EXPECT_THAT(world_.Summary(job_).spec.models[1].path, "m/ja") << "the job is what was submitted";
}

TEST_F(JobContentsTest, ARestartHoldsThemToTheSame) {
  job_ = world_.Submit(SphereSpec()).id;
  for (int i = 0; i < 5; ++i) {
    world_.loop->Tick();
    for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
  }
  const auto before = evaluated_with_;
  ASSERT_THAT(before, Each(HasSubstr("@sha256:")));
  world_.NewLoop();
  for (auto& [id, worker] : world_.workers) ASSERT_TRUE(world_.Connect(worker).ok());
  evaluated_with_.clear();
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_EQ(evaluated_with_, before);
  ExpectAHistoryWithoutFindingsThatReplays();
}

TEST_F(JobContentsTest, APathThatNamesItsContentAndAHubIdAtACommitStayAsTheyAre) {
  JobSpec spec = SphereSpec();
  spec.models[0].path = WithContent("m/base", std::string(64, 'd'));
  spec.models[1].path = "org/ja@0123456789abcdef0123456789abcdef01234567";
  spec.models[2].path = "org/math@main";
  job_ = world_.Submit(spec).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_THAT(evaluated_with_,
              ElementsAre(spec.models[0].path, spec.models[1].path, WithContent("org/math@main", contents_["math"])));
}

}  // namespace
}  // namespace merganser
