// A Hugging Face model directory: config.json, generation_config.json and the tensors of its
// safetensors files.
#ifndef MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_H_
#define MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/generation_config.h"
#include "worker/checkpoint/model_config.h"
#include "worker/checkpoint/tensor_view.h"
#include "worker/checkpoint/weight_files.h"

namespace merganser {

// Immutable after Open, so every method may be called from any thread. The weights are mapped, not
// read: opening costs the headers only. Shared by the merge, the engine and whoever else holds
// views into it; views live as long as the Checkpoint. The files must not be truncated while it is
// open (a mapped page behind the end of a file faults).
class Checkpoint {
 public:
  // Opens `dir`, which holds either model.safetensors or the shards that
  // model.safetensors.index.json lists, and checks that every tensor that the architecture needs is
  // there, with the right shape and a floating-point type. NotFound: no such directory, no
  // config.json, no weights, or a shard that the index names is missing. InvalidArgument: a bad
  // config or index, a malformed safetensors file, a tensor that is missing, has another shape, or
  // is in a shard other than the index says. DataLoss: a truncated file. Unimplemented: an
  // unsupported architecture, or weights in pickle form only (the message tells how to convert).
  // PermissionDenied. Messages name file, tensor, and expected and found shape.
  static absl::StatusOr<std::shared_ptr<const Checkpoint>> Open(const std::string& dir);

  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::string& dir() const { return dir_; }
  const ModelConfig& config() const { return config_; }
  const GenerationConfig& generation_config() const { return generation_config_; }

  // See WeightFiles.
  const std::vector<TensorView>& tensors() const { return files_->tensors(); }
  const TensorView* Find(absl::string_view name) const { return files_->Find(name); }
  std::string FileOf(absl::string_view name) const { return files_->FileOf(name); }
  int64_t TotalBytes() const { return files_->TotalBytes(); }
  // Shared with whoever reads the tensors without the config.
  const std::shared_ptr<const WeightFiles>& files() const { return files_; }

  // SHA-256 (hexadecimal) of what the checkpoint is: config.json, generation_config.json, and every
  // tensor's name, type, shape and bytes. Equal for copies of the same files, on any machine and
  // with any sharding. Tensors larger than 256 KiB enter by samples (64 pieces of 1 KiB, evenly
  // spread), so that for a 7B model some 20 MB are read instead of 14 GB; fine-tuned weights differ
  // everywhere, but a change of single numbers may go unseen.
  std::string Fingerprint() const;

  // OK if no floating-point tensor holds a NaN or an infinity; else InvalidArgument naming the
  // file, the first such tensor (in name order), the index of its first such element (row-major)
  // and the value. Reads all bytes, with two threads.
  absl::Status CheckFinite() const;

 private:
  Checkpoint() = default;

  absl::Status LoadConfigs();
  absl::Status CheckArchitecture() const;

  std::string dir_;
  ModelConfig config_;
  GenerationConfig generation_config_;
  std::string generation_json_;
  std::shared_ptr<const WeightFiles> files_;
};

// OK if both have the same tensor names and shapes (element types may differ); else InvalidArgument
// naming both directories, the first differing tensor and both shapes.
absl::Status CheckHomologous(const Checkpoint& base, const Checkpoint& other);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_H_
