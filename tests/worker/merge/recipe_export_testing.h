// Recipes over small checkpoints, written to a folder or refused, for the tests of the export.
#ifndef MERGANSER_TESTS_WORKER_MERGE_RECIPE_EXPORT_TESTING_H_
#define MERGANSER_TESTS_WORKER_MERGE_RECIPE_EXPORT_TESTING_H_

#include <filesystem>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"
#include "tests/worker/merge/small_checkpoints.h"
#include "worker/merge/recipe_export.h"

namespace merganser::testing_merge {

inline absl::StatusOr<std::string> AsWritten(const std::string& path) { return path; }

inline RecipeExportOptions Options() {
  RecipeExportOptions options;
  options.out_dir = NewTestFolder() + "/out";
  options.threads = 2;
  return options;
}

// The recipe's models at these folders, in the order of their names.
inline void SetPaths(const std::map<std::string, std::string>& dirs, Recipe& recipe) {
  recipe.models.clear();
  for (const auto& [name, dir] : dirs) recipe.models.push_back({name, dir});
}

inline std::map<std::string, Values> Export(const Recipe& recipe, RecipeExportOptions options = Options()) {
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? ReadTensors(options.out_dir) : std::map<std::string, Values>{};
}

inline std::string Refusal(const Recipe& recipe, const RecipeExportOptions& options = Options()) {
  const auto plan = PlanRecipeExport(recipe, AsWritten, options);
  EXPECT_FALSE(plan.ok());
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  EXPECT_EQ(facts.status(), plan.status());
  EXPECT_FALSE(std::filesystem::exists(options.out_dir));
  return std::string(plan.status().message());
}

// A copy of each model, and nothing merged.
inline Recipe Copies(const std::map<std::string, std::string>& dirs) {
  Recipe recipe;
  SetPaths(dirs, recipe);
  recipe.dtype = "float32";
  for (const auto& [name, dir] : dirs) recipe.stacks.push_back({name, "", "", {name}, {}});
  return recipe;
}

inline Recipe Average(const std::map<std::string, std::string>& dirs) {
  Recipe recipe = OneGroup("linear", "", {"a", "b"}, {{{"weight", 0.5}}, {{"weight", 0.5}}});
  SetPaths(dirs, recipe);
  return recipe;
}

inline SmallCheckpoint Tied(int number) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  checkpoint.Remove("lm_head.weight");
  ReplaceText(checkpoint.config, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
  return checkpoint;
}

}  // namespace merganser::testing_merge

#endif  // MERGANSER_TESTS_WORKER_MERGE_RECIPE_EXPORT_TESTING_H_
