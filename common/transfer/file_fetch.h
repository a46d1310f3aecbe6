// One file from a source into a folder, whole or not at all, going on where an earlier try broke off.
#ifndef MERGANSER_COMMON_TRANSFER_FILE_FETCH_H_
#define MERGANSER_COMMON_TRANSFER_FILE_FETCH_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/transfer/checkpoint_source.h"

namespace merganser {

struct FetchOptions {
  int tries = 5;                              // each from where the last one broke off
  absl::Duration backoff = absl::Seconds(1);  // doubled after each
  int64_t progress = int64_t{16} << 20;       // a try that brought so many bytes is the first one again
  int64_t bytes_max = int64_t{200} << 30;     // of a file whose size the source does not know
};

// Writes DIR/NAME.part and renames it once it is whole, synced and, where file.sha256 or the source tells the SHA-256, the
// right one. Of a damaged one the pieces that are wrong are fetched again where the source tells their sums, else all of it,
// and where its bytes were wrong is logged. A file that is there
// already is kept if it has the right size and file.sha256, or no SHA-256 is told. `at` is told how much of it is there; the
// name was checked before. Returns its size. DataLoss (names file, source and both sums): it was damaged, or longer than the
// source said, in every try. Errors of the source and of writing.
absl::StatusOr<int64_t> FetchFile(CheckpointSource* source, const CheckpointSource::File& file, const std::string& dir,
                                  const FetchOptions& options, const std::function<void(int64_t)>& at, std::stop_token stop);

// "3000-3999 of 20000", the first and the last byte in which two files differ, counted from 0; "" if in none.
absl::StatusOr<std::string> DifferingBytes(const std::string& one, const std::string& other);

// "NAME.part".
std::string PartName(absl::string_view name);

// fsync of a folder: its names last.
absl::Status SyncFolder(const std::string& path);

// Cancelled when stopped before.
absl::Status SleepUnlessStopped(absl::Duration time, const std::stop_token& stop);

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_FILE_FETCH_H_
