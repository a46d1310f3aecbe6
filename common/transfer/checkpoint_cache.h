// Checkpoints that were fetched, in a folder of bounded size that processes share.
//
//   DIR/CONTENT/          a whole checkpoint; its time is that of its last use
//   DIR/CONTENT.partial/  one that is being fetched: whole files, and NAME.part of the one that broke off
//   DIR/CONTENT.lock      held shared by who uses the checkpoint, alone by who fetches or removes it
#ifndef MERGANSER_COMMON_TRANSFER_CHECKPOINT_CACHE_H_
#define MERGANSER_COMMON_TRANSFER_CHECKPOINT_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/transfer/checkpoint_source.h"
#include "common/transfer/file_fetch.h"

namespace merganser {

// A checkpoint in the cache, which stays there as long as this lives.
class CachedCheckpoint {
 public:
  CachedCheckpoint(std::string dir, int lock) : dir_(std::move(dir)), lock_(lock) {}
  ~CachedCheckpoint();
  CachedCheckpoint(const CachedCheckpoint&) = delete;
  CachedCheckpoint& operator=(const CachedCheckpoint&) = delete;
  const std::string& dir() const { return dir_; }

 private:
  const std::string dir_;
  const int lock_;
};

struct CheckpointCacheOptions {
  std::string dir;
  int64_t bytes_max = int64_t{200} << 30;  // of all checkpoints; the least recently used ones make room
  FetchOptions fetch;
};

// Any thread; several processes may share a folder.
class CheckpointCache {
 public:
  explicit CheckpointCache(CheckpointCacheOptions options) : options_(std::move(options)) {}

  const std::string& dir() const { return options_.dir; }

  // NotFound.
  absl::StatusOr<std::shared_ptr<CachedCheckpoint>> Find(const std::string& content);

  using Progress = std::function<void(int64_t done_bytes, int64_t total_bytes)>;  // total 0: not known

  // The checkpoint of `content`, fetched from the first of `sources` that has it. Only files that belong to a checkpoint are
  // taken (IsCheckpointFileName); each is written beside its name and renamed when it is whole and the right one; the folder
  // gets its name when its content is `content`. The content holds every byte of all files but the weights: of those the
  // SHA-256 of the whole file is asked of who gives it and then of the other sources, and only if none knows it the
  // content's samples must do. What broke off, here or in a process that was killed, goes on where it was. Waits while
  // another process fetches the same.
  //
  // NotFound: no source has it. DataLoss: what came is another checkpoint, or damaged again and again (it is removed).
  // InvalidArgument: a file's name is not one of a checkpoint. ResourceExhausted: it does not fit into bytes_max, or the
  // disk is full. Unavailable: every source broke off. Cancelled.
  absl::StatusOr<std::shared_ptr<CachedCheckpoint>> Fetch(const std::string& content,
                                                          const std::vector<CheckpointSource*>& sources,
                                                          const Progress& progress, std::stop_token stop);

 private:
  absl::Status FetchFrom(CheckpointSource* source, const std::vector<CheckpointSource*>& sources, const std::string& partial,
                         const std::string& content, const Progress& progress, std::stop_token stop);
  // Removes what was not used for longest until `bytes` more fit, but for `content`.
  absl::Status MakeRoom(int64_t bytes, const std::string& content);

  const CheckpointCacheOptions options_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_CHECKPOINT_CACHE_H_
