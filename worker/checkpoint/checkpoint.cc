#include "worker/checkpoint/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architecture_tensors.h"
#include "worker/checkpoint/directory.h"
#include "worker/checkpoint/finite_scan.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kConfigBytesMax = int64_t{16} << 20;

}  // namespace

absl::StatusOr<std::shared_ptr<const Checkpoint>> Checkpoint::Open(const std::string& dir) {
  MG_RETURN_IF_ERROR(CheckDirectory(dir));
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->dir_ = dir;
  MG_RETURN_IF_ERROR(checkpoint->LoadConfigs());
  MG_ASSIGN_OR_RETURN(checkpoint->files_, WeightFiles::Open(dir));
  MG_RETURN_IF_ERROR(checkpoint->CheckArchitecture());
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

absl::Status Checkpoint::LoadConfigs() {
  const std::string path = (fs::path(dir_) / "config.json").string();
  absl::StatusOr<std::string> text = ReadFile(path, kConfigBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("'", dir_, "' has no config.json: not a checkpoint directory"));
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
  MG_ASSIGN_OR_RETURN(generation_config_, GenerationConfig::Parse(*generation, generation_path, config_));
  generation_json_ = *std::move(generation);
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckArchitecture() const {
  for (const ExpectedTensor& expected : ArchitectureTensors(config_)) {
    const TensorView* found = Find(expected.name);
    if (found == nullptr) {
      const bool tied = expected.name == "lm_head.weight";
      return absl::InvalidArgumentError(absl::StrCat(
          "'", dir_, "': tensor '", expected.name, "' is missing; ", config_.architecture, " needs it with shape ",
          ShapeText(expected.shape), tied ? " since config.json does not set tie_word_embeddings" : ""));
    }
    if (found->shape != expected.shape) {
      return absl::InvalidArgumentError(absl::StrCat("'", FileOf(expected.name), "': tensor '", expected.name,
                                                     "' has shape ", ShapeText(found->shape), "; config.json asks for ",
                                                     ShapeText(expected.shape)));
    }
    if (!IsFloatingPoint(found->dtype)) {
      return absl::InvalidArgumentError(absl::StrCat("'", FileOf(expected.name), "': tensor '", expected.name,
                                                     "' has dtype ", Name(found->dtype),
                                                     "; expected a floating-point type (a quantized checkpoint?)"));
    }
  }
  return absl::OkStatus();
}

std::string Checkpoint::Fingerprint() const {
  constexpr size_t kWholeBytesMax = 256 << 10;
  constexpr size_t kPieces = 64;
  constexpr size_t kPieceBytes = 1024;
  std::string digests =
      absl::StrCat("merganser checkpoint 1\n", Sha256Hex(config_.raw_json), "\n", Sha256Hex(generation_json_), "\n");
  for (const TensorView& tensor : tensors()) {
    const absl::string_view bytes(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    std::string sample;
    if (bytes.size() > kWholeBytesMax) {
      const size_t last = bytes.size() - kPieceBytes;
      for (size_t i = 0; i < kPieces; ++i) {
        // The last piece ends with the tensor.
        absl::StrAppend(&sample,
                        bytes.substr(last / (kPieces - 1) * i + last % (kPieces - 1) * i / (kPieces - 1), kPieceBytes));
      }
    }
    absl::StrAppend(&digests, tensor.name.size(), " ", tensor.name, " ", Name(tensor.dtype), " ", ShapeText(tensor.shape),
                    " ", Sha256Hex(sample.empty() ? bytes : sample), "\n");
  }
  return Sha256Hex(digests);
}

absl::Status Checkpoint::CheckFinite() const {
  // Each thread takes the next tensor; tensors behind a known bad one need no look. The first bad
  // one in name order wins, whoever finds it.
  const int count = static_cast<int>(tensors().size());
  std::atomic<int> next = 0;
  std::atomic<int> first_bad = count;
  absl::Mutex mu;
  std::map<int, int64_t> bad_element;  // guarded by mu
  const auto work = [&] {
    for (int i = next++; i < first_bad.load(); i = next++) {
      const std::optional<int64_t> element = FirstNonFinite(tensors()[i]);
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
  return absl::InvalidArgumentError(absl::StrCat("'", FileOf(tensors()[i].name), "': tensor '", tensors()[i].name, "' has ",
                                                 IsNaN(tensors()[i], element) ? "a NaN" : "an infinity", " at element ",
                                                 element, " of shape ", ShapeText(tensors()[i].shape)));
}

absl::Status CheckHomologous(const Checkpoint& base, const Checkpoint& other) {
  const auto missing = [](const Checkpoint& has, const Checkpoint& lacks, const TensorView& tensor) {
    return absl::InvalidArgumentError(absl::StrCat("'", has.dir(), "' has tensor '", Printable(tensor.name), "' with shape ",
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
      return absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(a->name), "' has shape ", ShapeText(a->shape),
                                                     " in '", base.dir(), "' and ", ShapeText(b->shape), " in '",
                                                     other.dir(), "': the checkpoints cannot be merged"));
    }
    ++a, ++b;
  }
  return absl::OkStatus();
}

}  // namespace merganser
