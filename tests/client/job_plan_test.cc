#include "client/job_plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

TEST(CondenseGroupsTest, RunsOfNumberedGroupsBecomeOnePiece) {
  EXPECT_EQ(CondenseGroups({"embed", "layer.0", "layer.1", "layer.2", "out"}), "embed, layer.0 ... layer.2, out");
  EXPECT_EQ(CondenseGroups({"layer.0", "layer.1"}), "layer.0, layer.1");
  EXPECT_EQ(CondenseGroups({"layer.0", "layer.2", "layer.3"}), "layer.0, layer.2, layer.3");
  EXPECT_EQ(CondenseGroups({}), "");
}

TEST(JobPlanTest, SaysDimensionPopulationBudgetSamplesAndTime) {
  absl::StatusOr<JobPlan> plan = MakeJobPlan(SmallSpec(), SmallFacts());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->stages.size(), 1u);
  EXPECT_EQ(plan->stages[0].genes.size(), 12u);  // 2 sources x (embed, 4 layers, out)
  EXPECT_EQ(plan->stages[0].population, 15);     // 4/3 of 4 + floor(3 ln 12), rounded up
  EXPECT_EQ(plan->stages[0].generations, 2);
  EXPECT_EQ(plan->candidates, 20);
  plan->calibration = Calibration{absl::Milliseconds(500)};
  const std::string text = JobPlanText(*plan);
  EXPECT_THAT(text, HasSubstr("weight of math in [0, 2]: 6 groups: embed, layer.0 ... layer.3, out"));
  EXPECT_THAT(text, HasSubstr("500ms per candidate, measured; about 10.0s for the search"));
  EXPECT_THAT(text, HasSubstr("8,000"));
  const Json json = JobPlanJson(*plan);
  EXPECT_EQ(json["dimension"], 12);
  EXPECT_EQ(json["seconds_per_candidate"], 0.5);
  EXPECT_EQ(json["benchmarks"]["test"]["held_out"], true);
}

TEST(JobPlanTest, SaysWhatAFleetMakesOfThePopulation) {
  JobSpec spec = SmallSpec();
  spec.budget.candidates = 400;
  EXPECT_THAT(
      JobPlanText(*MakeJobPlan(spec, SmallFacts())),
      HasSubstr("15 candidates per generation (where a fleet has more evaluation slots: as many as it has, up to 20)"));
  EXPECT_EQ(JobPlanJson(*MakeJobPlan(spec, SmallFacts()))["population_max"], 20);
  spec.budget.candidates = 100;  // twenty generations of 5 are no more than the preset has
  EXPECT_THAT(JobPlanText(*MakeJobPlan(spec, SmallFacts())), HasSubstr("15 candidates per generation, seed"));
  spec.optimizer.numbers["population"] = 12;
  spec.budget.candidates = 400;
  EXPECT_THAT(JobPlanText(*MakeJobPlan(spec, SmallFacts())), HasSubstr("12 candidates per generation, seed"));
  EXPECT_EQ(JobPlanJson(*MakeJobPlan(spec, SmallFacts()))["population_max"], 12);
}

TEST(JobPlanTest, ABudgetOfSamplesIsSoManyCandidates) {
  JobSpec spec = SmallSpec();
  const int64_t each = SmallFacts().samples.at(spec.benchmarks[0].name);
  spec.budget.candidates = 1000;
  spec.budget.samples = 45 * each - 1;
  absl::StatusOr<JobPlan> plan = MakeJobPlan(spec, SmallFacts());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->candidates, 45);
  plan->calibration = Calibration{absl::Seconds(2)};
  EXPECT_THAT(JobPlanText(*plan), HasSubstr("sample evaluations (about 45 candidates in 3 generations)"));
  EXPECT_THAT(JobPlanText(*plan), HasSubstr("about 1m30s for the search"));

  spec.budget.candidates = 20;
  EXPECT_EQ(MakeJobPlan(spec, SmallFacts())->candidates, 20) << "the smaller budget counts";
}

TEST(JobPlanTest, ACutCalibrationIsALowerBound) {
  absl::StatusOr<JobPlan> plan = MakeJobPlan(SmallSpec(), SmallFacts());
  ASSERT_TRUE(plan.ok()) << plan.status();
  plan->calibration = Calibration{absl::Seconds(20), /*cut=*/true};
  EXPECT_THAT(JobPlanText(*plan), HasSubstr("over 20.0s per candidate"));
  EXPECT_TRUE(JobPlanJson(*plan)["seconds_per_candidate"].is_null());
}

TEST(JobPlanTest, EveryStageIsPlanned) {
  JobSpec spec = SmallSpec();
  SearchStage paths;
  paths.data_flow = DataFlowSpace{.sources = {"winner", "ja"}, .ends = DataFlowSpace::Ends::kSearch};
  paths.budget.candidates = 50;
  spec.then = {paths};
  const absl::StatusOr<JobPlan> plan = MakeJobPlan(spec, SmallFacts());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->candidates, 70);
  EXPECT_EQ(plan->stages[1].genes.size(), 10u);  // 4 depths x (source, keep), embedding, head
  EXPECT_THAT(JobPlanText(*plan),
              HasSubstr("paths through winner, ja; a choice per depth; embedding and head are searched"));
  EXPECT_EQ(JobPlanJson(*plan)["stages"][1]["dimension"], 10);
  EXPECT_EQ(JobPlanJson(*plan)["dimension"], 12);
}

TEST(JobPlanTest, FinalistsAreCountedInWords) {
  JobSpec spec = SmallSpec();
  spec.finalists = {.count = 1, .benchmark = "task"};
  EXPECT_THAT(JobPlanText(*MakeJobPlan(spec, SmallFacts())), HasSubstr("the best one is scored again on task\n"));
  spec.finalists.count = 8;
  EXPECT_THAT(JobPlanText(*MakeJobPlan(spec, SmallFacts())), HasSubstr("the best 8 are scored again on task\n"));
}

TEST(JobPlanTest, ErrorNamesTheField) {
  JobSpec spec = SmallSpec();
  spec.parameter.granularity = {Granularity::Kind::kBlock, 9, {}};
  EXPECT_THAT(std::string(MakeJobPlan(spec, SmallFacts()).status().message()), HasSubstr("space.parameter.granularity"));
}

}  // namespace
}  // namespace merganser
