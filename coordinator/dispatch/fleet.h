// The workers that are connected, or were until recently.
#ifndef MERGANSER_COORDINATOR_DISPATCH_FLEET_H_
#define MERGANSER_COORDINATOR_DISPATCH_FLEET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
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
    // Attempts that it was told to stop and still lists as being evaluated: token -> since when (monotonic).
    std::map<std::string, absl::Duration> stopping;
    std::string loaded_job;  // of its last assignment: whose checkpoints it holds
    std::string quarantine;  // why it gets no work; "" unless quarantined
    absl::Time quarantine_end = absl::InfinitePast();
    int strikes = 0;  // quarantines since its last success
    absl::Time connect_time;
    absl::Time last_heartbeat_time;
    absl::Duration last_heard;  // monotonic
    int64_t finished = 0;
    int64_t failed = 0;

    bool leaving() const { return drained || draining; }
  };

  // Its first quarantine lasts so long; each further one without a success between twice as long, up to the longest.
  static constexpr absl::Duration kQuarantine = absl::Minutes(10);
  static constexpr absl::Duration kQuarantineMax = absl::Hours(2);
  // Workers whose session ended are listed as "lost" this long.
  static constexpr absl::Duration kKeepLost = absl::Minutes(10);

  // Quarantined workers that SaveQuarantines names at most: those whose time is over last.
  static constexpr size_t kQuarantinesMax = 4096;

  // The workers that are quarantined or on probation after it, as text that RestoreQuarantines reads.
  std::string SaveQuarantines() const;
  // What an earlier leader saved: those workers are listed as "lost" until they connect. DataLoss: it is damaged, or of a
  // newer version; nothing is restored.
  absl::Status RestoreQuarantines(absl::string_view saved, absl::Time now, absl::Duration monotonic);
  // A session of `info.id` opens; returns the link of the one it replaces, or null. What is known of the worker stays.
  std::shared_ptr<WorkerLink> Connect(const WorkerInfo& info, std::shared_ptr<WorkerLink> link, absl::Time now,
                                      absl::Duration monotonic);
  // nullptr if there is none.
  Worker* Find(const std::string& id);
  void Remove(const std::string& id) { workers_.erase(id); }
  // Workers that were lost kKeepLost ago, but for those that are quarantined.
  void ForgetLost(absl::Duration monotonic);
  void Clear() { workers_.clear(); }
  // The id of the worker of that id, or of the only one of that name: of the connected ones if any is. NotFound;
  // InvalidArgument naming the ids if there are several.
  absl::StatusOr<std::string> IdOf(const std::string& id_or_name) const;
  std::map<std::string, Worker>& workers() { return workers_; }
  const std::map<std::string, Worker>& workers() const { return workers_; }

  // By the coordinator's own judgement.
  void Quarantine(Worker& worker, const std::string& why, absl::Time now);
  // Ends quarantines whose time has come; the names of those workers.
  std::vector<std::string> EndQuarantines(absl::Time now);

  // Workers that take assignments: connected, heard of within `silence_max`, not leaving, not quarantined. A place that an
  // attempt takes which is being stopped is not free.
  std::vector<DispatchWorker> Accepting(const LeaseTable& leases, absl::Duration monotonic, absl::Duration silence_max,
                                        int prefetch) const;
  // In order of id.
  std::vector<WorkerStatus> Statuses(const LeaseTable& leases) const;

 private:
  std::map<std::string, Worker> workers_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_FLEET_H_
