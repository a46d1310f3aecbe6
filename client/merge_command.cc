// merge: one recipe to a checkpoint.
#include <memory>
#include <string>

#include "client/local_options.h"
#include "client/model_card.h"
#include "client/verb.h"
#include "client/write_checkpoint.h"
#include "common/base/status_macros.h"
#include "common/codec/recipe_codec.h"
#include "common/config/job_file.h"
#include "common/config/yaml_message.h"

namespace merganser {
namespace {

struct MergeOptions {
  std::string recipe_file, out;
  bool overwrite = false;
  LocalOptions local;
};

absl::StatusOr<int> Merge(const MergeOptions& options) {
  v1::Recipe proto;
  MG_ASSIGN_OR_RETURN(const SourceMap source, ReadYamlFile(options.recipe_file, &proto));
  absl::StatusOr<Recipe> recipe = FromProto(proto);
  if (!recipe.ok()) return source.Locate(recipe.status());
  MG_RETURN_IF_ERROR(source.Locate(ResolveModelPaths(options.recipe_file, &recipe->models)));
  ExportRequest request;
  request.recipe = *std::move(recipe);
  request.out_dir = options.out;
  request.overwrite = options.overwrite;
  request.text_files = {{"recipe.yaml", RecipeYaml(request.recipe)}};
  const absl::StatusOr<int> code = WriteCheckpoint(std::move(request), options.local);
  // Only what the recipe says has a line; a folder or a disk in the way has none.
  if (absl::IsInvalidArgument(code.status()) || absl::IsNotFound(code.status())) return source.Locate(code.status());
  return code;
}

}  // namespace

void AddMergeCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* verb = AddVerb(app, "merge", "Merges the models of a recipe into a Hugging Face checkpoint",
                           "  merganser merge recipe.yaml out/merged\n"
                           "  merganser best job-7 > recipe.yaml && merganser merge recipe.yaml out/merged",
                           options, &Merge, chosen);
  verb->add_option("RECIPE.yaml", options->recipe_file, "What `best` prints and every export holds")->required();
  verb->add_option("OUT_DIR", options->out, "Made whole or not at all")->required();
  verb->add_flag("--overwrite", options->overwrite, "Replace OUT_DIR if it is there");
  AddLocalOptions(verb, &options->local, /*with_device=*/false);
}

}  // namespace merganser
