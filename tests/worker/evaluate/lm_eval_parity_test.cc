// The same model, tasks and samples as lm-evaluation-harness 0.4.13, item by item: its task files are read as they are, and
// what it found (tests/golden/lm_eval_goldens.py) is what we find.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"
#include "worker/benchmark/benchmark.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/evaluate/local_evaluator.h"

namespace merganser {
namespace {

using Json = nlohmann::json;

std::string Folder() { return std::string(MG_SOURCE_DIR) + "/tests/data/lm-eval/"; }

std::vector<Json> Golden(const std::string& task) {
  std::vector<Json> rows;
  std::ifstream in(Folder() + task + ".lm_eval.jsonl");
  for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
  return rows;
}

BenchmarkSpec Task(const std::string& name) {
  BenchmarkSpec spec;
  spec.name = name;
  spec.use = Folder() + name + ".yaml";
  return spec;
}

BenchmarkResult RunTask(const std::string& task) {
  JobSpec job;
  job.name = "parity";
  job.models = {{"ja", ExampleDir() + "/ja"}};
  job.parameter.method = "linear";
  job.parameter.sources = {"ja"};
  job.dtype = "float32";
  job.benchmarks = {Task(task)};
  Recipe recipe;
  recipe.models = job.models;
  recipe.tokenizer_from = "ja";
  recipe.stacks = {Stack{"ja", "", "", {"ja"}, {}}};
  LocalOptions options;
  options.device = "cpu";
  options.threads = 2;
  LocalEvaluator evaluator(options);
  const auto evaluation = evaluator.Evaluate(job, recipe, {task}, [](absl::string_view) {}, {});
  EXPECT_TRUE(evaluation.ok()) << evaluation.status();
  return evaluation.ok() ? evaluation->results.at(0) : BenchmarkResult();
}

TEST(LmEvalParity, ContextsAreTheHarnessToTheLetter) {
  for (const char* task : {"xwinograd_jp", "jcommonsenseqa", "gsm8k"}) {
    const auto definition = ResolveBenchmark(Task(task));
    ASSERT_TRUE(definition.ok()) << definition.status();
    const auto benchmark = Benchmark::Load(*definition);
    ASSERT_TRUE(benchmark.ok()) << benchmark.status();
    const std::vector<Json> golden = Golden(task);
    ASSERT_EQ(golden.size(), (*benchmark)->samples().size());
    for (size_t i = 0; i < golden.size(); ++i) {
      if ((*benchmark)->prompts().empty()) {
        EXPECT_EQ((*benchmark)->continuations()[i][0].context, golden[i]["context"]) << task << " " << i;
      } else {
        EXPECT_EQ((*benchmark)->prompts()[i], golden[i]["prompt"]) << task << " " << i;
      }
    }
  }
}

TEST(LmEvalParity, ChoicesAreScoredAndChosenAlike) {
  for (const char* task : {"xwinograd_jp", "jcommonsenseqa"}) {
    const BenchmarkResult result = RunTask(task);
    const std::vector<Json> golden = Golden(task);
    ASSERT_EQ(golden.size(), result.samples.size());
    ASSERT_EQ(golden.size(), 100u);
    for (size_t i = 0; i < golden.size(); ++i) {
      const auto& values = result.samples[i].values;
      const Json& lls = golden[i]["log_likelihoods"];
      for (size_t c = 0; c < lls.size(); ++c) {
        EXPECT_NEAR(values.at("ll_" + std::to_string(c)), lls[c].get<double>(), 2e-3) << task << " " << i;
      }
      for (const char* metric : {"acc", "acc_norm"}) {
        if (golden[i].contains(metric)) {
          EXPECT_EQ(values.at(metric), golden[i][metric].get<double>()) << task << " " << i;
        }
      }
    }
  }
}

TEST(LmEvalParity, CompletionsAreGeneratedAndExtractedAlike) {
  const BenchmarkResult result = RunTask("gsm8k");
  const std::vector<Json> golden = Golden("gsm8k");
  ASSERT_EQ(golden.size(), result.samples.size());
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(result.samples[i].completion, golden[i]["completion"]) << i;
    for (const char* metric : {"exact_match@strict-match", "exact_match@flexible-extract"}) {
      EXPECT_EQ(result.samples[i].values.at(metric), golden[i][metric].get<double>()) << i;
    }
  }
}

}  // namespace
}  // namespace merganser
