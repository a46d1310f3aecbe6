#include "coordinator/optimizer/factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "coordinator/optimizer/cma_es.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(OptimizerFactory, KnowsItsOptimizers) {
  EXPECT_THAT(KnownOptimizers(), ElementsAre("cma_es", "nsga2", "mo_cma_es", "gp", "niche", "random"));
}

TEST(OptimizerFactory, KnowsWhichRankByAllObjectives) {
  std::vector<std::string> each;
  for (const std::string& name : KnownOptimizers()) {
    if (LearnsEachObjective(name)) each.push_back(name);
  }
  EXPECT_THAT(each, ElementsAre("nsga2", "mo_cma_es", "niche"));
}

TEST(OptimizerFactory, DefaultsAreHansensConstantsInLargerGenerationsWithRollingUpdateAndTransformedBounds) {
  auto optimizer = CreateOptimizer(OptimizerSpec(), 6, 1);
  ASSERT_TRUE(optimizer.ok()) << optimizer.status();
  EXPECT_EQ((*optimizer)->batch_size(), 12);  // 4/3 of 4 + floor(3 ln 6)
  EXPECT_THAT((*optimizer)->Mean(), ElementsAre(0.5, 0.5, 0.5, 0.5, 0.5, 0.5));
  EXPECT_EQ((*optimizer)->generation(), 0);
  EXPECT_THAT((*optimizer)->Summary(), HasSubstr("sigma 0.167"));
  EXPECT_EQ((*CreateOptimizer({"cma_es", {}, {{"preset", "default"}}}, 6, 1))->SaveState(), (*optimizer)->SaveState());
  const OptimizerSpec in_words = {"cma_es",
                                  {{"sigma0", 1.0 / 6}, {"population", 12}},
                                  {{"preset", "hansen"}, {"update", "rolling"}, {"bounds", "transform"}}};
  EXPECT_EQ((*CreateOptimizer(in_words, 6, 1))->SaveState(), (*optimizer)->SaveState());
  EXPECT_EQ((*CreateOptimizer({"cma_es", {}, {{"preset", "hansen"}}}, 6, 1))->batch_size(), 9);
  EXPECT_EQ((*CreateOptimizer({"cma_es"}, 16, 1))->batch_size(), 16);
}

TEST(OptimizerFactory, PublishedIsWhatThePublishedSearchesRan) {
  const OptimizerSpec published = {"cma_es", {}, {{"preset", "published"}}};
  auto optimizer = *CreateOptimizer(published, 6, 1);
  EXPECT_EQ(optimizer->batch_size(), 9);
  const std::string state = optimizer->SaveState();
  for (const std::string line : {"variant published\n", "rolling 0\n", "transform 0\n", "tries 60\n"}) {
    EXPECT_THAT(state, HasSubstr(line));
  }
  EXPECT_THAT(optimizer->Summary(), HasSubstr("sigma 0.167"));
  EXPECT_THAT(optimizer->Mean(), ElementsAre(0.5, 0.5, 0.5, 0.5, 0.5, 0.5));
}

TEST(OptimizerFactory, OptionsReachTheOptimizer) {
  auto optimizer = CreateOptimizer(
      {"cma_es", {{"population", 30}, {"sigma0", 0.25}, {"mean", 0.125}}, {{"preset", "hansen"}, {"update", "rolling"}}}, 2,
      1);
  ASSERT_TRUE(optimizer.ok()) << optimizer.status();
  EXPECT_EQ((*optimizer)->batch_size(), 30);
  EXPECT_THAT((*optimizer)->Mean(), ElementsAre(0.125, 0.125));
  EXPECT_THAT((*optimizer)->Summary(), HasSubstr("sigma 0.25,"));
  EXPECT_THAT((*optimizer)->SaveState(), HasSubstr("variant hansen\n"));
  EXPECT_THAT((*optimizer)->SaveState(), HasSubstr("rolling 1\n"));
  EXPECT_EQ((*CreateOptimizer({"random", {{"population", 3}}, {}}, 2, 1))->batch_size(), 3);
}

struct WrongSpec {
  std::string name;
  OptimizerSpec spec;
  int dimension;
  std::string message;
};

class WrongSpecs : public testing::TestWithParam<WrongSpec> {};

TEST_P(WrongSpecs, AreInvalidArgumentsThatNameTheField) {
  const absl::Status status = CreateOptimizer(GetParam().spec, GetParam().dimension, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongSpecs,
    testing::ValuesIn(std::vector<WrongSpec>{
        {"name", {"cma-es"}, 2, "optimizer: unknown optimizer 'cma-es'; did you mean 'cma_es'?"},
        {"far_name",
         {"annealing"},
         2,
         "optimizer: unknown optimizer 'annealing'; known: cma_es, nsga2, mo_cma_es, gp, niche, random"},
        {"option",
         {"cma_es", {{"popsize", 8}}, {}},
         2,
         "optimizer.cma_es.popsize: unknown option; known: population, sigma0, mean, restarts, "
         "preset, update, bounds, covariance, discrete, learning_rate"},
        {"near_option",
         {"cma_es", {{"sigma", 0.2}}, {}},
         2,
         "optimizer.cma_es.sigma: unknown option; did you mean 'sigma0'?"},
        {"near_word",
         {"cma_es", {}, {{"presets", "hansen"}}},
         2,
         "optimizer.cma_es.presets: unknown option; did you mean 'preset'?"},
        {"preset",
         {"cma_es", {}, {{"preset", "hanson"}}},
         2,
         "optimizer.cma_es.preset: unknown value 'hanson'; did you mean 'hansen'?"},
        {"bounds",
         {"cma_es", {}, {{"bounds", "clip"}}},
         2,
         "optimizer.cma_es.bounds: unknown value 'clip'; known: transform, resample"},
        {"update",
         {"cma_es", {}, {{"update", "roling"}}},
         2,
         "optimizer.cma_es.update: unknown value 'roling'; did you mean 'rolling'?"},
        {"word_for_number",
         {"cma_es", {}, {{"population", "many"}}},
         2,
         "optimizer.cma_es.population: 'many' is not a number"},
        {"number_for_word", {"cma_es", {{"preset", 1}}, {}}, 2, "optimizer.cma_es.preset: the number 1 where a word is due"},
        {"population_low", {"cma_es", {{"population", 3}}, {}}, 2, "optimizer.cma_es.population: 3 is not in [4, 10000]"},
        {"population_fraction",
         {"cma_es", {{"population", 7.5}}, {}},
         2,
         "optimizer.cma_es.population: 7.5 is not a whole number"},
        {"sigma0", {"cma_es", {{"sigma0", 0}}, {}}, 2, "optimizer.cma_es.sigma0: 0 is not in [1e-06, 1]"},
        {"mean", {"cma_es", {{"mean", -0.5}}, {}}, 2, "optimizer.cma_es.mean: -0.5 is not in [0, 1]"},
        {"mean_nan", {"cma_es", {{"mean", std::nan("")}}, {}}, 2, "optimizer.cma_es.mean: nan is not in [0, 1]"},
        {"no_dimension",
         {"cma_es"},
         0,
         "optimizer.cma_es: genome dimension 0 is not in [1, 5000]; a coarser granularity has "
         "fewer dimensions"},
        {"many_dimensions",
         {"cma_es"},
         5001,
         "optimizer.cma_es: genome dimension 5001 is not in [1, 5000]; a coarser granularity has "
         "fewer dimensions"},
        {"restarts", {"cma_es", {{"restarts", 21}}, {}}, 2, "optimizer.cma_es.restarts: 21 is not in [0, 20]"},
        {"margin_with_resampling",
         {"cma_es", {}, {{"preset", "published"}, {"discrete", "margin"}}},
         2,
         "optimizer.cma_es.discrete: margin does not go with bounds: resample"},
        {"adaptive_separable",
         {"cma_es", {}, {{"covariance", "separable"}, {"learning_rate", "adaptive"}}},
         2,
         "optimizer.cma_es.learning_rate: adaptive does not go with covariance: separable"},
        {"adaptive_dimension",
         {"cma_es", {}, {{"learning_rate", "adaptive"}}},
         1001,
         "optimizer.cma_es: genome dimension 1001 is not in [1, 1000]; a coarser granularity has "
         "fewer dimensions"},
        {"nsga2_population", {"nsga2", {{"population", 1}}, {}}, 2, "optimizer.nsga2.population: 1 is not in [2, 10000]"},
        {"mo_cma_es_sigma0", {"mo_cma_es", {{"sigma0", 2}}, {}}, 2, "optimizer.mo_cma_es.sigma0: 2 is not in [1e-06, 1]"},
        {"gp_dimension",
         {"gp"},
         201,
         "optimizer.gp: genome dimension 201 is not in [1, 200]; a coarser granularity has fewer "
         "dimensions"},
        {"niche_option",
         {"niche", {{"deviation", 0.1}}, {}},
         2,
         "optimizer.niche.deviation: unknown option; known: population, sigma0, inject"},
        {"niche_inject", {"niche", {{"inject", 0.95}}, {}}, 2, "optimizer.niche.inject: 0.95 is not in [0.01, 0.9]"},
        {"random_option",
         {"random", {{"sigma0", 0.2}}, {}},
         2,
         "optimizer.random.sigma0: unknown option; known: population"},
        {"random_population", {"random", {{"population", 0}}, {}}, 2, "optimizer.random.population: 0 is not in [1, 10000]"},
        {"random_dimension",
         {"random"},
         0,
         "optimizer.random: genome dimension 0 is not in [1, 1000000]; a coarser granularity has "
         "fewer dimensions"},
    }),
    [](const auto& info) { return info.param.name; });

TEST(OptimizerFactory, RefusesGenesOutOfTheirRanges) {
  const std::vector<std::pair<Gene, std::string>> wrong = {
      {{Gene::Kind::kContinuous, 0, 1.5, 1}, "optimizer.cma_es: gene 1: start 1.5 is not in [0, 1]"},
      {{Gene::Kind::kContinuous, 0, 0.5, 0}, "optimizer.cma_es: gene 1: scale 0 is not in [1e-06, 1e+06]"},
      {{Gene::Kind::kInteger, 1, 0.5, 1}, "optimizer.cma_es: gene 1: 1 levels are not in [2, 10000]"},
  };
  for (const auto& [gene, message] : wrong) {
    const absl::Status status = CreateOptimizer(OptimizerSpec(), GenomeSpec{{Gene(), gene}}, 1, 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(status.message()), message);
  }
  EXPECT_EQ(std::string(CreateOptimizer(OptimizerSpec(), GenomeSpec::Continuous(2), 0, 1).status().message()),
            "optimizer.cma_es: 0 objectives are not in [1, 100]");
}

TEST(Gene, LevelsShareTheRangeEqually) {
  const Gene gene{Gene::Kind::kCategorical, 4, 0.5, 1};
  EXPECT_EQ(gene.LevelOf(0), 0);
  EXPECT_EQ(gene.LevelOf(0.2499), 0);
  EXPECT_EQ(gene.LevelOf(0.25), 1);
  EXPECT_EQ(gene.LevelOf(1), 3);
  for (int level = 0; level < 4; ++level) EXPECT_EQ(gene.LevelOf(gene.ValueOf(level)), level);
}

TEST(OptimizerFactory, RefusesStatesOfOthersAsDataLoss) {
  const std::string state = (*CreateOptimizer(OptimizerSpec(), 2, 1))->SaveState();
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "line 1: ends where 'merganser-optimizer' is due"},
      {"{}\n", "line 1: '{}' where 'merganser-optimizer' is due"},
      {absl::StrReplaceAll(state, {{"merganser-optimizer 3", "merganser-optimizer 4"}}), "version 4 is not 3"},
      {absl::StrReplaceAll(state, {{" cma_es\n", " nsga3\n"}}), "unknown optimizer 'nsga3'"},
      {absl::StrReplaceAll(state, {{"dimension 2", "dimension 3"}}), "start has 2 numbers, not 3"},
      {absl::StrReplaceAll(state, {{"population 8", "population 3"}}), "population is not a whole number in [4, 10000]"},
      {state + "more\n", "text after the end"},
  };
  for (const auto& [text, message] : wrong) {
    const absl::Status status = RestoreOptimizer(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace merganser
