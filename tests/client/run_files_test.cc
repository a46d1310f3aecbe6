// What a run leaves for programs and for people.
#include "client/run_files.h"

#include <cmath>

#include "client/model_card.h"
#include "client/report_html.h"
#include "common/codec/recipe_codec.h"
#include "common/config/yaml_message.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::pair<double, double> Interval(double successes, int64_t n) {
  const double p = successes / static_cast<double>(n);
  return {p - 0.05, p + 0.05};
}

class RunFilesTest : public testing::Test {
 protected:
  const FinishedJob finished_ = SmallFinishedJob();
  const ScoreTable held_out_ = HeldOutScores(finished_.job, finished_.candidates, Interval);
};

TEST_F(RunFilesTest, SummaryHoldsBestHeldOutCountsAndTiming) {
  const Json json = Json::parse(SummaryJson(finished_.job, finished_.candidates, held_out_, {{"export", 0.25}}));
  EXPECT_EQ(json["job"], "small");
  EXPECT_EQ(json["state"], "succeeded");
  EXPECT_EQ(json["candidates"]["failed"], 1);
  EXPECT_EQ(json["candidates"]["search"], 2);
  EXPECT_EQ(json["best"]["candidate"], 4);
  EXPECT_EQ(json["best"]["fitness"]["task.acc_ja"], 0.5);
  EXPECT_EQ(json["held_out"]["test"]["winner"]["acc_ja"]["value"], 0.44);
  EXPECT_EQ(json["held_out"]["test"]["winner"]["acc_ja"]["n"], 250);
  EXPECT_NEAR(json["held_out"]["test"]["winner"]["acc_ja"]["stderr"], std::sqrt(0.44 * 0.56 / 249), 1e-12);
  EXPECT_EQ(json["timing"]["decode"], 1.5);
  EXPECT_EQ(json["timing"]["export"], 0.25);
}

TEST_F(RunFilesTest, EveryCandidateIsALine) {
  std::istringstream lines(CandidatesJsonl(finished_.job, finished_.candidates));
  std::vector<Json> parsed;
  for (std::string line; std::getline(lines, line);) parsed.push_back(Json::parse(line));
  ASSERT_EQ(parsed.size(), finished_.candidates.size());
  EXPECT_EQ(parsed[3]["generation"], 0);
  EXPECT_TRUE(parsed[0]["generation"].is_null());
  EXPECT_EQ(parsed[4]["state"], "failed");
  EXPECT_TRUE(parsed[4]["fitness"].is_null());
  EXPECT_EQ(parsed[4]["message"], "layer 3 has <NaN> weights");
}

TEST_F(RunFilesTest, TableShowsTheStrictestMetricWithItsInterval) {
  EXPECT_EQ(ScoreTableText(finished_.job, held_out_),
            "test\n"
            "model   acc_ja     95 % interval    n\n"
            "ja       8.0 %   3.0 % to 13.0 %  250\n"
            "winner  44.0 %  39.0 % to 49.0 %  250\n");
}

TEST_F(RunFilesTest, NumbersOfAProgramAreNoSharesAndHaveNoInterval) {
  FinishedJob finished = SmallFinishedJob();
  for (Candidate& c : finished.candidates) {
    for (auto& [benchmark, metrics] : c.metrics)
      metrics = {{"loss", -3.5}, {"points", 57.25}, {"rate", 0.5}, {"rate_stderr", 0.1}};
  }
  for (auto& [benchmark, n] : finished.job.facts->samples) n = 1;
  for (BenchmarkSpec& b : finished.job.spec.held_out) b.use = "command";
  finished.job.spec.objectives = {{"task", "points"}};
  const ScoreTable scores = HeldOutScores(finished.job, finished.candidates, Interval);
  EXPECT_EQ(ScoreTableText(finished.job, scores),
            "test\n"
            "model    points  95 % interval  n\n"
            "ja      57.2500              -  -\n"
            "winner  57.2500              -  -\n");
  EXPECT_FALSE(
      Json::parse(SummaryJson(finished.job, finished.candidates, scores, {}))["held_out"]["test"]["ja"]["points"].contains(
          "n"));
  EXPECT_FALSE(scores.at("test").at("winner").at("points").interval);
  EXPECT_NEAR(scores.at("test").at("winner").at("rate").interval->first, 0.304, 1e-9);
  EXPECT_EQ(scores.at("test").at("winner").at("rate").standard_error, 0.1);
}

TEST_F(RunFilesTest, WherePromptsHaveSeveralCompletionsTheProblemsCount) {
  FinishedJob finished = SmallFinishedJob();
  finished.job.facts->problems = {{"test", 50}};
  const ScoreTable scores = HeldOutScores(finished.job, finished.candidates, Interval);
  for (const auto& [model, metrics] : scores.at("test")) EXPECT_EQ(metrics.at("acc_ja").n, 50) << model;
  const Json json = Json::parse(SummaryJson(finished.job, finished.candidates, scores, {}));
  EXPECT_EQ(json["held_out"]["test"]["winner"]["acc_ja"]["n"], 50);
}

TEST_F(RunFilesTest, SearchScoresCallTheBestCandidateTheWinner) {
  const ScoreTable scores = SearchScores(finished_.job, finished_.candidates, Interval);
  EXPECT_EQ(scores.at("task").at("winner").at("acc_ja").value, 0.5);
  EXPECT_EQ(scores.at("task").count("average"), 1u);
}

TEST_F(RunFilesTest, ModelCardNamesSourcesRecipeScoresAndHowToRepeat) {
  const std::string card = ModelCard(finished_.job, finished_.candidates[3], held_out_, true);
  EXPECT_THAT(card, HasSubstr("base_model:\n- org/math\n"));
  EXPECT_THAT(card, HasSubstr("`/models/ja`"));
  EXPECT_THAT(card, HasSubstr("weight of math"));
  EXPECT_THAT(card, HasSubstr("| winner | acc_ja | 44.0 % |"));
  EXPECT_THAT(card, HasSubstr("merganser merge recipe.yaml"));
}

// Else a search that found nothing ends as one that did.
TEST_F(RunFilesTest, AModelThatDoesBetterThanTheWinnerIsNamed) {
  FinishedJob finished = SmallFinishedJob();
  const auto better = [&finished] { return BetterBaseline(finished.job, finished.candidates); };
  EXPECT_EQ(better(), "");
  finished.candidates[0].fitness = {0.1};
  finished.candidates[1].fitness = {0.5};
  EXPECT_EQ(better(), "") << "as good is not better";
  finished.candidates[1].fitness = {0.61};
  EXPECT_EQ(better(), "math as it is does better on the samples of the search (fitness 0.6100)");
  EXPECT_THAT(ReportHtml(finished.job, finished.candidates, held_out_, true), HasSubstr("Note: math as it is does better"));
  finished.candidates[2].fitness = {0.7};
  EXPECT_EQ(better(), "the plain average does better on the samples of the search (fitness 0.7000)");
  finished.job.spec.constraints = {{"task", "acc", 0.3, std::nullopt, ""}};
  EXPECT_EQ(better(), "math as it is does better on the samples of the search (fitness 0.6100)") << "the average misses it";
  finished.job.spec.samples.per_generation = 25;
  EXPECT_EQ(better(), "") << "the winner has seen other samples";
}

TEST_F(RunFilesTest, ModelCardSaysOfEachStackWhatItIs) {
  Candidate candidate = finished_.candidates[3];
  candidate.recipe.stacks[0].name = "merged";
  candidate.recipe.stacks.push_back({.name = "ja-1", .sources = {"ja"}});
  candidate.recipe.path = {{0, 0, 1}, {1, 1, 0.5}};
  const std::string card = ModelCard(finished_.job, candidate, held_out_, true);
  EXPECT_THAT(card, HasSubstr("Stack `merged`: method `task_arithmetic`, base `base`, sources `ja`, `math`.\n\n| group |"));
  EXPECT_THAT(card, HasSubstr("|\n\nStack `ja-1`: `ja` as it is.\n\nPath: ")) << "a line after a table's would be its row";
}

// A pool's models that the path leaves out are not in the weights: neither named as bases nor counted.
TEST_F(RunFilesTest, ModelCardNamesWhatTheMergeIsMadeOf) {
  Recipe recipe;
  recipe.models = {{"base", "org/base"}, {"ja", "org/ja"}, {"left", "org/left"}, {"math", "org/math"}};
  recipe.stacks = {{.name = "pool-left", .sources = {"left"}},
                   {.name = "inner", .method = "slerp", .base = "base", .sources = {"ja"}},
                   {.name = "outer", .method = "linear", .sources = {"inner", "math"}}};
  recipe.path = {{2, 0, 1}, {2, 1, 1}};
  recipe.embedding_from = recipe.head_from = "outer";
  recipe.tokenizer_from = "base";
  const auto card = [&] { return MergeTextFiles(recipe, "mine").at("README.md"); };
  EXPECT_THAT(card(), HasSubstr("base_model:\n- org/base\n- org/ja\n- org/math\n---"));
  EXPECT_THAT(card(), HasSubstr("A merge of 3 models"));
  EXPECT_THAT(card(), HasSubstr("Stack `inner`: method `slerp`"));
  EXPECT_THAT(card(), Not(HasSubstr("left")));
  recipe.head_from = "";  // of the first stack
  EXPECT_THAT(card(), HasSubstr("A merge of 4 models"));
  EXPECT_THAT(card(), HasSubstr("Stack `pool-left`: `left` as it is."));
  recipe.head_from = "outer";
  recipe.tokenizer.source = "union";  // of every model's tokens
  EXPECT_THAT(card(), HasSubstr("- org/left\n"));
}

TEST_F(RunFilesTest, CardOfAMergeByHandHasTheRecipeAndNoSearch) {
  Recipe recipe = finished_.candidates[3].recipe;
  recipe.models[0].lora = "org/adapter";
  const auto files = MergeTextFiles(recipe, "mine");
  EXPECT_THAT(files.at("README.md"), HasSubstr("base_model:\n- org/math\n---\n\n# mine\n\nA merge of "));
  EXPECT_THAT(files.at("README.md"), HasSubstr("with adapter `org/adapter`"));
  EXPECT_THAT(files.at("README.md"), HasSubstr("weight of math"));
  EXPECT_THAT(files.at("README.md"), HasSubstr("merganser merge recipe.yaml"));
  EXPECT_THAT(files.at("README.md"), Not(HasSubstr("candidate")));
  EXPECT_EQ(files.at("recipe.yaml"), RecipeYaml(recipe));
  recipe.path = {{7, 1, 1.0}};  // the merge will refuse it
  EXPECT_THAT(MergeTextFiles(recipe, "mine").at("README.md"), HasSubstr("Path: 7.1"));
}

TEST_F(RunFilesTest, RecipeYamlReadsBackAsTheSameRecipe) {
  v1::Recipe proto;
  ASSERT_TRUE(ReadYaml(RecipeYaml(finished_.candidates[3].recipe), "recipe.yaml", &proto).ok());
  EXPECT_EQ(*FromProto(proto), finished_.candidates[3].recipe);
}

TEST_F(RunFilesTest, ReportEscapesWhatItShowsAndAsksNobodyElse) {
  const std::string html = ReportHtml(finished_.job, finished_.candidates, held_out_, true);
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("&lt;NaN&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<NaN>")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("src=\"http")));
}

// Slots may have chosen it: whoever repeats the job with fewer must get the same candidates.
TEST_F(RunFilesTest, ReportsJobSaysThePopulationThatItsSearchHad) {
  JobSummary job = finished_.job;
  job.spec.optimizer = OptimizerSpec{};
  job.spec.optimizer.name = "cma_es";
  job.population = 24;
  EXPECT_THAT(ReportHtml(job, finished_.candidates, held_out_, true), HasSubstr("population: 24"));
}

TEST_F(RunFilesTest, ReportShowsTheBestRecipeAsAPictureTheHeldOutTableAndHowToRepeatIt) {
  const std::string html = ReportHtml(finished_.job, finished_.candidates, held_out_, true);
  EXPECT_THAT(html, HasSubstr("<title>layer.3, weight of math: 1.0000</title>"));
  EXPECT_THAT(html,
              HasSubstr("<tr class=\"winner\"><th scope=\"row\">winner</th><td>acc_ja</td><td class=\"n\">44.0 %</td>"));
  EXPECT_THAT(html, HasSubstr("merganser run job.yaml"));
  EXPECT_THAT(html, HasSubstr("name: small"));
  EXPECT_THAT(html, Not(HasSubstr("Pareto"))) << "one objective has no front";
}

}  // namespace
}  // namespace merganser
