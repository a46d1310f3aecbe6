// merge: one recipe to a checkpoint.
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/local_options.h"
#include "client/merge_plan_output.h"
#include "client/model_card.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "client/write_checkpoint.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/recipe_codec.h"
#include "common/config/job_file.h"
#include "common/config/yaml_message.h"
#include "worker/evaluate/export.h"

namespace merganser {
namespace {

struct MergeOptions {
  std::string recipe_file, out, shard_size = "5GB", form = "checkpoint", arithmetic, format = "table";
  std::string head, vocabulary_from, config_from;
  bool overwrite = false, dry_run = false;
  LocalOptions local;
};

constexpr int64_t kRecipeBytesMax = int64_t{16} << 20;

// The text in our own form; `source` then says which line a field is in.
absl::StatusOr<Recipe> ReadOwnForm(const std::string& text, const std::string& file, SourceMap& source) {
  v1::Recipe proto;
  MG_ASSIGN_OR_RETURN(source, ReadYaml(text, file, &proto));
  absl::StatusOr<Recipe> recipe = FromProto(proto);
  if (!recipe.ok()) return source.Locate(recipe.status());
  MG_RETURN_IF_ERROR(source.Locate(ResolveModelPaths(file, &recipe->models)));
  return recipe;
}

// What is wrong with a stack is told by its name ("stack 'm', group 'g', source 'ja': ..."): as fields of the file, which
// have lines.
absl::Status ByField(const absl::Status& status, const Recipe& recipe) {
  absl::string_view rest = status.message();
  const auto named = [&rest](absl::string_view what, const std::string& name) {
    return absl::ConsumePrefix(&rest, absl::StrCat(what, " '", name, "'"));
  };
  for (size_t i = 0; i < recipe.stacks.size(); ++i) {
    const Stack& stack = recipe.stacks[i];
    if (!named("stack", stack.name)) continue;
    std::string field = absl::StrCat("stacks[", i, "]");
    for (size_t g = 0; g < stack.settings.size(); ++g) {
      if (!named(", group", stack.settings[g].group.name)) continue;
      absl::StrAppend(&field, ".settings[", g, "]");
      for (size_t s = 0; s < stack.sources.size(); ++s) {
        if (named(", source", stack.sources[s])) absl::StrAppend(&field, ".sources[", s, "]");
      }
      break;
    }
    if (!absl::StartsWith(rest, ": ")) return status;
    return absl::Status(status.code(), absl::StrCat(field, rest));
  }
  return status;
}

// An error that asks for a key of our recipes, for those who have mergekit's YAML, which lacks it.
absl::Status ForMergekit(const absl::Status& status) {
  for (const char* key : {"head", "vocabulary_from", "config_from"}) {
    if (!absl::StrContains(status.message(), absl::StrCat("`", key, ": "))) continue;
    return absl::Status(status.code(), absl::StrCat(status.message(), "; mergekit's YAML has no such key: give --",
                                                    absl::StrReplaceAll(key, {{"_", "-"}}), " here"));
  }
  return status;
}

absl::StatusOr<int> DryRun(const MergeOptions& options, const ExportRequest& request) {
  MG_ASSIGN_OR_RETURN(const RecipeExportPlan plan, PlanExportOf(request, options.local));
  if (!PrintJson(options.format, MergePlanJson(plan))) Print(MergePlanText(plan));
  return exit_code::kOk;
}

absl::StatusOr<int> Merge(const MergeOptions& options) {
  if (options.out.empty() && !options.dry_run) return absl::InvalidArgumentError("OUT_DIR is missing");
  ExportRequest request;
  absl::StatusOr<int64_t> shard_bytes = ParseSize(options.shard_size);
  if (!shard_bytes.ok()) return Annotate(shard_bytes.status(), "--shard-size");
  request.max_shard_bytes = *shard_bytes;
  if (options.form != "checkpoint") request.form = options.form;
  // Read once: it may be a pipe.
  const std::string file = options.recipe_file == "-" ? "/dev/stdin" : options.recipe_file;
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kRecipeBytesMax));
  // Paths in what comes from a pipe start at the working directory.
  std::error_code ignored;
  const bool piped = file == "/dev/stdin" || !std::filesystem::is_regular_file(file, ignored);
  const std::string place = !piped ? file : file == "/dev/stdin" ? "stdin" : "pipe";
  SourceMap source(place);
  const bool mergekit = IsMergekitText(text);
  const Arithmetic arithmetic = options.arithmetic == "mergekit" ? Arithmetic::kMergekit : Arithmetic::kFp32;
  if (mergekit) {
    MG_ASSIGN_OR_RETURN(request.recipe, ReadMergekitText(text, place, arithmetic, options.local));
  } else {
    MG_ASSIGN_OR_RETURN(request.recipe, ReadOwnForm(text, place, source));
  }
  for (Stack& stack : request.recipe.stacks) {
    if (!options.arithmetic.empty() && !stack.method.empty()) stack.arithmetic = arithmetic;
  }
  const auto set = [](const std::string& given, std::string& field) {
    if (!given.empty()) field = given;
  };
  set(options.head, request.recipe.head);
  set(options.vocabulary_from, request.recipe.vocabulary_from);
  set(options.config_from, request.recipe.config_from);
  request.out_dir = options.out;
  request.overwrite = options.overwrite;
  const std::filesystem::path out = std::filesystem::path(options.out).lexically_normal();
  const std::filesystem::path name =
      out.filename().empty() ? out.parent_path().filename() : out.filename();  // "out/", "out"
  request.text_files = MergeTextFiles(request.recipe, name.string());
  const absl::StatusOr<int> code = options.dry_run ? DryRun(options, request) : WriteCheckpoint(request, options.local);
  if (code.ok()) return code;
  return source.Locate(mergekit ? ForMergekit(code.status()) : ByField(code.status(), request.recipe));
}

}  // namespace

void AddMergeCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* verb = AddVerb(app, "merge", "Merges the models of a recipe into a Hugging Face checkpoint",
                           "  merganser merge recipe.yaml out/merged\n"
                           "  merganser merge mergekit.yml out/merged --dry-run\n"
                           "  merganser best job-7 | merganser merge - out/merged",
                           options, &Merge, chosen);
  verb->add_option("RECIPE.yaml", options->recipe_file,
                   "What `best` prints and every export holds, or a mergekit YAML; - reads it from a pipe")
      ->required();
  verb->add_option("OUT_DIR", options->out, "Made whole or not at all");
  verb->add_flag("--overwrite", options->overwrite, "Replace OUT_DIR if it is there");
  verb->add_flag("--dry-run", options->dry_run,
                 "Print what would be done, from the files' headers; reads no weights, writes nothing");
  verb->add_option("--shard-size", options->shard_size, "Largest file of weights")->capture_default_str();
  verb->add_option("--form", options->form,
                   "checkpoint: scales of a path folded in; evomistral: the path beside distinct layers")
      ->check(CLI::IsMember({"checkpoint", "evomistral"}))
      ->capture_default_str();
  verb->add_option("--arithmetic", options->arithmetic,
                   "fp32, or mergekit: its rounding, ties and random masks; the recipe's own unless given")
      ->check(CLI::IsMember({"fp32", "mergekit"}));
  verb->add_option("--head", options->head, "tied or untied, where models differ in that; the recipe's own unless given")
      ->check(CLI::IsMember({"tied", "untied"}));
  verb->add_option("--vocabulary-from", options->vocabulary_from,
                   "Model whose number of embedding rows the merge has, where they differ; the recipe's own unless given");
  verb->add_option("--config-from", options->config_from,
                   "Model whose config.json is taken, where models run differently; the recipe's own unless given");
  verb->add_option("-o,--format", options->format, "Of --dry-run: table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->capture_default_str();
  AddLocalOptions(verb, &options->local, /*with_device=*/false);
}

}  // namespace merganser
