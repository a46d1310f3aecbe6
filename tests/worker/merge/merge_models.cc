#include "tests/worker/merge/merge_models.h"

#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "worker/merge/float_blocks.h"

namespace merganser::testing_merge {

MergeSources::Model MakeModel(const std::vector<NamedTensor>& tensors, DType dtype, const std::string& label) {
  auto bytes = std::make_shared<std::vector<std::vector<std::byte>>>();
  MergeSources::Model model;
  model.label = label;
  for (const NamedTensor& tensor : tensors) {
    std::vector<std::byte>& data = bytes->emplace_back(tensor.values.size() * SizeOf(dtype));
    StoreBlock(dtype, tensor.values.data(), static_cast<int64_t>(tensor.values.size()), data.data());
    model.tensors.push_back({tensor.name, dtype, tensor.shape, data});
  }
  model.owner = bytes;
  return model;
}

ArenaLayout MakeLayout(const std::vector<NamedTensor>& tensors, DType dtype) {
  std::vector<ArenaTensor> list;
  for (const NamedTensor& tensor : tensors) list.push_back({tensor.name, tensor.shape, dtype});
  absl::StatusOr<ArenaLayout> layout = ArenaLayout::Create(std::move(list));
  MG_CHECK(layout.ok());
  return *std::move(layout);
}

Values Gaussian(int64_t count, uint64_t seed, float sigma, const Values& around) {
  Rng rng(seed, 1);
  Values values(count);
  for (int64_t i = 0; i < count; ++i) {
    values[i] = (around.empty() ? 0 : around[i]) + sigma * static_cast<float>(rng.Normal());
  }
  return values;
}

Recipe OneGroup(const std::string& method, const std::string& base, const std::vector<std::string>& sources,
                const std::vector<std::map<std::string, double>>& source_parameters,
                const std::map<std::string, double>& parameters, const std::string& dtype) {
  Recipe recipe;
  for (const std::string& source : sources) recipe.models.push_back({source, "models/" + source});
  if (!base.empty()) recipe.models.push_back({base, "models/" + base});
  recipe.stacks.push_back({"merged", method, base, sources, {{{"all"}, source_parameters, parameters}}});
  recipe.tokenizer_from = base.empty() ? sources[0] : base;
  recipe.dtype = dtype;
  recipe.mask_seed = 11;
  return recipe;
}

Values ArenaValues(const Arena& arena, int i) {
  const ArenaTensor& spec = arena.layout().tensors()[i];
  Values values(spec.NumElements());
  LoadBlock({spec.dtype, arena.data(i), spec.NumElements()}, 0, spec.NumElements(), values.data());
  return values;
}

absl::StatusOr<std::vector<Values>> MergeAll(const Recipe& recipe, const std::shared_ptr<const MergeSources>& sources,
                                             const MaterializerOptions& options) {
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<Materializer> materializer, Materializer::Create(sources, options));
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<Arena> arena, Arena::Create(sources->layout()));
  MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(recipe, recipe.stacks[0], sources));
  MG_RETURN_IF_ERROR(materializer->Run(plan, *arena));
  std::vector<Values> merged;
  for (size_t i = 0; i < sources->layout().tensors().size(); ++i) merged.push_back(ArenaValues(*arena, static_cast<int>(i)));
  return merged;
}

}  // namespace merganser::testing_merge
