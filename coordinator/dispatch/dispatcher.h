// Which queued candidate goes to which worker.
#ifndef MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_
#define MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace merganser {

// A worker that takes assignments now.
struct DispatchWorker {
  std::string id;
  int slots = 1;     // candidates it evaluates at once
  int capacity = 1;  // slots + prefetch
  int assigned = 0;  // attempts it holds
  std::string job;   // whose checkpoints it has loaded; "" for none
  int64_t memory_bytes = 0;
};

struct DispatchCandidate {
  int64_t number = 0;
  std::string avoid;         // the worker that just lost or gave back this candidate; "" for none
  int64_t above_memory = 0;  // it ran out of memory where there was so much
};

struct DispatchJob {
  std::string id;
  std::vector<DispatchCandidate> queued;  // first in, first out
  int priority = 0;
  absl::Duration waited;                   // since it was last served, with candidates in the queue
  double share = 1;                        // > 0
  int running = 0;                         // attempts that workers hold
  absl::flat_hash_set<std::string> unfit;  // workers that may not take it
};

struct DispatchChoice {
  std::string job_id;
  int64_t candidate = 0;
  std::string worker;
  bool operator==(const DispatchChoice&) const = default;
};

// Jobs: the highest priority first, where each kAgeing of waiting adds 1, so that none starves; among equal ones the job
// that runs least for its share, then in turns. Where there are fewer slots than such jobs, a worker stays with the job
// whose checkpoints it has loaded until another has waited for kAgeing, because loading costs more than it gives.
//
// Within a job the first in the queue goes first. The worker with the most idle slots gets it; of equal ones that which has
// the job's checkpoints loaded, then one that has nothing loaded, then one that would have to drop another job's (ties: the
// smaller id). Prefetch places are used only when no slot is idle. A candidate waits rather than return to the worker it is
// to avoid or to one with too little memory, unless there is no other that fits.
//
// Not thread-safe; remembers only whose turn it is.
class Dispatcher {
 public:
  static constexpr absl::Duration kAgeing = absl::Minutes(1);

  // `jobs` in a stable order.
  std::vector<DispatchChoice> Plan(absl::Span<const DispatchJob> jobs, std::vector<DispatchWorker> workers);

 private:
  std::string last_served_;  // job id
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_
