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

ReplayOptions Budget(int64_t sample_evaluations, int each = 0) {
  ReplayOptions options;
  options.sample_evaluations = {sample_evaluations};
  options.samples_per_candidate = each;
  return options;
}

const OptimizerSpec kCmaEs = {"cma_es", {{"population", 10}}, {}};

TEST(Replay, SpendsTheBudgetAndScoresWhatItReturnsOnSamplesThatItNeverSaw) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options = Budget(6000, 60);
  const auto run = Replay(kCmaEs, *model, options);
  ASSERT_TRUE(run.ok()) << run.status();
  const ReplayResult& result = run->at(0);
  EXPECT_EQ(result.candidates, 100);
  EXPECT_EQ(result.sample_evaluations, 6000);
  EXPECT_GT(result.best_held_out, 0.8);
  EXPECT_GT(result.mean_held_out, 0.8);
  EXPECT_EQ(result.answer_held_out, result.best_held_out);
  // The same again, and another seed's.
  EXPECT_EQ(Replay(kCmaEs, *model, options)->at(0).best_genome, result.best_genome);
  options.seed = 1;
  EXPECT_NE(Replay(kCmaEs, *model, options)->at(0).best_genome, result.best_genome);
}

TEST(Replay, SeveralBudgetsAreStopsOfOneSearch) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options = Budget(1200, 60);
  options.sample_evaluations = {1200, 2500, 6000};
  const auto run = Replay(kCmaEs, *model, options);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->size(), 3);
  EXPECT_EQ(run->at(0).candidates, 20);
  EXPECT_EQ(run->at(1).candidates, 40);  // whole generations
  EXPECT_EQ(run->at(2).candidates, 100);
  EXPECT_EQ(run->at(2).best_genome, Replay(kCmaEs, *model, Budget(6000, 60))->at(0).best_genome);
}

TEST(Replay, FinalistsArePaidForAndTheAnswerIsTheirBest) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options = Budget(6000, 20);
  options.samples = ReplayOptions::Samples::kFresh;
  double finalist = 0, best = 0;
  for (options.seed = 1; options.seed <= 10; ++options.seed) {
    options.finalists = 0;
    best += Replay({"random"}, *model, options)->at(0).answer_held_out / 10;
    options.finalists = 8;
    const auto run = Replay({"random"}, *model, options);
    // 9 finalists on the 120 samples that are not held out; 16 candidates a generation on 20 each.
    EXPECT_EQ(run->at(0).sample_evaluations, 9 * 120 + run->at(0).candidates * 20);
    EXPECT_LE(run->at(0).sample_evaluations, 6000);
    finalist += run->at(0).answer_held_out / 10;
  }
  EXPECT_GT(finalist, best);  // the best of many on 20 samples each has been lucky
}

TEST(Replay, ARaceSpendsLessOnLosersAndNeverStopsHalfOfAGeneration) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options = Budget(6000, 96);
  options.samples = ReplayOptions::Samples::kRace;
  const auto race = Replay(kCmaEs, *model, options);
  ASSERT_TRUE(race.ok()) << race.status();
  options.samples = ReplayOptions::Samples::kFresh;
  EXPECT_GT(race->at(0).candidates, Replay(kCmaEs, *model, options)->at(0).candidates);
  EXPECT_LE(race->at(0).sample_evaluations, 6000);
  EXPECT_GE(race->at(0).sample_evaluations, race->at(0).candidates / 2 * 96 + race->at(0).candidates / 2 * 16);
  EXPECT_GT(race->at(0).mean_held_out, 0.75);
}

TEST(Replay, InformativeSamplesAreChosenOnceCandidatesAreKnown) {
  const auto model = MakeSurrogateModel(Recorded(150));
  ReplayOptions options = Budget(400, 10);
  options.sample_evaluations = {400, 2000};
  options.samples = ReplayOptions::Samples::kFisher;
  const auto fisher = Replay(kCmaEs, *model, options);
  ASSERT_TRUE(fisher.ok()) << fisher.status();
  options.samples = ReplayOptions::Samples::kFresh;
  const auto fresh = Replay(kCmaEs, *model, options);
  EXPECT_EQ(fisher->at(0).best_genome, fresh->at(0).best_genome);  // 40 candidates: nothing to learn from before
  EXPECT_EQ(fisher->at(0).mean_held_out, fresh->at(0).mean_held_out);
  EXPECT_NE(fisher->at(1).mean_held_out, fresh->at(1).mean_held_out);
  EXPECT_GT(fisher->at(1).mean_held_out, 0.7);
}

TEST(Replay, EstimatesAreToldInPlaceOfMeans) {
  const auto model = MakeNearestModel(Recorded(300));
  ReplayOptions options = Budget(2000, 10);
  const auto plain = Replay(kCmaEs, *model, options);
  options.samples = ReplayOptions::Samples::kEstimated;
  for (const double x : {0.1, 0.5, 0.7}) options.known.push_back(At({x, x, x}).correct);
  const auto estimated = Replay(kCmaEs, *model, options);
  ASSERT_TRUE(estimated.ok()) << estimated.status();
  EXPECT_EQ(estimated->at(0).candidates, plain->at(0).candidates) << "an estimate costs no evaluation";
  EXPECT_EQ(estimated->at(0).sample_evaluations, plain->at(0).sample_evaluations);
  EXPECT_NE(estimated->at(0).best_measured, plain->at(0).best_measured);
}

TEST(Replay, FewFixedSamplesAreLearnedByHeart) {
  // The best measured fitness flatters; more so on few samples that never change.
  const auto model = MakeNearestModel(Recorded(300));
  ReplayOptions options = Budget(4000, 8);
  double flattery = 0;
  for (options.seed = 1; options.seed <= 10; ++options.seed) {
    const auto run = Replay({"random", {{"population", 10}}, {}}, *model, options);
    flattery += (run->at(0).best_measured - run->at(0).best_held_out) / 10;
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
  EXPECT_THAT(message({}), HasSubstr("sample_evaluations has no budget"));
  EXPECT_THAT(message(Budget(0)), HasSubstr("sample_evaluations 0 is below 1"));
  ReplayOptions options = Budget(100);
  options.sample_evaluations = {100, 100};
  EXPECT_THAT(message(options), HasSubstr("sample_evaluations 100 is not above the budget before, 100"));
  EXPECT_THAT(message(Budget(100, 121)), HasSubstr("samples_per_candidate 121 is not in [1, 120]"));
  options = Budget(100);
  options.held_out = 1;
  EXPECT_THAT(message(options), HasSubstr("held_out 1 is not in (0, 1)"));
  options = Budget(100);
  options.finalists = -1;
  EXPECT_THAT(message(options), HasSubstr("finalists -1 is below 0"));
  options = Budget(100);
  options.samples = ReplayOptions::Samples::kEstimated;
  EXPECT_THAT(message(options), HasSubstr("known has no model"));
  options.known = {std::vector<bool>(10)};
  EXPECT_THAT(message(options), HasSubstr("known has a model of 10 samples, the record has 200"));
  EXPECT_EQ(Replay({"cma_es", {{"population", 2}}, {}}, *model, Budget(100)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace merganser
