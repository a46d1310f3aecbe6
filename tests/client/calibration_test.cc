#include "client/calibration.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;

// Knows what it was asked to score.
class AskedEvaluator final : public CandidateEvaluator {
 public:
  std::vector<std::string> asked;

  absl::StatusOr<JobFacts> Prepare(const JobSpec&, const PhaseCallback&, std::stop_token) override { return SmallFacts(); }
  absl::StatusOr<Evaluation> Evaluate(const JobSpec&, const Recipe&, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback&, std::stop_token) override {
    asked = benchmarks;
    Evaluation evaluation;
    evaluation.generated_tokens = 321;
    return evaluation;
  }
};

// A job whose candidates see few samples must not be told the time of all of them, or of the finalists'.
TEST(CalibrateTest, ScoresWhatACandidateOfTheSearchIsScoredOn) {
  JobSpec spec = SmallSpec();
  BenchmarkSpec last = spec.benchmarks[0];
  last.name = "last";
  spec.benchmarks.push_back(last);
  spec.finalists = {.count = 1, .benchmark = "last"};
  AskedEvaluator evaluator;
  const auto whole = Calibrate(spec, evaluator, absl::Minutes(1), {});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(evaluator.asked, ElementsAre("task"));
  EXPECT_EQ(whole->generated_tokens, 321);
  EXPECT_FALSE(whole->cut);
  spec.samples.per_generation = 25;
  ASSERT_TRUE(Calibrate(spec, evaluator, absl::Minutes(1), {}).ok());
  EXPECT_THAT(evaluator.asked, ElementsAre("task@0"));
}

}  // namespace
}  // namespace merganser
