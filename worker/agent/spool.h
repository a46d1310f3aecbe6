// Results that could not be stored yet, as files: one per record, synced, sent again after a restart.
#ifndef MERGANSER_WORKER_AGENT_SPOOL_H_
#define MERGANSER_WORKER_AGENT_SPOOL_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// Not thread-safe: the reporter's thread owns it. Several processes may share a folder: sending a result twice is harmless.
class Spool {
 public:
  // `directory` is made if need be; "" means no spool (Put refuses, everything else is empty).
  Spool(std::string directory, int64_t bytes_max);

  // Whether a file can be written now; makes the folder. OK where there is no spool.
  absl::Status Probe() const;
  // Durable when OK. FailedPrecondition: no spool; ResourceExhausted: `bytes_max` is reached or the disk is full.
  absl::Status Put(const std::string& record_key, absl::string_view record);
  absl::StatusOr<std::string> Get(const std::string& record_key) const;
  // Nothing happens if it is not there.
  void Remove(const std::string& record_key);

  // The records that an earlier process left.
  std::vector<std::string> LoadAll();
  int64_t count() const { return static_cast<int64_t>(sizes_.size()); }
  int64_t bytes() const { return bytes_; }

 private:
  std::string Path(const std::string& record_key) const;

  std::string directory_;
  int64_t bytes_max_;
  std::map<std::string, int64_t> sizes_;  // by path
  int64_t bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_SPOOL_H_
