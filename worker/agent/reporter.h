// The second half of an attempt: its record goes to the store, then its report to the coordinator.
#ifndef MERGANSER_WORKER_AGENT_REPORTER_H_
#define MERGANSER_WORKER_AGENT_REPORTER_H_

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/domain/dispatch.h"
#include "common/rpc/backoff.h"
#include "common/store/results_store.h"
#include "worker/agent/agent_observer.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/spool.h"

namespace merganser {

struct ReporterOptions {
  std::string spool_dir;                       // "" keeps unstored results in memory
  int64_t spool_bytes_max = int64_t{4} << 30;  // of unstored results on disk
  absl::Duration backoff_first = absl::Milliseconds(500);
  absl::Duration backoff_max = absl::Seconds(30);
};

// A result whose record the store does not take (Unavailable, full) is synced to the spool and tried again; the report
// follows the record, never the other way round. Results of an earlier process in the spool are sent first. One thread of
// its own, so the next candidate evaluates meanwhile. Thread-safe.
class Reporter {
 public:
  // Unstored results held in memory (up to limits::kRecordBytesMax each) before evaluation waits.
  static constexpr int kUnstoredMax = 4;

  // `done` is called, on the reporter's thread, when an attempt is settled. All pointers outlive it; observer may be null.
  Reporter(RecordStore* store, CoordinatorLink* link, AgentObserver* observer, const ReporterOptions& options,
           std::function<void(const AttemptId&)> done);
  // Stop().
  ~Reporter();

  // `record`: the bytes of report.record_key; empty for a failure. Never blocks.
  void Add(AttemptReport report, std::string record);
  // Waits until a further result has room; false once stopped.
  bool WaitForRoom();
  // Ends the thread; a call that runs is waited for, unstored results go to the spool. Idempotent.
  void Stop();

 private:
  struct Item {
    AttemptReport report;
    std::string record;  // empty once it is stored or spooled
    bool stored = false;
    bool spooled = false;
    absl::Duration added;  // monotonic
    absl::Duration due;    // monotonic
    Backoff backoff;
  };

  void Run();
  void LoadSpool();
  Item MakeItem(AttemptReport report, std::string record);
  // True: settled. False: try again later.
  bool Process(Item& item);
  bool StoreRecord(Item& item);
  void SpoolRecord(Item& item);
  // The first item that is due; end() if none is, with the earliest time in `next`.
  std::list<Item>::iterator FindDue(absl::Duration now, absl::Duration* next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  RecordStore* const store_;
  CoordinatorLink* const link_;
  AgentObserver* const observer_;
  const ReporterOptions options_;
  const std::function<void(const AttemptId&)> done_;

  Spool spool_;  // the thread's own

  absl::Mutex mu_;
  std::list<Item> items_ ABSL_GUARDED_BY(mu_);
  int unstored_ ABSL_GUARDED_BY(mu_) = 0;  // items with a record in memory, the one in process included
  bool changed_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_REPORTER_H_
