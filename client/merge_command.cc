// merge: one recipe to a checkpoint.
#include <memory>
#include <string>

#include "client/exit_code.h"
#include "client/local_options.h"
#include "client/merge_plan_output.h"
#include "client/model_card.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "client/write_checkpoint.h"
#include "common/base/status_macros.h"
#include "common/codec/recipe_codec.h"
#include "common/config/job_file.h"
#include "common/config/yaml_message.h"
#include "worker/evaluate/export.h"

namespace merganser {
namespace {

struct MergeOptions {
  std::string recipe_file, out, shard_size = "5GB", form = "checkpoint", arithmetic, format = "table";
  bool overwrite = false, dry_run = false;
  LocalOptions local;
};

// The file in our own form; `source` then says which line a field is in.
absl::StatusOr<Recipe> ReadOwnForm(const std::string& file, SourceMap& source) {
  v1::Recipe proto;
  MG_ASSIGN_OR_RETURN(source, ReadYamlFile(file, &proto));
  absl::StatusOr<Recipe> recipe = FromProto(proto);
  if (!recipe.ok()) return source.Locate(recipe.status());
  MG_RETURN_IF_ERROR(source.Locate(ResolveModelPaths(file, &recipe->models)));
  return recipe;
}

absl::StatusOr<int> DryRun(const MergeOptions& options, const ExportRequest& request) {
  MG_ASSIGN_OR_RETURN(const RecipeExportPlan plan, PlanExportOf(request, options.local));
  Print(options.format == "json" ? DumpJson(MergePlanJson(plan)) : MergePlanText(plan));
  return exit_code::kOk;
}

absl::StatusOr<int> Merge(const MergeOptions& options) {
  if (options.out.empty() && !options.dry_run) return absl::InvalidArgumentError("OUT_DIR is missing");
  ExportRequest request;
  absl::StatusOr<int64_t> shard_bytes = ParseSize(options.shard_size);
  if (!shard_bytes.ok()) return Annotate(shard_bytes.status(), "--shard-size");
  request.max_shard_bytes = *shard_bytes;
  if (options.form != "checkpoint") request.form = options.form;
  SourceMap source(options.recipe_file);
  MG_ASSIGN_OR_RETURN(const bool mergekit, IsMergekitFile(options.recipe_file));
  if (mergekit) {
    MG_ASSIGN_OR_RETURN(request.recipe, ReadMergekitFile(options.recipe_file, options.local));
  } else {
    MG_ASSIGN_OR_RETURN(request.recipe, ReadOwnForm(options.recipe_file, source));
  }
  for (Stack& stack : request.recipe.stacks) {
    if (!options.arithmetic.empty() && !stack.method.empty())
      stack.arithmetic = options.arithmetic == "mergekit" ? Arithmetic::kMergekit : Arithmetic::kFp32;
  }
  request.out_dir = options.out;
  request.overwrite = options.overwrite;
  request.text_files = {{"recipe.yaml", RecipeYaml(request.recipe)}};
  const absl::StatusOr<int> code =
      options.dry_run ? DryRun(options, request) : WriteCheckpoint(std::move(request), options.local);
  return code.ok() ? code : source.Locate(code.status());
}

}  // namespace

void AddMergeCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* verb = AddVerb(app, "merge", "Merges the models of a recipe into a Hugging Face checkpoint",
                           "  merganser merge recipe.yaml out/merged\n"
                           "  merganser merge mergekit.yml out/merged --dry-run\n"
                           "  merganser best job-7 > recipe.yaml && merganser merge recipe.yaml out/merged",
                           options, &Merge, chosen);
  verb->add_option("RECIPE.yaml", options->recipe_file, "What `best` prints and every export holds, or a mergekit YAML")->required();
  verb->add_option("OUT_DIR", options->out, "Made whole or not at all");
  verb->add_flag("--overwrite", options->overwrite, "Replace OUT_DIR if it is there");
  verb->add_flag("--dry-run", options->dry_run, "Print what would be done, from the files' headers; reads no weights, writes nothing");
  verb->add_option("--shard-size", options->shard_size, "Largest file of weights")->capture_default_str();
  verb->add_option("--form", options->form, "checkpoint: scales of a path folded in; evomistral: the path beside distinct layers")
      ->check(CLI::IsMember({"checkpoint", "evomistral"}))
      ->capture_default_str();
  verb->add_option("--arithmetic", options->arithmetic,
                   "fp32, or mergekit: its rounding, ties and random masks; the recipe's own unless given")
      ->check(CLI::IsMember({"fp32", "mergekit"}));
  verb->add_option("-o,--format", options->format, "Of --dry-run: table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  AddLocalOptions(verb, &options->local, /*with_device=*/false);
}

}  // namespace merganser
