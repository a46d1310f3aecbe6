#include "tests/worker/merge/small_checkpoints.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/weight_files.h"
#include "worker/merge/float_blocks.h"

namespace merganser::testing_merge {
namespace {

namespace fs = std::filesystem;

std::string BytesOf(const StoredTensor& tensor) {
  std::string bytes(static_cast<size_t>(tensor.header.NumBytes()), '\0');
  auto* out = reinterpret_cast<std::byte*>(bytes.data());
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    if (tensor.header.dtype == DType::kI64) {
      const auto value = static_cast<int64_t>(tensor.values[i]);
      std::memcpy(out + i * 8, &value, 8);
    } else if (tensor.header.dtype == DType::kI32) {
      const auto value = static_cast<int32_t>(tensor.values[i]);
      std::memcpy(out + i * 4, &value, 4);
    }
  }
  if (IsMergeable(tensor.header.dtype)) {
    StoreBlock(tensor.header.dtype, tensor.values.data(), static_cast<int64_t>(tensor.values.size()), out);
  }
  return bytes;
}

}  // namespace

StoredTensor* SmallCheckpoint::Find(const std::string& name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.header.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

void SmallCheckpoint::Remove(const std::string& name) {
  tensors.erase(std::remove_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.header.name == name; }),
                tensors.end());
}

float FormulaValue(int model, int tensor, int element) {
  const int64_t m = model, t = tensor, e = element;
  const int64_t k = (m * 7919 + t * 104729 + e * 15485863 + m * e * 32452843) % 8191;
  return static_cast<float>(static_cast<double>(k - 4095) / 4096.0);
}

SmallCheckpoint SmallLlama(int number) {
  SmallCheckpoint checkpoint;
  checkpoint.config = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 8, "hidden_size": 4,
  "intermediate_size": 6, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
  "torch_dtype": "float32", "tie_word_embeddings": false, "rms_norm_eps": 1e-06, "hidden_act": "silu"
})";
  int index = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    StoredTensor tensor{{name, DType::kF32, std::move(shape)}, {}};
    const int64_t count = tensor.header.NumBytes() / 4;
    for (int64_t e = 0; e < count; ++e) tensor.values.push_back(FormulaValue(number, index, static_cast<int>(e)));
    checkpoint.tensors.push_back(std::move(tensor));
    ++index;
  };
  add("model.embed_tokens.weight", {8, 4});
  for (int i = 0; i < 4; ++i) {
    const std::string p = absl::StrCat("model.layers.", i, ".");
    add(p + "self_attn.q_proj.weight", {4, 4});
    add(p + "self_attn.k_proj.weight", {2, 4});
    add(p + "self_attn.v_proj.weight", {2, 4});
    add(p + "self_attn.o_proj.weight", {4, 4});
    add(p + "mlp.gate_proj.weight", {6, 4});
    add(p + "mlp.up_proj.weight", {6, 4});
    add(p + "mlp.down_proj.weight", {4, 6});
    add(p + "input_layernorm.weight", {4});
    add(p + "post_attention_layernorm.weight", {4});
  }
  add("model.norm.weight", {4});
  add("lm_head.weight", {8, 4});
  return checkpoint;
}

std::string NewTestFolder() {
  static const struct Root {
    const std::string path = absl::StrCat(testing::TempDir(), "/mg-recipe-", getpid());
    const pid_t owner = getpid();
    ~Root() {
      std::error_code ignored;
      if (getpid() == owner) fs::remove_all(path, ignored);
    }
  } root;
  static int number = 0;
  const std::string path = absl::StrCat(root.path, "/", number++);
  fs::create_directories(path);
  return path;
}

std::string Write(const SmallCheckpoint& checkpoint, const std::map<std::string, std::string>& files) {
  const std::string dir = NewTestFolder();
  std::ofstream(dir + "/config.json") << checkpoint.config;
  for (const auto& [name, text] : files) std::ofstream(dir + "/" + name, std::ios::binary) << text;
  std::vector<TensorHeader> headers;
  for (const StoredTensor& tensor : checkpoint.tensors) headers.push_back(tensor.header);
  auto writer = SafetensorsWriter::Create(dir + "/model.safetensors", headers);
  MG_CHECK(writer.ok());
  for (const StoredTensor& tensor : checkpoint.tensors) {
    const std::string bytes = BytesOf(tensor);
    MG_CHECK((*writer)->Append({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}).ok());
  }
  MG_CHECK((*writer)->Finish().ok());
  return dir;
}

void ReplaceText(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  MG_CHECK(at != std::string::npos);
  text.replace(at, from.size(), to);
}

std::map<std::string, std::vector<float>> ReadTensors(const std::string& dir) {
  const auto files = WeightFiles::Open(dir);
  MG_CHECK(files.ok());
  std::map<std::string, std::vector<float>> tensors;
  for (const TensorView& view : (*files)->tensors()) {
    std::vector<float>& values = tensors[view.name];
    values.resize(static_cast<size_t>(view.NumElements()));
    if (IsMergeable(view.dtype)) {
      LoadBlock({view.dtype, view.data.data(), view.NumElements()}, 0, view.NumElements(), values.data());
      continue;
    }
    for (int64_t i = 0; i < view.NumElements(); ++i) {
      int64_t wide = 0;
      int32_t narrow = 0;
      if (view.dtype == DType::kI64) std::memcpy(&wide, view.data.data() + i * 8, 8);
      if (view.dtype == DType::kI32) std::memcpy(&narrow, view.data.data() + i * 4, 4);
      values[i] = static_cast<float>(wide + narrow);
    }
  }
  return tensors;
}

std::string TokenizerJson(const std::vector<std::string>& tokens, const std::vector<std::string>& added) {
  nlohmann::json json = {{"version", "1.0"}, {"added_tokens", nlohmann::json::array()}, {"model", {{"type", "BPE"}}}};
  json["model"]["vocab"] = nlohmann::json::object();
  for (size_t i = 0; i < tokens.size(); ++i) json["model"]["vocab"][tokens[i]] = i;
  for (size_t i = 0; i < added.size(); ++i) {
    json["added_tokens"].push_back({{"id", tokens.size() + i}, {"content", added[i]}, {"special", true}});
  }
  return json.dump();
}

std::string ReadWhole(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace merganser::testing_merge
