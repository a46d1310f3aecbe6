// Which queued candidate goes to which worker.
#ifndef MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_
#define MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace merganser {

// A worker that takes assignments now.
struct DispatchWorker {
  std::string id;
  int slots = 1;     // candidates it evaluates at once
  int capacity = 1;  // slots + prefetch
  int assigned = 0;  // attempts it holds
};

struct DispatchCandidate {
  int64_t number = 0;
  std::string avoid;  // the worker that just lost or gave back this candidate; "" for none
};

struct DispatchJob {
  std::string id;
  std::vector<DispatchCandidate> queued;  // first in, first out
};

struct DispatchChoice {
  std::string job_id;
  int64_t candidate = 0;
  std::string worker;
  bool operator==(const DispatchChoice&) const = default;
};

// Jobs take turns, one candidate each; within a job the first in the queue goes first. The worker with the most idle slots
// gets it (ties: the smaller id), and prefetch places are used only when no slot is idle. A candidate waits rather than
// return to the worker it is to avoid, unless that is the only one. Not thread-safe; remembers only whose turn it is.
class Dispatcher {
 public:
  // `jobs` in a stable order.
  std::vector<DispatchChoice> Plan(absl::Span<const DispatchJob> jobs,
                                   std::vector<DispatchWorker> workers);

 private:
  std::string last_served_;  // job id
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_DISPATCHER_H_
