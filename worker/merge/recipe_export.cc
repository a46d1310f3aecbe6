#include "worker/merge/recipe_export.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/clock.h"
#include "common/base/closest_name.h"
#include "common/base/sha256.h"
#include "common/base/sha256_stream.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/checkpoint_writer.h"
#include "worker/checkpoint/evo_mistral.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_stream.h"
#include "worker/merge/mergekit_yaml.h"
#include "worker/merge/recipe_plan.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr char kEvoMistralForm[] = "evomistral";

struct Prepared {
  Recipe recipe;  // with the path of a source that has one of its own
  RecipeModels models;
  std::unique_ptr<const RecipePlan> plan;
  std::string config_patch;
  // Tensors behind those of the plan: the path of a model that stores it.
  std::vector<std::pair<TensorHeader, std::string>> extra;
  std::string no_mergekit_yaml;
  std::optional<std::string> mergekit_yaml;
  std::vector<TensorHeader> headers;
  int64_t bytes = 0, parameters = 0;
};

// The path that the models of the first stack bring along; empty if they are ordinary checkpoints.
absl::StatusOr<std::vector<Hop>> OwnPath(const Recipe& recipe, const RecipeModels& models) {
  std::vector<std::string> names = recipe.stacks[0].sources;
  if (!recipe.stacks[0].base.empty()) names.push_back(recipe.stacks[0].base);
  std::vector<Hop> path;
  std::string holder;
  for (const std::string& name : names) {
    const auto model = models.opened.find(name);
    if (model == models.opened.end() || model->second.config.architecture != kEvoMistralArchitecture) continue;
    MG_ASSIGN_OR_RETURN(std::vector<Hop> own, ReadEvoMistralPath(*model->second.files));
    if (!holder.empty() && own != path) {
      return absl::InvalidArgumentError(
          absl::StrCat("path: '", holder, "' and '", name, "' have paths of their own that differ; write the path"));
    }
    path = std::move(own);
    holder = name;
  }
  return path;
}

std::string PathTensor(const std::vector<RecipePlan::PlacedHop>& hops, bool scales) {
  std::string bytes;
  for (const RecipePlan::PlacedHop& hop : hops) {
    const auto layer = static_cast<int32_t>(hop.out);
    const auto scale = static_cast<float>(hop.scale);
    bytes.append(scales ? reinterpret_cast<const char*>(&scale) : reinterpret_cast<const char*>(&layer), 4);
  }
  return bytes;
}

// The names as those of an ordinary checkpoint, which has a layer for each hop.
std::vector<std::string> Unrolled(const std::vector<std::string>& names, const RecipePlan& plan) {
  const TensorRoles roles = TensorRoles::Infer(names);
  std::vector<std::string> unrolled;
  for (const std::string& name : names) {
    const TensorRole role = roles.Of(name);
    if (role.part != ModelPart::kLayers) unrolled.push_back(name);
    for (size_t i = 0; i < plan.hops().size(); ++i) {
      if (role.part == ModelPart::kLayers && plan.hops()[i].out == role.layer)
        unrolled.push_back(WithLayer(name, role, static_cast<int>(i)));
    }
  }
  return unrolled;
}

absl::StatusOr<Prepared> Prepare(const Recipe& recipe, const ModelResolver& resolver, const RecipeExportOptions& options) {
  if (!options.form.empty() && options.form != kEvoMistralForm) {
    return absl::InvalidArgumentError(
        absl::StrCat("form: unknown form '", options.form, "'", DidYouMean(options.form, {kEvoMistralForm})));
  }
  if (recipe.stacks.empty()) return absl::InvalidArgumentError("stacks: the recipe has none");
  if (const absl::Status dtype = ParseConfigDType(recipe.dtype).status(); !dtype.ok()) return Annotate(dtype, "dtype");
  Prepared prepared;
  prepared.recipe = recipe;
  // Whether the embedding is scaled, and so untied, depends on the path: it comes before the models are adapted.
  MG_ASSIGN_OR_RETURN(prepared.models, OpenRecipeModels(recipe, resolver, options.threads));
  if (recipe.path.empty()) {
    MG_ASSIGN_OR_RETURN(prepared.recipe.path, OwnPath(recipe, prepared.models));
    if (!prepared.recipe.path.empty()) {
      MG_ASSIGN_OR_RETURN(prepared.models, OpenRecipeModels(prepared.recipe, resolver, options.threads));
    }
  }
  const bool evo = options.form == kEvoMistralForm;
  RecipePlanOptions plan_options;
  plan_options.threads = options.threads;
  plan_options.batch_bytes = options.batch_bytes;
  plan_options.distinct_layers = evo;
  MG_ASSIGN_OR_RETURN(prepared.plan, RecipePlan::Build(prepared.recipe, prepared.models.sources, plan_options,
                                                       prepared.models.mlp_output, prepared.models.norm_plus_one));
  const RecipePlan& plan = *prepared.plan;
  const RawConfig& config = prepared.models.opened.at(prepared.models.config_donor).config;
  prepared.config_patch = prepared.models.config_patch;
  if (evo) {
    if (config.architecture != "MistralForCausalLM" && config.architecture != kEvoMistralArchitecture) {
      return absl::InvalidArgumentError(
          absl::StrCat("form: evomistral is a form of Mistral models; this is a ", config.architecture));
    }
    const auto hops = static_cast<int64_t>(plan.hops().size());
    prepared.extra.emplace_back(TensorHeader{std::string(kInputLayersTensor), DType::kI32, {hops}},
                                PathTensor(plan.hops(), false));
    prepared.extra.emplace_back(TensorHeader{std::string(kInputScalesTensor), DType::kF32, {hops}},
                                PathTensor(plan.hops(), true));
    prepared.config_patch =
        JoinPatches(prepared.config_patch, EvoMistralConfigPatch(config, plan.layers(), static_cast<int>(hops)));
  } else if (!prepared.recipe.path.empty()) {
    std::vector<int> layers;
    for (const RecipePlan::PlacedHop& hop : plan.hops()) layers.push_back(hop.layer);
    prepared.config_patch = JoinPatches(prepared.config_patch, PathConfigPatch(config, layers));
  }
  std::vector<std::string> names;
  for (const PlannedTensor& tensor : plan.tensors()) {
    prepared.headers.push_back(tensor.header);
    names.push_back(tensor.header.name);
    prepared.parameters += tensor.header.NumBytes() / SizeOf(tensor.header.dtype);
  }
  for (const auto& [header, bytes] : prepared.extra) prepared.headers.push_back(header);
  for (const TensorHeader& header : prepared.headers) prepared.bytes += header.NumBytes();
  for (const auto& [name, model] : prepared.models.opened) {
    if (model.config.architecture != kEvoMistralArchitecture) continue;
    prepared.no_mergekit_yaml =
        absl::StrCat("'", name, "' is an ", kEvoMistralArchitecture, ", which mergekit does not read");
    return prepared;
  }
  const MergekitFacts facts{prepared.models.mlp_output, prepared.models.norm_plus_one, prepared.models.reheaded};
  MG_ASSIGN_OR_RETURN(MergekitYaml mergekit, WriteMergekitYaml(prepared.recipe, Unrolled(names, plan), facts));
  prepared.no_mergekit_yaml = std::move(mergekit.reason);
  prepared.mergekit_yaml = std::move(mergekit.yaml);
  return prepared;
}

// What stands at `out_dir` is about to be deleted.
absl::Status CheckHoldsNoSource(const std::string& out_dir, const RecipeModels& models) {
  std::error_code ignored;
  const fs::path out = fs::canonical(out_dir, ignored);
  if (out.empty()) return absl::OkStatus();  // nothing stands there
  for (const auto& [name, model] : models.opened) {
    for (const std::string& dir : {model.dir, model.lora_dir}) {
      if (dir.empty()) continue;
      const fs::path source = fs::weakly_canonical(dir, ignored);
      if (std::mismatch(out.begin(), out.end(), source.begin(), source.end()).first != out.end()) continue;
      return absl::FailedPreconditionError(absl::StrCat("'", out_dir, "' is not overwritten: model '", name,
                                                        "' of this merge is there ('", source.string(),
                                                        "'); choose another directory"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RecipeExportPlan> PlanRecipeExport(const Recipe& recipe, const ModelResolver& resolver,
                                                  const RecipeExportOptions& options) {
  MG_ASSIGN_OR_RETURN(const Prepared prepared, Prepare(recipe, resolver, options));
  RecipeExportPlan plan;
  int64_t shard_bytes = 0;
  const auto add = [&](const TensorHeader& header, std::string from, int64_t read_bytes) {
    const int64_t bytes = header.NumBytes();
    if (plan.shards == 0 || (shard_bytes > 0 && bytes > options.max_shard_bytes - shard_bytes)) {
      ++plan.shards;
      shard_bytes = 0;
    }
    shard_bytes += bytes;
    plan.read_bytes += read_bytes;
    plan.tensors.push_back(
        {header.name, std::string(ConfigName(header.dtype)), header.shape, std::move(from), read_bytes, bytes});
  };
  for (const PlannedTensor& tensor : prepared.plan->tensors())
    add(tensor.header, prepared.plan->Describe(tensor), tensor.read_bytes);
  for (const auto& [header, bytes] : prepared.extra) add(header, "the path", 0);
  plan.layers = prepared.plan->layers();
  plan.parameters = prepared.parameters;
  plan.write_bytes = prepared.bytes;
  plan.memory_bytes = prepared.plan->MemoryBytes();
  MG_ASSIGN_OR_RETURN(plan.estimated_seconds, prepared.plan->EstimateSeconds());
  plan.no_mergekit_yaml = prepared.no_mergekit_yaml;
  plan.notes = prepared.models.notes;
  return plan;
}

absl::StatusOr<RecipeExportFacts> ExportRecipeFiles(const Recipe& recipe, const ModelResolver& resolver,
                                                    const RecipeExportOptions& options, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(Prepared prepared, Prepare(recipe, resolver, options));
  if (options.overwrite) MG_RETURN_IF_ERROR(CheckHoldsNoSource(options.out_dir, prepared.models));
  CheckpointWriterOptions writer;
  writer.out_dir = options.out_dir;
  writer.donor_dir = prepared.models.opened.at(prepared.models.donor).dir;
  writer.config_dir = prepared.models.opened.at(prepared.models.config_donor).dir;
  writer.config_patch = prepared.config_patch;
  writer.max_shard_bytes = options.max_shard_bytes;
  writer.overwrite = options.overwrite;
  writer.dropped_files = prepared.models.dropped_files;
  MG_ASSIGN_OR_RETURN(writer.dtype, ParseConfigDType(recipe.dtype));
  writer.text_files = prepared.models.text_files;
  for (const auto& [name, text] : options.text_files) writer.text_files[name] = text;
  if (prepared.mergekit_yaml) writer.text_files["mergekit.yaml"] = *prepared.mergekit_yaml;

  RecipeExportFacts facts;
  facts.bytes = prepared.bytes;
  facts.parameters = prepared.parameters;
  facts.no_mergekit_yaml = prepared.no_mergekit_yaml;
  constexpr size_t kReportedBytes = size_t{16} << 20;  // between two reports of progress
  const size_t planned = prepared.plan->tensors().size();
  size_t index = 0;
  int64_t done = 0, reported = 0;
  std::map<std::string, std::string> digests;  // by tensor: the line that WeightsSha256 hashes
  std::optional<MergeStream> stream;  // begun with the first tensor: nothing is computed for a folder that is refused
  const auto write_tensor = [&](const TensorHeader& tensor, const CheckpointWriter::Append& append) -> absl::Status {
    Sha256Stream digest;
    const auto write = [&](absl::Span<const std::byte> rest) -> absl::Status {
      if (options.digest) digest.Add({reinterpret_cast<const char*>(rest.data()), rest.size()});
      while (!rest.empty()) {
        if (stop.stop_requested()) return absl::CancelledError("stopped");
        const absl::Span<const std::byte> piece = rest.first(std::min(rest.size(), kReportedBytes));
        MG_RETURN_IF_ERROR(append(piece));
        rest.remove_prefix(piece.size());
        done += static_cast<int64_t>(piece.size());
        if (!options.progress || (done - reported < static_cast<int64_t>(kReportedBytes) && done < prepared.bytes)) continue;
        reported = done;
        options.progress(done, prepared.bytes);
      }
      return absl::OkStatus();
    };
    if (index < planned) {
      if (!stream) stream.emplace(*prepared.plan, stop);
      for (int64_t left = tensor.NumBytes(); left > 0;) {
        MG_ASSIGN_OR_RETURN(const absl::Span<const std::byte> piece, stream->Next());
        left -= static_cast<int64_t>(piece.size());
        MG_RETURN_IF_ERROR(write(piece));
      }
    } else {
      const std::string& bytes = prepared.extra[index - planned].second;
      MG_RETURN_IF_ERROR(write({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
    }
    ++index;
    if (options.digest) {
      digests[tensor.name] = absl::StrCat(tensor.name, " ", Name(tensor.dtype), " [", absl::StrJoin(tensor.shape, ","), "] ",
                                          digest.Hex(), "\n");
    }
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(CheckpointWriter(std::move(writer)).Write(prepared.headers, write_tensor));
  if (options.digest) {
    std::string lines;
    for (const auto& [name, line] : digests) lines += line;
    facts.weights_sha256 = Sha256Hex(lines);
  }
  return facts;
}

}  // namespace merganser
