#include "client/front_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/record.pb.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Accuracy against hops: a source of 6 hops, and paths of 6 and 3 hops with 75 and 25 of 100 right.
class FrontReportTest : public testing::Test {
 protected:
  FrontReportTest() {
    spec_ = SmallSpec();
    spec_.objectives = {{"task", "acc_ja"}, {kCostBenchmark, kHopsMetric}};
    Add(CandidateKind::kSource, 10, 6);
    Add(CandidateKind::kSearch, 75, 6);
    Add(CandidateKind::kSearch, 25, 3);
    Add(CandidateKind::kSearch, 20, 5);  // dominated
  }

  void Add(CandidateKind kind, int right, int hops) {
    Candidate c;
    c.number = static_cast<int64_t>(candidates_.size());
    c.kind = kind;
    c.state = CandidateState::kSucceeded;
    c.benchmarks = {"task"};
    c.record_key = absl::StrCat("record ", c.number);
    c.recipe.mask_seed = candidates_.size();
    c.fitness = {right / 100.0, -1.0 * hops};
    v1::ResultRecord record;
    v1::BenchmarkResult& result = *record.mutable_evaluation()->add_results();
    result.set_benchmark("task");
    for (int i = 0; i < 100; ++i) (*result.add_samples()->mutable_values())["acc_ja"] = i < right ? 1 : 0;
    records_[c.record_key] = record.SerializeAsString();
    candidates_.push_back(c);
  }

  std::optional<FrontReport> Describe() {
    return DescribeFront(spec_, candidates_, [&](const std::string& key) -> absl::StatusOr<std::string> {
      const auto it = records_.find(key);
      if (it == records_.end()) return absl::NotFoundError(absl::StrCat("no ", key));
      return it->second;
    });
  }

  JobSpec spec_;
  std::vector<Candidate> candidates_;
  std::map<std::string, std::string> records_;
};

TEST_F(FrontReportTest, VolumeIsAboveZeroSharesAndATenthMoreThanTheWorstCost) {
  const auto front = Describe();
  ASSERT_TRUE(front.has_value());
  EXPECT_THAT(front->candidates, ElementsAre(1, 2));
  EXPECT_THAT(front->reference, ElementsAre(0, testing::DoubleEq(-6.6)));
  const double volume = 0.75 * 0.6 + 0.25 * 3;
  EXPECT_NEAR(front->volume.value_or(-1), volume, 1e-12);
  ASSERT_TRUE(front->interval.has_value()) << front->no_interval;
  EXPECT_LT(front->interval->low, volume - 0.1);
  EXPECT_GT(front->interval->high, volume + 0.1);
  EXPECT_THAT(FrontText(spec_, *front), HasSubstr("2 candidates, hypervolume 1.2 (95 %: "));
  EXPECT_THAT(FrontText(spec_, *front), HasSubstr(" above task.acc_ja 0, cost.hops -6.6"));
  const Json json = FrontJson(spec_, *front);
  EXPECT_EQ(json["reference"]["task.acc_ja"], 0);
  EXPECT_EQ(json["resamplings"], 1000);
  EXPECT_EQ(json["low"], front->interval->low);
}

TEST_F(FrontReportTest, AMetricThatIsNoMeanHasNoInterval) {
  candidates_[2].fitness[0] = 0.26;  // of the records, 0.25
  EXPECT_EQ(Describe()->no_interval, "task.acc_ja is no mean over samples");
  EXPECT_TRUE(Describe()->volume.has_value());
  EXPECT_THAT(FrontText(spec_, *Describe()), HasSubstr("(no interval: task.acc_ja is no mean over samples)"));
  EXPECT_EQ(FrontJson(spec_, *Describe())["no_interval"], "task.acc_ja is no mean over samples");
  EXPECT_FALSE(FrontJson(spec_, *Describe()).contains("low"));
}

TEST_F(FrontReportTest, TokensAndUnreadableRecordsHaveNoInterval) {
  spec_.objectives[1].metric = kTokensMetric;
  EXPECT_EQ(Describe()->no_interval, "cost.tokens is not recorded sample by sample");
  records_.clear();
  EXPECT_EQ(Describe()->no_interval, "no record 1");
}

TEST_F(FrontReportTest, ATwinIsReadFromTheRecordOfTheOther) {
  const auto front = Describe();
  Candidate twin = candidates_[1];
  twin.number = 9;
  twin.record_key.clear();
  candidates_.insert(candidates_.begin() + 1, twin);
  EXPECT_THAT(Describe()->candidates, ElementsAre(9, 2));
  ASSERT_TRUE(Describe()->interval.has_value()) << Describe()->no_interval;
  EXPECT_EQ(Describe()->interval->low, front->interval->low);
  for (Candidate& c : candidates_) c.record_key.clear();
  EXPECT_EQ(Describe()->no_interval, "candidate 9 has no record");
}

TEST_F(FrontReportTest, OneObjectiveHasNoFront) {
  spec_.objectives.pop_back();
  EXPECT_FALSE(Describe().has_value());
}

}  // namespace
}  // namespace merganser
