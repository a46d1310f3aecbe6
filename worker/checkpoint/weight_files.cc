#include "worker/checkpoint/weight_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/directory.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIndexBytesMax = int64_t{256} << 20;

// Why there is nothing to load: pickles, or nothing at all.
absl::Status NoWeights(const std::string& dir, const std::string& file) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string();
    if (absl::EndsWith(name, ".gguf")) {
      return absl::UnimplementedError(absl::StrCat("'", dir, "' holds its weights as GGUF ('", name,
                                                   "'), which is quantized; merge the model that it was made from"));
    }
    if (absl::StartsWith(name, "pytorch_model") || absl::EndsWith(name, ".pt") || absl::EndsWith(name, ".pth")) {
      return absl::UnimplementedError(absl::StrCat("'", dir, "' holds its weights as pickles ('", name,
                                                   "'), which can run code when they are read; convert it "
                                                   "once: python -c \"from transformers import AutoModelForCausalLM as M; "
                                                   "M.from_pretrained('",
                                                   dir, "', torch_dtype='auto').save_pretrained('", dir,
                                                   "-safetensors')\" and copy the tokenizer files"));
    }
  }
  return absl::NotFoundError(absl::StrCat("'", dir, "' has neither ", file, " nor ", file, ".index.json: no weights"));
}

// Tables that follow from the config; transformers stopped storing them.
bool IsComputedTable(absl::string_view name) { return absl::EndsWith(name, ".rotary_emb.inv_freq"); }

// The language model inside a vision-language checkpoint goes by a plain model's names, too: "model.norm.weight" for
// "language_model.model.norm.weight" (files of transformers 4) or "model.language_model.norm.weight" (its names since 5).
void AddLanguageModelNames(const std::vector<TensorView>& tensors, absl::flat_hash_map<std::string, int>& index_of) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    absl::string_view name = tensors[i].name;
    if (absl::ConsumePrefix(&name, "language_model.")) {
      index_of.try_emplace(std::string(name), static_cast<int>(i));
    } else if (absl::ConsumePrefix(&name, "model.language_model.")) {
      index_of.try_emplace(absl::StrCat("model.", name), static_cast<int>(i));
    }
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const WeightFiles>> WeightFiles::Open(const std::string& dir, const std::string& stem) {
  MG_RETURN_IF_ERROR(CheckDirectory(dir));
  std::shared_ptr<WeightFiles> files(new WeightFiles);
  files->dir_ = dir;
  MG_RETURN_IF_ERROR(files->Load(stem));
  return std::shared_ptr<const WeightFiles>(std::move(files));
}

absl::Status WeightFiles::Load(const std::string& stem) {
  const std::string file_name = stem + ".safetensors";
  const fs::path single = fs::path(dir_) / file_name;
  const fs::path index = fs::path(dir_) / (file_name + ".index.json");
  if (Exists(single)) {
    MG_ASSIGN_OR_RETURN(auto file, SafetensorsReader::Open(single.string()));
    AddFile(std::move(file));
  } else if (Exists(index)) {
    MG_RETURN_IF_ERROR(LoadShards(index.string()));
  } else {
    return NoWeights(dir_, file_name);
  }
  std::vector<int> order(tensors_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return tensors_[a].name < tensors_[b].name; });
  std::vector<TensorView> tensors;
  std::vector<int> file_of;
  for (int i : order) {
    index_of_[tensors_[i].name] = static_cast<int>(tensors.size());
    total_bytes_ += static_cast<int64_t>(tensors_[i].data.size());
    file_of.push_back(file_of_[i]);
    tensors.push_back(std::move(tensors_[i]));
  }
  tensors_ = std::move(tensors);
  file_of_ = std::move(file_of);
  AddLanguageModelNames(tensors_, index_of_);
  return absl::OkStatus();
}

absl::Status WeightFiles::LoadShards(const std::string& index_path) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(index_path, kIndexBytesMax));
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(text, index_path));
  const JsonObject json(parsed, index_path);
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> weight_map, json.Object("weight_map"));
  if (!weight_map) return json.Bad("weight_map", "an object of tensor name to file name");
  std::map<std::string, std::string> file_of_tensor;
  std::set<std::string> files;
  for (const auto& [tensor, file] : weight_map->json().items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == ".." || name == "." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return weight_map->Bad(tensor, "the name of a file in the same directory");
    }
    file_of_tensor[tensor] = name;
    files.insert(name);
  }
  for (const std::string& name : files) {
    const std::string path = (fs::path(dir_) / name).string();
    if (!Exists(path)) {
      return absl::NotFoundError(absl::StrCat("'", index_path, "' names the file '", Printable(name),
                                              "', which is not in the directory (an interrupted download?)"));
    }
    MG_ASSIGN_OR_RETURN(auto file, SafetensorsReader::Open(path));
    for (const TensorView& tensor : file->tensors()) {
      const auto it = file_of_tensor.find(tensor.name);
      if (it == file_of_tensor.end()) {
        if (IsComputedTable(tensor.name)) continue;
        return absl::InvalidArgumentError(absl::StrCat("'", path, "' holds tensor '", Printable(tensor.name), "', which '",
                                                       index_path, "' does not list"));
      }
      if (it->second != name) {
        return absl::InvalidArgumentError(absl::StrCat("'", path, "' holds tensor '", Printable(tensor.name), "', which '",
                                                       index_path, "' places in '", Printable(it->second), "'"));
      }
    }
    AddFile(std::move(file));
  }
  // A name is in no shard twice, and in no other shard than the index says; so only absence is left
  // to find.
  absl::flat_hash_set<absl::string_view> present;
  for (const auto& file : files_) {
    for (const TensorView& tensor : file->tensors()) present.insert(tensor.name);
  }
  for (const auto& [tensor, name] : file_of_tensor) {
    if (!present.contains(tensor)) {
      return absl::InvalidArgumentError(absl::StrCat("'", index_path, "' places tensor '", Printable(tensor), "' in '",
                                                     Printable(name), "', which does not hold it"));
    }
  }
  return absl::OkStatus();
}

void WeightFiles::AddFile(std::unique_ptr<const SafetensorsReader> file) {
  const int number = static_cast<int>(files_.size());
  for (const TensorView& tensor : file->tensors()) {
    if (IsComputedTable(tensor.name)) continue;
    tensors_.push_back(tensor);
    file_of_.push_back(number);
  }
  files_.push_back(std::move(file));
}

const TensorView* WeightFiles::Find(absl::string_view name) const {
  const auto it = index_of_.find(name);
  return it == index_of_.end() ? nullptr : &tensors_[it->second];
}

std::string WeightFiles::FileOf(absl::string_view name) const {
  const auto it = index_of_.find(name);
  return it == index_of_.end() ? "" : files_[file_of_[it->second]]->path();
}

}  // namespace merganser
