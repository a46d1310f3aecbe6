#include "worker/checkpoint/tensor_role.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

struct PartPrefix {
  absl::string_view prefix;
  ModelPart part;
};

constexpr PartPrefix kParts[] = {
    {"model.embed_tokens.", ModelPart::kEmbedding},
    {"model.norm.", ModelPart::kNorm},
    {"model.final_layernorm.", ModelPart::kNorm},  // Phi
    {"lm_head.", ModelPart::kHead},
    // LLaVA, Gemma 3: as transformers 4 saves them, and as transformers 5 does.
    {"language_model.model.embed_tokens.", ModelPart::kEmbedding},
    {"language_model.model.norm.", ModelPart::kNorm},
    {"language_model.lm_head.", ModelPart::kHead},
    {"model.language_model.embed_tokens.", ModelPart::kEmbedding},
    {"model.language_model.norm.", ModelPart::kNorm},
    // GPT-NeoX
    {"gpt_neox.embed_in.", ModelPart::kEmbedding},
    {"gpt_neox.final_layer_norm.", ModelPart::kNorm},
    {"embed_out.", ModelPart::kHead},
    // GPT-2, Falcon
    {"transformer.wte.", ModelPart::kEmbedding},
    {"transformer.wpe.", ModelPart::kEmbedding},
    {"transformer.word_embeddings.", ModelPart::kEmbedding},
    {"transformer.ln_f.", ModelPart::kNorm},
    // Mamba
    {"backbone.embeddings.", ModelPart::kEmbedding},
    {"backbone.norm_f.", ModelPart::kNorm},
};

constexpr absl::string_view kLayerPrefixes[] = {
    "model.layers.",   "language_model.model.layers.", "model.language_model.layers.", "gpt_neox.layers.", "transformer.h.",
    "backbone.layers."};

// The number at the start of `rest`, if a point follows it; else -1.
int LeadingLayer(absl::string_view rest) {
  constexpr size_t kLayerDigitsMax = 6;
  const absl::string_view digits = rest.substr(0, rest.find('.'));
  int layer = -1;
  if (digits.empty() || digits.size() > kLayerDigitsMax || digits.size() == rest.size() ||
      !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) || (digits[0] == '0' && digits.size() > 1) ||
      !absl::SimpleAtoi(digits, &layer)) {
    return -1;
  }
  return layer;
}

// What stands before the first number of a name, its point included; "" without a number.
absl::string_view NumberedPrefix(absl::string_view name) {
  for (size_t point = name.find('.'); point != absl::string_view::npos; point = name.find('.', point + 1)) {
    if (LeadingLayer(name.substr(point + 1)) >= 0) return name.substr(0, point + 1);
  }
  return "";
}

}  // namespace

TensorRole RoleOf(absl::string_view tensor_name) {
  for (const PartPrefix& known : kParts) {
    if (absl::StartsWith(tensor_name, known.prefix)) return {known.part, -1};
  }
  for (const absl::string_view prefix : kLayerPrefixes) {
    absl::string_view rest = tensor_name;
    if (!absl::ConsumePrefix(&rest, prefix)) continue;
    const int layer = LeadingLayer(rest);
    return layer < 0 ? TensorRole{} : TensorRole{ModelPart::kLayers, layer};
  }
  return {};
}

TensorRoles TensorRoles::Infer(absl::Span<const std::string> tensor_names) {
  TensorRoles roles;
  std::map<absl::string_view, int> counts;
  for (const std::string& name : tensor_names) {
    if (RoleOf(name).part == ModelPart::kLayers) return roles;
    const absl::string_view prefix = NumberedPrefix(name);
    if (!prefix.empty()) ++counts[prefix];
  }
  int most = 0;
  for (const auto& [prefix, count] : counts) {
    if (count <= most) continue;
    most = count;
    roles.prefix_ = std::string(prefix);
  }
  return roles;
}

TensorRole TensorRoles::Of(absl::string_view tensor_name) const {
  absl::string_view rest = tensor_name;
  if (!prefix_.empty() && absl::ConsumePrefix(&rest, prefix_)) {
    const int layer = LeadingLayer(rest);
    if (layer >= 0) return {ModelPart::kLayers, layer};
  }
  return RoleOf(tensor_name);
}

int TensorRoles::Layers(absl::Span<const std::string> tensor_names) const {
  int layers = 0;
  for (const std::string& name : tensor_names) layers = std::max(layers, Of(name).layer + 1);
  return layers;
}

std::string WithLayer(const std::string& tensor_name, const TensorRole& role, int layer) {
  if (role.part != ModelPart::kLayers) return tensor_name;
  const std::string old = absl::StrCat(".", role.layer, ".");
  const size_t at = tensor_name.find(old);
  if (at == std::string::npos) return tensor_name;
  return absl::StrCat(tensor_name.substr(0, at + 1), layer, tensor_name.substr(at + old.size() - 1));
}

}  // namespace merganser
