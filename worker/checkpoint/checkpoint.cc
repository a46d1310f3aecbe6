#include "worker/checkpoint/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architecture_tensors.h"
#include "worker/checkpoint/finite_scan.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
constexpr int64_t kIndexBytesMax = int64_t{256} << 20;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Why there is nothing to load: pickles, or nothing at all.
absl::Status NoWeights(const std::string& dir) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, "pytorch_model") || absl::EndsWith(name, ".pt") ||
        absl::EndsWith(name, ".pth")) {
      return absl::UnimplementedError(
          absl::StrCat("'", dir, "' holds its weights as pickles ('", name,
                       "'), which can run code when they are read; convert it "
                       "once: python -c \"from transformers import AutoModelForCausalLM as M; "
                       "M.from_pretrained('",
                       dir, "', torch_dtype='auto').save_pretrained('", dir,
                       "-safetensors')\" and copy the tokenizer files"));
    }
  }
  return absl::NotFoundError(
      absl::StrCat("'", dir, "' has neither ", kSingleFile, " nor ", kIndexFile, ": no weights"));
}

// Tables that follow from the config; transformers stopped storing them.
bool IsComputedTable(absl::string_view name) {
  return absl::EndsWith(name, ".rotary_emb.inv_freq");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Checkpoint>> Checkpoint::Open(const std::string& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error)) {
    if (Exists(dir))
      return absl::InvalidArgumentError(absl::StrCat("'", dir, "' is not a directory"));
    return absl::NotFoundError(absl::StrCat("no directory '", dir, "'"));
  }
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->dir_ = dir;
  MG_RETURN_IF_ERROR(checkpoint->LoadConfigs());
  MG_RETURN_IF_ERROR(checkpoint->LoadWeights());
  MG_RETURN_IF_ERROR(checkpoint->CheckArchitecture());
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

absl::Status Checkpoint::LoadConfigs() {
  const std::string path = (fs::path(dir_) / "config.json").string();
  absl::StatusOr<std::string> text = ReadFile(path, kConfigBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat("'", dir_, "' has no config.json: not a checkpoint directory"));
  }
  MG_RETURN_IF_ERROR(text.status());
  MG_ASSIGN_OR_RETURN(config_, ModelConfig::Parse(*text, path));

  const std::string generation_path = (fs::path(dir_) / "generation_config.json").string();
  absl::StatusOr<std::string> generation = ReadFile(generation_path, kConfigBytesMax);
  if (absl::IsNotFound(generation.status())) {
    generation_config_ = GenerationConfig::FromModelConfig(config_);
    return absl::OkStatus();
  }
  MG_RETURN_IF_ERROR(generation.status());
  MG_ASSIGN_OR_RETURN(generation_config_,
                      GenerationConfig::Parse(*generation, generation_path, config_));
  generation_json_ = *std::move(generation);
  return absl::OkStatus();
}

absl::Status Checkpoint::LoadWeights() {
  const fs::path single = fs::path(dir_) / kSingleFile;
  const fs::path index = fs::path(dir_) / kIndexFile;
  if (Exists(single)) {
    MG_ASSIGN_OR_RETURN(auto file, SafetensorsReader::Open(single.string()));
    AddFile(std::move(file));
  } else if (Exists(index)) {
    MG_RETURN_IF_ERROR(LoadShards(index.string()));
  } else {
    return NoWeights(dir_);
  }
  std::vector<int> order(tensors_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return tensors_[a].name < tensors_[b].name; });
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
  return absl::OkStatus();
}

absl::Status Checkpoint::LoadShards(const std::string& index_path) {
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
      return absl::NotFoundError(
          absl::StrCat("'", index_path, "' names the file '", Printable(name),
                       "', which is not in the directory (an interrupted download?)"));
    }
    MG_ASSIGN_OR_RETURN(auto file, SafetensorsReader::Open(path));
    for (const TensorView& tensor : file->tensors()) {
      const auto it = file_of_tensor.find(tensor.name);
      if (it == file_of_tensor.end()) {
        if (IsComputedTable(tensor.name)) continue;
        return absl::InvalidArgumentError(absl::StrCat("'", path, "' holds tensor '",
                                                       Printable(tensor.name), "', which '",
                                                       index_path, "' does not list"));
      }
      if (it->second != name) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", path, "' holds tensor '", Printable(tensor.name), "', which '",
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
      return absl::InvalidArgumentError(absl::StrCat("'", index_path, "' places tensor '",
                                                     Printable(tensor), "' in '", Printable(name),
                                                     "', which does not hold it"));
    }
  }
  return absl::OkStatus();
}

void Checkpoint::AddFile(std::unique_ptr<const SafetensorsReader> file) {
  const int number = static_cast<int>(files_.size());
  for (const TensorView& tensor : file->tensors()) {
    if (IsComputedTable(tensor.name)) continue;
    tensors_.push_back(tensor);
    file_of_.push_back(number);
  }
  files_.push_back(std::move(file));
}

absl::Status Checkpoint::CheckArchitecture() const {
  for (const ExpectedTensor& expected : ArchitectureTensors(config_)) {
    const TensorView* found = Find(expected.name);
    if (found == nullptr) {
      const bool tied = expected.name == "lm_head.weight";
      return absl::InvalidArgumentError(
          absl::StrCat("'", dir_, "': tensor '", expected.name, "' is missing; ",
                       config_.architecture, " needs it with shape ", ShapeText(expected.shape),
                       tied ? " since config.json does not set tie_word_embeddings" : ""));
    }
    if (found->shape != expected.shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", FileOf(expected.name), "': tensor '", expected.name, "' has shape ",
          ShapeText(found->shape), "; config.json asks for ", ShapeText(expected.shape)));
    }
    if (!IsFloatingPoint(found->dtype)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", FileOf(expected.name), "': tensor '", expected.name, "' has dtype ",
          Name(found->dtype), "; expected a floating-point type (a quantized checkpoint?)"));
    }
  }
  return absl::OkStatus();
}

const TensorView* Checkpoint::Find(absl::string_view name) const {
  const auto it = index_of_.find(name);
  return it == index_of_.end() ? nullptr : &tensors_[it->second];
}

std::string Checkpoint::FileOf(absl::string_view name) const {
  const auto it = index_of_.find(name);
  return it == index_of_.end() ? "" : files_[file_of_[it->second]]->path();
}

std::string Checkpoint::Fingerprint() const {
  constexpr size_t kWholeBytesMax = 256 << 10;
  constexpr size_t kPieces = 64;
  constexpr size_t kPieceBytes = 1024;
  std::string digests = absl::StrCat("merganser checkpoint 1\n", Sha256Hex(config_.raw_json), "\n",
                                     Sha256Hex(generation_json_), "\n");
  for (const TensorView& tensor : tensors_) {
    const absl::string_view bytes(reinterpret_cast<const char*>(tensor.data.data()),
                                  tensor.data.size());
    std::string sample;
    if (bytes.size() > kWholeBytesMax) {
      const size_t last = bytes.size() - kPieceBytes;
      for (size_t i = 0; i < kPieces; ++i) {
        // The last piece ends with the tensor.
        absl::StrAppend(&sample, bytes.substr(last / (kPieces - 1) * i +
                                                  last % (kPieces - 1) * i / (kPieces - 1),
                                              kPieceBytes));
      }
    }
    absl::StrAppend(&digests, tensor.name.size(), " ", tensor.name, " ", Name(tensor.dtype), " ",
                    ShapeText(tensor.shape), " ", Sha256Hex(sample.empty() ? bytes : sample), "\n");
  }
  return Sha256Hex(digests);
}

absl::Status Checkpoint::CheckFinite() const {
  // Each thread takes the next tensor; tensors behind a known bad one need no look. The first bad
  // one in name order wins, whoever finds it.
  const int count = static_cast<int>(tensors_.size());
  std::atomic<int> next = 0;
  std::atomic<int> first_bad = count;
  absl::Mutex mu;
  std::map<int, int64_t> bad_element;  // guarded by mu
  const auto work = [&] {
    for (int i = next++; i < first_bad.load(); i = next++) {
      const std::optional<int64_t> element = FirstNonFinite(tensors_[i]);
      if (!element) continue;
      const absl::MutexLock lock(&mu);
      bad_element[i] = *element;
      first_bad = std::min(first_bad.load(), i);
    }
  };
  {
    std::jthread helper(work);
    work();
  }
  if (bad_element.empty()) return absl::OkStatus();
  const auto [i, element] = *bad_element.begin();
  return absl::InvalidArgumentError(
      absl::StrCat("'", FileOf(tensors_[i].name), "': tensor '", tensors_[i].name, "' has ",
                   IsNaN(tensors_[i], element) ? "a NaN" : "an infinity", " at element ", element,
                   " of shape ", ShapeText(tensors_[i].shape)));
}

absl::Status CheckHomologous(const Checkpoint& base, const Checkpoint& other) {
  const auto missing = [](const Checkpoint& has, const Checkpoint& lacks,
                          const TensorView& tensor) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", has.dir(), "' has tensor '", Printable(tensor.name), "' with shape ",
                     ShapeText(tensor.shape), ", which '", lacks.dir(),
                     "' lacks: the checkpoints cannot be merged"));
  };
  auto a = base.tensors().begin();
  auto b = other.tensors().begin();
  while (a != base.tensors().end() || b != other.tensors().end()) {
    if (b == other.tensors().end() || (a != base.tensors().end() && a->name < b->name)) {
      return missing(base, other, *a);
    }
    if (a == base.tensors().end() || b->name < a->name) return missing(other, base, *b);
    if (a->shape != b->shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", Printable(a->name), "' has shape ", ShapeText(a->shape), " in '",
                       base.dir(), "' and ", ShapeText(b->shape), " in '", other.dir(),
                       "': the checkpoints cannot be merged"));
    }
    ++a, ++b;
  }
  return absl::OkStatus();
}

}  // namespace merganser
