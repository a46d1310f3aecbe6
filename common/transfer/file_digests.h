// SHA-256 of whole files, summed once each.
#ifndef MERGANSER_COMMON_TRANSFER_FILE_DIGESTS_H_
#define MERGANSER_COMMON_TRANSFER_FILE_DIGESTS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file_stamp.h"

namespace merganser {

// Of a file's bytes, as 64 hexadecimal digits, read in pieces. Cancelled as soon as `ended` (may be null) says so; errors of
// opening and reading.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path, const std::function<bool()>& ended = nullptr);

// Thread-safe.
class FileDigests {
 public:
  static constexpr size_t kFilesMax = 10'000;  // remembered; then it begins anew

  // Of the file: from memory as long as its stamp is the one of when it was summed. Whoever asks meanwhile waits for that
  // sum. As Sha256OfFile; Aborted: the file was written to while it was summed.
  absl::StatusOr<std::string> Of(const std::string& path, const std::function<bool()>& ended = nullptr);
  // What the caller has summed itself, of a file that had this stamp before and after.
  void Learn(const std::string& path, const FileStamp& stamp, const std::string& sha256);

 private:
  struct Entry {
    absl::Mutex mu;  // held while it is summed
    FileStamp stamp ABSL_GUARDED_BY(mu);
    std::string sha256 ABSL_GUARDED_BY(mu);
  };
  std::shared_ptr<Entry> At(const std::string& path);

  absl::Mutex mu_;
  std::map<std::string, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_FILE_DIGESTS_H_
