// One recipe to a Hugging Face directory.
#ifndef MERGANSER_WORKER_EVALUATE_EXPORT_H_
#define MERGANSER_WORKER_EVALUATE_EXPORT_H_

#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/evaluate/local_library.h"
#include "worker/merge/recipe_export_plan.h"

namespace merganser {

// Merges tensor group by tensor group and writes the checkpoint, whole or not at all, with the request's text files and,
// where mergekit can say the recipe, mergekit.yaml. The weights are bit for bit those that an evaluation of the recipe used.
absl::StatusOr<ExportFacts> ExportRecipe(const ExportRequest& request, const LocalOptions& options, std::stop_token stop);

// What ExportRecipe would do: everything resolved and checked against the files' headers. Reads no weights, writes nothing.
absl::StatusOr<RecipeExportPlan> PlanExportOf(const ExportRequest& request, const LocalOptions& options);

// The recipe in `text`, what a file of mergekit's at `path` holds. Relative paths in it start at the file's folder, else (as
// for mergekit) at the working directory.
// Merges get `arithmetic`.
absl::StatusOr<Recipe> ReadMergekitText(absl::string_view text, const std::string& path, Arithmetic arithmetic,
                                        const LocalOptions& options);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_EXPORT_H_
