#include "worker/evaluate/export.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"
#include "worker/merge/mergekit_reader.h"
#include "worker/merge/recipe_export.h"

namespace merganser {
namespace {

ModelResolver ResolverOf(const LocalOptions& options) {
  return [locator = LocatorOptions(options.model_roots)](const std::string& path) { return ResolveModel(path, locator); };
}

RecipeExportOptions OptionsOf(const ExportRequest& request, const LocalOptions& options) {
  RecipeExportOptions out;
  out.out_dir = request.out_dir;
  out.overwrite = request.overwrite;
  out.max_shard_bytes = request.max_shard_bytes;
  out.form = request.form;
  out.threads = ThreadsOf(options);
  out.digest = request.digest;
  out.text_files = request.text_files;
  out.progress = request.progress;
  return out;
}

}  // namespace

absl::StatusOr<ExportFacts> ExportRecipe(const ExportRequest& request, const LocalOptions& options, std::stop_token stop) {
  const absl::Duration start = Clock::Real().Monotonic();
  MG_ASSIGN_OR_RETURN(RecipeExportFacts written,
                      ExportRecipeFiles(request.recipe, ResolverOf(options), OptionsOf(request, options), stop));
  ExportFacts facts;
  facts.out_dir = request.out_dir;
  facts.bytes = written.bytes;
  facts.parameters = written.parameters;
  facts.weights_sha256 = std::move(written.weights_sha256);
  facts.no_mergekit_yaml = std::move(written.no_mergekit_yaml);
  facts.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  return facts;
}

absl::StatusOr<RecipeExportPlan> PlanExportOf(const ExportRequest& request, const LocalOptions& options) {
  return PlanRecipeExport(request.recipe, ResolverOf(options), OptionsOf(request, options));
}

absl::StatusOr<Recipe> ReadMergekitText(absl::string_view text, const std::string& path, Arithmetic arithmetic,
                                        const LocalOptions& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::absolute(path, error).parent_path();
  // A path that is a directory, made absolute; anything else as it is (a Hub id, or nothing).
  const auto located = [&](const std::string& name) -> std::string {
    for (const fs::path& candidate : {folder / name, fs::path(name)}) {
      std::error_code ignored;
      if (fs::is_directory(candidate, ignored))
        return fs::weakly_canonical(fs::absolute(candidate, ignored), ignored).string();
    }
    return name;
  };
  const ModelResolver resolve = ResolverOf(options);
  const ModelResolver resolver = [&](const std::string& name) { return resolve(located(name)); };
  const auto facts = [&](const ModelRef& model) { return ReadModelFacts(model, resolver); };
  MG_ASSIGN_OR_RETURN(Recipe recipe, ReadMergekitYaml(text, path, facts, arithmetic));
  for (ModelRef& model : recipe.models) {
    model.path = located(model.path);
    if (!model.lora.empty()) model.lora = located(model.lora);
  }
  return recipe;
}

}  // namespace merganser
