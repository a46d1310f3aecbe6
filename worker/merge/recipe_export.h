// One recipe to a Hugging Face directory: planned against headers, then streamed to disk.
#ifndef MERGANSER_WORKER_MERGE_RECIPE_EXPORT_H_
#define MERGANSER_WORKER_MERGE_RECIPE_EXPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/merge/recipe_export_plan.h"
#include "worker/merge/recipe_models.h"

namespace merganser {

struct RecipeExportOptions {
  std::string out_dir;  // its parent folder must exist; not looked at when only planning
  bool overwrite = false;
  int64_t max_shard_bytes = 5'000'000'000;
  // "": an ordinary checkpoint, scales folded into its weights. "evomistral": the distinct layers with
  // the path beside them, as EvoMistralForCausalLM.
  std::string form;
  int threads = 1;
  bool digest = false;  // compute RecipeExportFacts::weights_sha256
  // Results that are computed together; see RecipePlanOptions. Bytes. As many may be on their way to the writer
  // (PieceQueue), so that the next batch's sums and masks are computed while this one's results are written.
  int64_t batch_bytes = int64_t{32} << 20;
  std::map<std::string, std::string> text_files;  // recipe.yaml, README.md; mergekit.yaml is added where it can be said
  std::function<void(int64_t done_bytes, int64_t total_bytes)> progress;  // may be null
};

struct RecipeExportFacts {
  int64_t bytes = 0, parameters = 0;
  std::string weights_sha256;    // "" if not asked for
  std::string no_mergekit_yaml;  // as above
};

// Resolves and checks everything by headers, configs and tokenizers; reads no weights, writes nothing.
// The errors of OpenRecipeModels and RecipePlan::Build, and InvalidArgument for an unknown form.
absl::StatusOr<RecipeExportPlan> PlanRecipeExport(const Recipe& recipe, const ModelResolver& resolver,
                                                  const RecipeExportOptions& options);

// Plans, merges tensor group by tensor group while the group before is being written, and puts the
// folder in its place: whole or not at all. The errors of PlanRecipeExport, RecipePlan::Compute and
// CheckpointWriter::Write.
absl::StatusOr<RecipeExportFacts> ExportRecipeFiles(const Recipe& recipe, const ModelResolver& resolver,
                                                    const RecipeExportOptions& options, std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RECIPE_EXPORT_H_
