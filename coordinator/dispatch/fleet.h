// The workers that are, or were just now, connected.
#ifndef MERGANSER_COORDINATOR_DISPATCH_FLEET_H_
#define MERGANSER_COORDINATOR_DISPATCH_FLEET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/domain/dispatch.h"
#include "coordinator/dispatch/dispatcher.h"
#include "coordinator/dispatch/lease_table.h"

namespace merganser {

// Not thread-safe; only the job loop uses it.
class Fleet {
 public:
  struct Worker {
    WorkerInfo info;
    std::shared_ptr<WorkerLink> link;  // shared with the session; null once it ended
    bool drained = false;              // told to drain by an operator
    bool draining = false;             // says so itself
    // Gave a candidate back: gets none before its next heartbeat, so that a worker that declines everything cannot fill
    // the log.
    bool declined = false;
    std::vector<RunningAttempt> running;  // as last told
    absl::Time connect_time;
    absl::Time last_heartbeat_time;
    absl::Duration last_heard;  // monotonic
    int64_t finished = 0;
    int64_t failed = 0;

    bool leaving() const { return drained || draining; }
  };

  // Workers whose session ended are listed as "lost" this long.
  static constexpr absl::Duration kKeepLost = absl::Minutes(10);

  // A session of `info.id` opens; returns the link of the one it replaces, or null. What is known of the worker stays.
  std::shared_ptr<WorkerLink> Connect(const WorkerInfo& info, std::shared_ptr<WorkerLink> link,
                                      absl::Time now, absl::Duration monotonic);
  // nullptr if there is none.
  Worker* Find(const std::string& id);
  void Remove(const std::string& id) { workers_.erase(id); }
  void ForgetLost(absl::Duration monotonic);
  void Clear() { workers_.clear(); }
  std::map<std::string, Worker>& workers() { return workers_; }

  // Workers that take assignments: connected, heard of within `silence_max`, not leaving.
  std::vector<DispatchWorker> Accepting(const LeaseTable& leases, absl::Duration monotonic,
                                        absl::Duration silence_max, int prefetch) const;
  // In order of id.
  std::vector<WorkerStatus> Statuses(const LeaseTable& leases) const;

 private:
  std::map<std::string, Worker> workers_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_FLEET_H_
