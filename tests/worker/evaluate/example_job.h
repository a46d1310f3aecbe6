// The example's job, as the evaluator's tests use it.
#ifndef MERGANSER_TESTS_WORKER_EVALUATE_EXAMPLE_JOB_H_
#define MERGANSER_TESTS_WORKER_EVALUATE_EXAMPLE_JOB_H_

#include <cstdlib>
#include <string>
#include <vector>

#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

inline std::string ExampleDir() { return MG_SOURCE_DIR "/examples/ja-math"; }

inline LocalOptions CpuOptions(int threads = 1) {
  LocalOptions options;
  options.device = "cpu";
  options.threads = threads;
  return options;
}

inline JobSpec ExampleJob() {
  JobSpec spec;
  spec.name = "ja-math";
  spec.models = {{"base", ExampleDir() + "/base"}, {"ja", ExampleDir() + "/ja"}, {"math", ExampleDir() + "/math-en"}};
  spec.parameter.method = "task_arithmetic";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds["weight"] = {0, 2};
  spec.objectives = {{"ja_math", "acc_ja"}};
  BenchmarkSpec train;
  train.name = "ja_math";
  train.use = "mgsm_ja";
  train.data = ExampleDir() + "/tasks/ja_math.train.jsonl";
  train.prompt = "Q: {{question}}\nA:\n";
  train.max_new_tokens = 36;
  train.stop = std::vector<std::string>{};
  BenchmarkSpec test;
  test.name = "ja_math_test";
  test.use = "ja_math";
  test.data = ExampleDir() + "/tasks/ja_math.test.jsonl";
  spec.benchmarks = {train};
  spec.held_out = {test};
  spec.budget.candidates = 12;
  return spec;
}

// The published coefficients of the zoo's evolved merge (56.0 % on the test set), in the groups embedding, six layers,
// output.
inline Recipe EvolvedRecipe() {
  const std::vector<double> math = {1.8713, -0.1437, 1.9881, 1.0052, 1.9921, 1.622, 0.3065, -0.1174};
  const std::vector<double> ja = {1.8003, -0.1811, 1.6716, -0.1927, 0.8485, 0.7391, 1.7819, 1.4572};
  Recipe recipe;
  recipe.models = ExampleJob().models;
  recipe.tokenizer_from = "base";
  Stack stack{"merge", "task_arithmetic", "base", {"ja", "math"}, {}};
  for (int g = 0; g < 8; ++g) {
    GroupSettings settings;
    settings.group.name = std::to_string(g);
    if (g == 0) settings.group.parts = {ModelPart::kEmbedding};
    if (g == 7) settings.group.parts = {ModelPart::kNorm, ModelPart::kHead};
    if (g > 0 && g < 7) {
      settings.group.parts = {ModelPart::kLayers};
      settings.group.first_layer = g - 1;
      settings.group.end_layer = g;
    }
    settings.source_parameters = {{{"weight", ja[g]}}, {{"weight", math[g]}}};
    stack.settings.push_back(settings);
  }
  recipe.stacks = {stack};
  return recipe;
}

inline Recipe CopyOf(const std::string& model) {
  Recipe recipe;
  recipe.models = ExampleJob().models;
  recipe.tokenizer_from = model;
  recipe.stacks = {Stack{model, "", "", {model}, {}}};
  return recipe;
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_EVALUATE_EXAMPLE_JOB_H_
