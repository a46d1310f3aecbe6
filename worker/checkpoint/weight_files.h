// The tensors of a Hugging Face model directory, of whatever architecture.
#ifndef MERGANSER_WORKER_CHECKPOINT_WEIGHT_FILES_H_
#define MERGANSER_WORKER_CHECKPOINT_WEIGHT_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/safetensors_reader.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {

// Immutable after Open, so every method may be called from any thread. The files are mapped, not
// read: opening costs the headers only. Views live as long as the WeightFiles. The files must not be
// truncated while it is open (a mapped page behind the end of a file faults).
class WeightFiles {
 public:
  // Opens `dir`, which holds either `stem`.safetensors or the shards that
  // `stem`.safetensors.index.json lists. NotFound: no such directory, no weights, or a shard that the
  // index names is missing. InvalidArgument: a bad index, a malformed safetensors file, or a tensor in
  // a shard other than the index says. DataLoss: a truncated file. Unimplemented: weights in pickle or
  // GGUF form only (the message tells how to convert). PermissionDenied. Messages name the file.
  static absl::StatusOr<std::shared_ptr<const WeightFiles>> Open(const std::string& dir, const std::string& stem = "model");

  WeightFiles(const WeightFiles&) = delete;
  WeightFiles& operator=(const WeightFiles&) = delete;

  const std::string& dir() const { return dir_; }

  // All tensors, in the order of their names (byte by byte). Tables that old checkpoints carry
  // although they follow from the config ("*.rotary_emb.inv_freq") are left out.
  const std::vector<TensorView>& tensors() const { return tensors_; }

  // The tensor of that name, or nullptr. A language model within a VLM answers to a plain model's names, too.
  const TensorView* Find(absl::string_view name) const;

  // Path of the safetensors file that holds the tensor; "" if there is none of that name.
  std::string FileOf(absl::string_view name) const;

  // Bytes of all tensors together.
  int64_t TotalBytes() const { return total_bytes_; }

 private:
  WeightFiles() = default;

  absl::Status Load(const std::string& stem);
  absl::Status LoadShards(const std::string& index_path);
  void AddFile(std::unique_ptr<const SafetensorsReader> file);

  std::string dir_;
  std::vector<std::unique_ptr<const SafetensorsReader>> files_;
  std::vector<TensorView> tensors_;                 // sorted by name
  std::vector<int> file_of_;                        // for each of tensors_, its index in files_
  absl::flat_hash_map<std::string, int> index_of_;  // name to index in tensors_
  int64_t total_bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_WEIGHT_FILES_H_
