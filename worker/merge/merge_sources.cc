#include "worker/merge/merge_sources.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

std::string Quoted(absl::string_view name, absl::string_view label) {
  return label.empty() ? absl::StrCat("'", name, "'") : absl::StrCat("'", name, "' (", label, ")");
}

absl::string_view HeadHint(absl::string_view tensor) {
  return absl::StartsWith(tensor, "lm_head.") ? "; one of them ties its head to the embeddings and the other does not" : "";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MergeSources>> MergeSources::Create(const std::map<std::string, Model>& models,
                                                                         ArenaLayout layout, const TensorRoles* roles) {
  if (models.empty()) return absl::InvalidArgumentError("a merge needs at least one model");
  auto sources = std::shared_ptr<MergeSources>(new MergeSources(std::move(layout)));
  const std::vector<ArenaTensor>& wanted = sources->layout_.tensors();
  for (const ArenaTensor& tensor : wanted)
    sources->roles_.push_back(roles != nullptr ? roles->Of(tensor.name) : RoleOf(tensor.name));
  const auto& [first_name, first_model] = *models.begin();
  absl::flat_hash_map<absl::string_view, const TensorView*> in_first;
  for (const TensorView& view : first_model.tensors) in_first[view.name] = &view;
  for (const auto& [name, model] : models) {
    const std::string who = Quoted(name, model.label);
    std::vector<FloatTensor> row(wanted.size());
    std::vector<bool> found(wanted.size());
    for (const TensorView& view : model.tensors) {
      const int i = sources->layout_.IndexOf(view.name);
      if (i < 0) {
        if (model.tied_head && absl::StartsWith(view.name, "lm_head.")) continue;
        const bool shared = in_first.contains(view.name);
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor '", Printable(view.name), "' is in ", who, " but not in ",
            shared ? "the layout of the merged weights" : Quoted(first_name, first_model.label), HeadHint(view.name)));
      }
      const auto other = in_first.find(view.name);
      if (other != in_first.end() && other->second->shape != view.shape) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", view.name, "' has shape ", ShapeText(view.shape), " in ",
                                                       who, " but ", ShapeText(other->second->shape), " in ",
                                                       Quoted(first_name, first_model.label)));
      }
      if (wanted[i].shape != view.shape) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", view.name, "' has shape ", ShapeText(view.shape), " in ",
                                                       who, " but ", ShapeText(wanted[i].shape),
                                                       " in the layout of the merged weights"));
      }
      if (!IsMergeable(view.dtype)) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", view.name, "' of ", who, " has type ", Name(view.dtype),
                                                       "; only F64, F32, F16 and BF16 can be merged"));
      }
      if (static_cast<int64_t>(view.data.size()) != wanted[i].NumElements() * SizeOf(view.dtype)) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", view.name, "' of ", who, " has ", view.data.size(),
                                                       " bytes; its shape ", ShapeText(view.shape), " needs ",
                                                       wanted[i].NumElements() * SizeOf(view.dtype)));
      }
      row[i] = {view.dtype, view.data.data(), wanted[i].NumElements()};
      found[i] = true;
    }
    const auto missing = std::find(found.begin(), found.end(), false);
    if (missing != found.end()) {
      const std::string& tensor = wanted[missing - found.begin()].name;
      const bool in_other = in_first.contains(tensor);
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", tensor, "' is in ",
                       in_other ? Quoted(first_name, first_model.label) : "the layout of the merged weights", " but not in ",
                       who, HeadHint(tensor)));
    }
    sources->names_.push_back(name);
    sources->labels_.push_back(model.label);
    sources->tensors_.push_back(std::move(row));
    sources->owners_.push_back(model.owner);
  }
  return sources;
}

absl::StatusOr<std::shared_ptr<const MergeSources>> MergeSources::Create(
    const std::map<std::string, std::shared_ptr<const Checkpoint>>& checkpoints, ArenaLayout layout) {
  std::map<std::string, Model> models;
  for (const auto& [name, checkpoint] : checkpoints) {
    models[name] = {checkpoint->dir(), checkpoint->tensors(), checkpoint->config().tie_word_embeddings, checkpoint};
  }
  return Create(models, std::move(layout));
}

int MergeSources::IndexOf(absl::string_view name) const {
  const auto it = std::lower_bound(names_.begin(), names_.end(), name,
                                   [](const std::string& a, absl::string_view b) { return absl::string_view(a) < b; });
  return it != names_.end() && *it == name ? static_cast<int>(it - names_.begin()) : -1;
}

std::string MergeSources::Describe(int model) const { return Quoted(names_[model], labels_[model]); }

}  // namespace merganser
