// What of a Hugging Face directory makes a checkpoint, and what tells one checkpoint from another wherever it lies.
#ifndef MERGANSER_COMMON_TRANSFER_CHECKPOINT_FILES_H_
#define MERGANSER_COMMON_TRANSFER_CHECKPOINT_FILES_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file_stamp.h"
#include "common/domain/recipe.h"

namespace merganser {

// True for names of data that a checkpoint needs: weights in safetensors form, their index, configs, tokenizers. Never a
// path, a pickle or a program.
bool IsCheckpointFileName(absl::string_view name);

bool IsWeightsFileName(absl::string_view name);  // the rest of their bytes is not in CheckpointContent

// The names above that are not weights, to ask a server for that cannot list a folder.
const std::vector<std::string>& CheckpointSideFiles();

// Those of `names` that are such files and needed, in order: where there are weights whose name begins with "model", no
// others (some models come in a second form beside it).
std::vector<std::string> NeededFiles(const std::vector<std::string>& names);

struct CheckpointFile {
  std::string name;
  int64_t size = 0;
  bool operator==(const CheckpointFile&) const = default;
};

// The needed files of `dir`; links are followed. NotFound: no such directory, or no config.json or
// no weights in it.
absl::StatusOr<std::vector<CheckpointFile>> ListCheckpointFiles(const std::string& dir);

// The checkpoint's content as 64 hexadecimal digits: SHA-256 over the names, sizes and bytes of its files; of weights, the
// header (names, types and shapes of tensors) and 64 blocks of 4 KiB spread over each file, so that it takes milliseconds,
// and every fine-tune has another. Copies have the same. Errors as ListCheckpointFiles, and of reading.
absl::StatusOr<std::string> CheckpointContent(const std::string& dir);

// A model's path with its content after it, "models/ja@sha256:HEX", as a job's record holds it. Both parts; content "" where
// the path has none, or something else than 64 hexadecimal digits there.
std::pair<std::string, std::string> SplitContent(absl::string_view path);
std::string WithContent(absl::string_view path, absl::string_view content);
// Adds to each model's path its content by `contents` (from model name), unless the path names one, or a Hub id with its
// whole commit ("org/name@" and 40 hexadecimal digits), which says as much, and whose copies may lack files that nobody
// reads.
void HoldToContents(const std::map<std::string, std::string>& contents, std::vector<ModelRef>* models);

// Finds checkpoints by content in folders, and remembers what it has seen by size and time of its files. Thread-safe.
class ContentIndex {
 public:
  static constexpr int kDepthMax = 4;          // folders within folders
  static constexpr int kFoldersMax = 100'000;  // that one search looks at

  // Of a directory; errors as CheckpointContent.
  absl::StatusOr<std::string> Of(const std::string& dir);
  // The first directory below `roots` (in order of name) that holds this content; NotFound.
  absl::StatusOr<std::string> Find(absl::string_view content, const std::vector<std::string>& roots);

 private:
  struct Seen {
    std::map<std::string, FileStamp> stamps;  // by name
    std::string content;
  };
  absl::Mutex mu_;
  std::map<std::string, Seen> seen_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_CHECKPOINT_FILES_H_
