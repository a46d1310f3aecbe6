#include "worker/checkpoint/architectures.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "worker/checkpoint/tensor_role.h"

namespace merganser {
namespace {

// Attention and MLP of the Llama line, below "model.layers.#.", pair by pair.
// clang-format off
#define MG_LLAMA_LAYER(prefix)                                                            \
  {prefix "self_attn.q_proj.weight"}, {prefix "self_attn.k_proj.weight"},                 \
      {prefix "self_attn.v_proj.weight"}, {prefix "self_attn.o_proj.weight"},             \
      {prefix "self_attn.q_proj.bias", true}, {prefix "self_attn.k_proj.bias", true},     \
      {prefix "self_attn.v_proj.bias", true}, {prefix "self_attn.o_proj.bias", true},     \
      {prefix "self_attn.q_norm.weight", true}, {prefix "self_attn.k_norm.weight", true}, \
      {prefix "mlp.gate_proj.weight"}, {prefix "mlp.up_proj.weight"},                     \
      {prefix "mlp.down_proj.weight"}, {prefix "mlp.gate_proj.bias", true},               \
      {prefix "mlp.up_proj.bias", true}, {prefix "mlp.down_proj.bias", true},             \
      {prefix "input_layernorm.weight"}, {prefix "post_attention_layernorm.weight"}

#define MG_LLAMA_ENDS {"model.embed_tokens.weight"}, {"model.norm.weight"}, {"lm_head.weight", true}
// clang-format on

std::vector<Architecture> Build() {
  std::vector<Architecture> all;
  const auto decoder = [&](std::vector<absl::string_view> names, std::vector<TensorPattern> tensors,
                           std::vector<absl::string_view> mlp_output) {
    all.push_back({std::move(names), "model.layers.", "model.embed_tokens.weight", "lm_head.weight", std::move(tensors),
                   std::move(mlp_output)});
  };
  decoder({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"}, {MG_LLAMA_ENDS, MG_LLAMA_LAYER("model.layers.#.")},
          {"mlp.down_proj.weight", "mlp.down_proj.bias"});
  decoder({"Qwen3ForCausalLM"},
          {MG_LLAMA_ENDS,
           {"model.layers.#.self_attn.q_norm.weight"},
           {"model.layers.#.self_attn.k_norm.weight"},
           MG_LLAMA_LAYER("model.layers.#.")},
          {"mlp.down_proj.weight", "mlp.down_proj.bias"});
  decoder({"GemmaForCausalLM"}, {MG_LLAMA_ENDS, MG_LLAMA_LAYER("model.layers.#.")}, {"mlp.down_proj.weight"});
  // The norm behind the MLP is the last operation before the sum; its weight enters as 1 + w, so that a
  // scale of it is no scale of w alone. See FoldScale.
  decoder({"Gemma2ForCausalLM", "Gemma3ForCausalLM"},
          {MG_LLAMA_ENDS,
           {"model.layers.#.pre_feedforward_layernorm.weight"},
           {"model.layers.#.post_feedforward_layernorm.weight"},
           MG_LLAMA_LAYER("model.layers.#.")},
          {"post_feedforward_layernorm.weight"});
  decoder({"MixtralForCausalLM"},
          {MG_LLAMA_ENDS,
           {"model.layers.#.self_attn.q_proj.weight"},
           {"model.layers.#.self_attn.k_proj.weight"},
           {"model.layers.#.self_attn.v_proj.weight"},
           {"model.layers.#.self_attn.o_proj.weight"},
           {"model.layers.#.input_layernorm.weight"},
           {"model.layers.#.post_attention_layernorm.weight"},
           // One tensor for each expert, or (transformers 5) one for all.
           {"model.layers.#.block_sparse_moe.gate.weight", true},
           {"model.layers.#.block_sparse_moe.experts.*.w1.weight", true},
           {"model.layers.#.block_sparse_moe.experts.*.w2.weight", true},
           {"model.layers.#.block_sparse_moe.experts.*.w3.weight", true},
           {"model.layers.#.mlp.gate.weight", true},
           {"model.layers.#.mlp.experts.gate_up_proj", true},
           {"model.layers.#.mlp.experts.down_proj", true}},
          {"block_sparse_moe.experts.*.w2.weight", "mlp.experts.down_proj"});
  decoder({"Phi3ForCausalLM"},
          {MG_LLAMA_ENDS,
           {"model.layers.#.self_attn.qkv_proj.weight"},
           {"model.layers.#.self_attn.o_proj.weight"},
           {"model.layers.#.mlp.gate_up_proj.weight"},
           {"model.layers.#.mlp.down_proj.weight"},
           {"model.layers.#.input_layernorm.weight"},
           {"model.layers.#.post_attention_layernorm.weight"}},
          {"mlp.down_proj.weight"});
  // LLaVA's language model is a Llama or a Mistral; the names depend on the transformers that saved it.
  all.push_back({{"LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration"},
                 "language_model.model.layers.",
                 "language_model.model.embed_tokens.weight",
                 "language_model.lm_head.weight",
                 {{"language_model.model.embed_tokens.weight", true},
                  {"language_model.model.layers.*", true},
                  {"language_model.model.norm.weight", true},
                  {"language_model.lm_head.weight", true},
                  {"vision_tower.*", true},
                  {"multi_modal_projector.*", true},
                  {"image_newline", true},
                  {"model.language_model.*", true},
                  {"model.vision_tower.*", true},
                  {"model.multi_modal_projector.*", true},
                  {"model.image_newline", true},
                  {"lm_head.weight", true}},
                 {"mlp.down_proj.weight", "mlp.down_proj.bias"}});
  all.push_back({{"GPTNeoXForCausalLM"},
                 "gpt_neox.layers.",
                 "gpt_neox.embed_in.weight",
                 "embed_out.weight",
                 {{"gpt_neox.embed_in.weight"},
                  {"gpt_neox.final_layer_norm.weight"},
                  {"gpt_neox.final_layer_norm.bias"},
                  {"embed_out.weight", true},
                  {"gpt_neox.layers.#.input_layernorm.weight"},
                  {"gpt_neox.layers.#.input_layernorm.bias"},
                  {"gpt_neox.layers.#.post_attention_layernorm.weight"},
                  {"gpt_neox.layers.#.post_attention_layernorm.bias"},
                  {"gpt_neox.layers.#.attention.query_key_value.weight"},
                  {"gpt_neox.layers.#.attention.query_key_value.bias", true},
                  {"gpt_neox.layers.#.attention.dense.weight"},
                  {"gpt_neox.layers.#.attention.dense.bias", true},
                  // Buffers that old checkpoints carry.
                  {"gpt_neox.layers.#.attention.bias", true},
                  {"gpt_neox.layers.#.attention.masked_bias", true},
                  {"gpt_neox.layers.#.mlp.dense_h_to_4h.weight"},
                  {"gpt_neox.layers.#.mlp.dense_h_to_4h.bias"},
                  {"gpt_neox.layers.#.mlp.dense_4h_to_h.weight"},
                  {"gpt_neox.layers.#.mlp.dense_4h_to_h.bias"}},
                 {"mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.bias"}});
  return all;
}

#undef MG_LLAMA_LAYER
#undef MG_LLAMA_ENDS

}  // namespace

const std::vector<Architecture>& KnownArchitectures() {
  static const auto* const architectures = new std::vector<Architecture>(Build());
  return *architectures;
}

const Architecture* FindArchitecture(absl::string_view name) {
  for (const Architecture& architecture : KnownArchitectures()) {
    if (std::find(architecture.names.begin(), architecture.names.end(), name) != architecture.names.end())
      return &architecture;
  }
  return nullptr;
}

bool MatchesPattern(absl::string_view name, absl::string_view pattern) {
  const size_t mark = pattern.find_first_of("#*");
  if (mark == absl::string_view::npos) return name == pattern;
  if (name.size() < mark || name.substr(0, mark) != pattern.substr(0, mark)) return false;
  name.remove_prefix(mark);
  const absl::string_view rest = pattern.substr(mark + 1);
  if (pattern[mark] == '#') {
    size_t digits = 0;
    while (digits < name.size() && absl::ascii_isdigit(name[digits])) ++digits;
    return digits > 0 && MatchesPattern(name.substr(digits), rest);
  }
  for (size_t skip = 0; skip <= name.size(); ++skip) {
    if (MatchesPattern(name.substr(skip), rest)) return true;
  }
  return false;
}

absl::Status CheckTensors(const Architecture& architecture, absl::string_view called, absl::Span<const std::string> names,
                          const std::string& dir) {
  const absl::flat_hash_set<absl::string_view> have(names.begin(), names.end());
  int layers = 0;
  for (const std::string& name : names) layers = std::max(layers, RoleOf(name).layer + 1);
  const auto missing = [&](const std::string& name) {
    return absl::InvalidArgumentError(absl::StrCat("'", dir, "': tensor '", name, "' is missing; ", called, " needs it"));
  };
  for (const TensorPattern& pattern : architecture.tensors) {
    if (pattern.optional || absl::StrContains(pattern.name, "*")) continue;
    if (!absl::StrContains(pattern.name, "#")) {
      if (!have.contains(pattern.name)) return missing(std::string(pattern.name));
      continue;
    }
    for (int layer = 0; layer < layers; ++layer) {
      const std::string name = absl::StrReplaceAll(pattern.name, {{"#", absl::StrCat(layer)}});
      if (!have.contains(name)) return missing(name);
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> UnknownTensors(const Architecture& architecture, absl::Span<const std::string> names) {
  std::vector<std::string> unknown;
  for (const std::string& name : names) {
    const auto matches = [&](const TensorPattern& p) { return MatchesPattern(name, p.name); };
    if (std::none_of(architecture.tensors.begin(), architecture.tensors.end(), matches)) unknown.push_back(name);
  }
  return unknown;
}

}  // namespace merganser
