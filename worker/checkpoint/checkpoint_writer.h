// Exports weights as a Hugging Face directory.
#ifndef MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_WRITER_H_
#define MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/checkpoint/dtype.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace merganser {

struct CheckpointWriterOptions {
  std::string out_dir;     // its parent folder must exist
  std::string donor_dir;   // gives config.json, generation_config.json and the tokenizer's files
  std::string config_dir;  // gives config.json instead; "": donor_dir
  // Written to config.json (as `dtype` where the donor has that, else as `torch_dtype`); nullopt:
  // as the donor has it.
  std::optional<DType> dtype;
  // A JSON object merged over the donor's config.json (RFC 7386: null removes a field):
  // {"num_hidden_layers": 8}. "": nothing.
  std::string config_patch;
  // A file is begun anew when it would grow beyond this many bytes of tensors (a larger tensor gets
  // a file of its own). One file is called model.safetensors; several get an index.
  int64_t max_shard_bytes = 5'000'000'000;
  bool overwrite = false;  // replace a non-empty out_dir, if it holds a config.json
  // More files, by name: recipe.yaml, mergekit.yaml, README.md. They replace a donor's file of that
  // name.
  std::map<std::string, std::string> text_files;
  std::set<std::string> dropped_files;  // files of the donor that are not copied
};

// Writes checkpoints that appear whole or not at all: everything is collected in out_dir.tmp-PID,
// synced, opened again as a check, and renamed. After any error nothing of it is left and out_dir
// is as it was. Stateless but for its options; one thread at a time.
class CheckpointWriter {
 public:
  // Takes the next bytes of the tensor being written; any portioning.
  using Append = std::function<absl::Status(absl::Span<const std::byte>)>;
  // Gives all bytes of one tensor to `append`. Called once for each tensor, in order, from the
  // calling thread.
  using TensorSource = std::function<absl::Status(const TensorHeader& tensor, const Append& append)>;

  explicit CheckpointWriter(CheckpointWriterOptions options) : options_(std::move(options)) {}

  // Writes `tensors` in their order. No more than what the source hands over at once is held in
  // memory. AlreadyExists: out_dir is not empty and overwrite is false. FailedPrecondition:
  // overwrite, but out_dir is not a checkpoint; or the source gave too few bytes.
  // ResourceExhausted: the disk is full, or known to be too small before anything is written (names
  // file, wanted and free bytes). InvalidArgument: bad options or tensors, or a result that does
  // not open. Errors of `source` come back as they are, with the tensor's name before them.
  absl::Status Write(const std::vector<TensorHeader>& tensors, const TensorSource& source) const;

 private:
  CheckpointWriterOptions options_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_CHECKPOINT_WRITER_H_
