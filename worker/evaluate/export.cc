#include "worker/evaluate/export.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/checkpoint_writer.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit_yaml.h"

namespace merganser {
namespace {

// The model whose config and tokenizer the merge takes.
absl::StatusOr<std::string> DonorOf(const Recipe& recipe, const CheckpointMap& checkpoints) {
  const Stack& stack = recipe.stacks.front();
  std::string donor = recipe.tokenizer_from;
  if (donor.empty()) donor = !stack.base.empty() ? stack.base : stack.sources.empty() ? "" : stack.sources.front();
  if (checkpoints.count(donor) == 0) {
    std::vector<std::string> names;
    for (const auto& [name, checkpoint] : checkpoints) names.push_back(name);
    return absl::InvalidArgumentError(absl::StrCat("tokenizer_from: no model '", donor, "'", DidYouMean(donor, names)));
  }
  return donor;
}

}  // namespace

absl::StatusOr<ExportFacts> ExportRecipe(const ExportRequest& request, const LocalOptions& options, std::stop_token stop) {
  const absl::Duration start = Clock::Real().Monotonic();
  const Recipe& recipe = request.recipe;
  if (recipe.stacks.empty()) return absl::InvalidArgumentError("stacks: the recipe has none");
  if (recipe.models.empty()) return absl::InvalidArgumentError("models: the recipe has none");
  MG_ASSIGN_OR_RETURN(const CheckpointMap checkpoints, OpenModels(recipe.models, options.model_roots));
  MG_RETURN_IF_ERROR(CheckSameForwardPass(checkpoints));
  MG_ASSIGN_OR_RETURN(const std::string donor, DonorOf(recipe, checkpoints));
  MG_ASSIGN_OR_RETURN(const ArenaLayout layout, MergedLayout(checkpoints.at(donor)->config(), recipe.dtype));
  MG_ASSIGN_OR_RETURN(auto sources, MergeSources::Create(checkpoints, layout));
  MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(recipe, recipe.stacks.front(), sources));
  MaterializerOptions materializer_options;
  materializer_options.threads = ThreadsOf(options);
  MG_ASSIGN_OR_RETURN(const auto materializer, Materializer::Create(std::move(sources), materializer_options));
  MG_ASSIGN_OR_RETURN(const auto arena, Arena::Create(layout));
  MG_RETURN_IF_ERROR(materializer->Run(plan, *arena, stop));

  ExportFacts facts;
  facts.out_dir = request.out_dir;
  facts.bytes = layout.TotalBytes();
  facts.weights_sha256 = WeightsSha256(*arena);
  CheckpointWriterOptions writer;
  writer.out_dir = request.out_dir;
  writer.donor_dir = checkpoints.at(donor)->dir();
  writer.overwrite = request.overwrite;
  writer.text_files = request.text_files;
  std::vector<TensorHeader> headers;
  std::vector<std::string> names;
  for (const ArenaTensor& tensor : layout.tensors()) {
    headers.push_back({tensor.name, tensor.dtype, tensor.shape});
    names.push_back(tensor.name);
    facts.parameters += tensor.NumElements();
    writer.dtype = tensor.dtype;
  }
  MG_ASSIGN_OR_RETURN(MergekitYaml mergekit, WriteMergekitYaml(recipe, names));
  facts.no_mergekit_yaml = std::move(mergekit.reason);
  if (mergekit.yaml) writer.text_files["mergekit.yaml"] = *std::move(mergekit.yaml);

  constexpr size_t kPieceBytes = size_t{16} << 20;  // between two reports of progress
  int64_t done = 0;
  const auto write_tensor = [&](const TensorHeader& tensor, const CheckpointWriter::Append& append) -> absl::Status {
    absl::Span<const std::byte> rest(arena->Find(tensor.name).data, static_cast<size_t>(tensor.NumBytes()));
    while (!rest.empty()) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      const absl::Span<const std::byte> piece = rest.first(std::min(rest.size(), kPieceBytes));
      MG_RETURN_IF_ERROR(append(piece));
      rest.remove_prefix(piece.size());
      done += static_cast<int64_t>(piece.size());
      if (request.progress) request.progress(done, facts.bytes);
    }
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(CheckpointWriter(std::move(writer)).Write(headers, write_tensor));
  facts.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  return facts;
}

}  // namespace merganser
