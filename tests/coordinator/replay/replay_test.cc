#include "coordinator/replay/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace merganser {
namespace {

using testing::HasSubstr;

// Sample s is right within its own (squared) distance of (0.7, 0.7, ...): the nearer, the more are
// right, all of them at the optimum.
Response At(const std::vector<double>& genome, int samples = 200) {
  double distance = 0;
  for (const double x : genome) distance += (x - 0.7) * (x - 0.7);
  Response response{"recipe", genome, {}};
  Rng reach(7, 0);
  for (int s = 0; s < samples; ++s) response.correct.push_back(distance < reach.Uniform());
  return response;
}

std::vector<Response> Recorded(int recipes, int dimension = 3) {
  std::vector<Response> responses;
  Rng rng(1, 2);
  for (int i = 0; i < recipes; ++i) {
    std::vector<double> genome;
    for (int j = 0; j < dimension; ++j) genome.push_back(rng.Uniform());
    responses.push_back(At(genome));
    responses.back().recipe = "recipe " + std::to_string(i);
  }
  return responses;
}

double Mean(const std::vector<bool>& correct) {
  double sum = 0;
  for (const bool one : correct) sum += one;
  return sum / static_cast<double>(correct.size());
}

TEST(Responses, TheNearestRecipeAnswersWithWhatItRecorded) {
  const auto responses = Recorded(30);
  const auto model = MakeNearestModel(responses);
  for (const Response& one : responses) EXPECT_EQ(model->Correct(one.genome), one.correct);
  EXPECT_EQ(model->dimension(), 3);
  EXPECT_EQ(model->samples(), 200);
}

TEST(Responses, TheSurrogateForetellsRecipesThatItHasNotSeen) {
  const auto responses = Recorded(150);
  const auto model = MakeSurrogateModel(responses);
  const std::vector<std::vector<double>> unseen = {{0.7, 0.7, 0.7}, {0.2, 0.5, 0.6}, {0.9, 0.4, 0.8}};
  for (const std::vector<double>& genome : unseen) {
    EXPECT_NEAR(Mean(model->Correct(genome)), Mean(At(genome).correct), 0.12);
  }
  const SurrogateError error = LeftOutError(responses);
  EXPECT_LT(error.rmse, 0.3 * error.spread);
  EXPECT_GT(error.correlation, 0.95);
}

TEST(Responses, RefusesRecipesThatDoNotFitTogether) {
  const auto message = [](std::vector<Response> responses) {
    const absl::Status status = CheckResponses(responses);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_TRUE(CheckResponses(Recorded(20)).ok());
  EXPECT_THAT(message(Recorded(19)), HasSubstr("19 recipes are not in [20, 2000]"));
  auto responses = Recorded(20);
  responses[3].genome.pop_back();
  EXPECT_THAT(message(responses), HasSubstr("recipe 3: 2 genes where 'recipe 0' has 3"));
  responses = Recorded(20);
  responses[4].correct.pop_back();
  EXPECT_THAT(message(responses), HasSubstr("recipe 4: 199 samples where 'recipe 0' has 200"));
  responses = Recorded(20);
  responses[5].genome[0] = 1.5;
  EXPECT_THAT(message(responses), HasSubstr("recipe 5: gene 1.5 is not in [0, 1]"));
}

TEST(Replay, SpendsTheBudgetAndScoresWhatItReturnsOnSamplesThatItNeverSaw) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options;
  options.sample_evaluations = 6000;
  options.samples_per_candidate = 60;
  const auto run = Replay({"cma_es", {{"population", 10}}, {}}, *model, options);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->candidates, 100);
  EXPECT_GT(run->best_held_out, 0.8);
  EXPECT_GT(run->mean_held_out, 0.8);
  // The same again, and another seed's.
  EXPECT_EQ(Replay({"cma_es", {{"population", 10}}, {}}, *model, options)->best_genome, run->best_genome);
  options.seed = 1;
  EXPECT_NE(Replay({"cma_es", {{"population", 10}}, {}}, *model, options)->best_genome, run->best_genome);
}

TEST(Replay, FewFixedSamplesAreLearnedByHeart) {
  // The best measured fitness flatters; more so on few samples that never change.
  const auto model = MakeNearestModel(Recorded(300));
  ReplayOptions options;
  options.sample_evaluations = 4000;
  options.samples_per_candidate = 8;
  double flattery = 0;
  for (options.seed = 1; options.seed <= 10; ++options.seed) {
    const auto run = Replay({"random", {{"population", 10}}, {}}, *model, options);
    flattery += (run->best_measured - run->best_held_out) / 10;
  }
  EXPECT_GT(flattery, 0.01);
}

TEST(Replay, RefusesOptionsOutOfTheirRanges) {
  const auto model = MakeNearestModel(Recorded(20));
  const auto message = [&](const ReplayOptions& options) {
    const auto status = Replay({"random"}, *model, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({}), HasSubstr("sample_evaluations 0 is below 1"));
  EXPECT_THAT(message({100, 121}), HasSubstr("samples_per_candidate 121 is not in [1, 120]"));
  EXPECT_THAT(message({100, 0, false, 1.0}), HasSubstr("held_out 1 is not in (0, 1)"));
  EXPECT_EQ(Replay({"cma_es", {{"population", 2}}, {}}, *model, {100}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace merganser
