// Worker -> coordinator, whatever carries it: gRPC (session_client.h) or a call in one process (in_process_link.h).
#ifndef MERGANSER_WORKER_AGENT_COORDINATOR_LINK_H_
#define MERGANSER_WORKER_AGENT_COORDINATOR_LINK_H_

#include "absl/status/statusor.h"
#include "common/domain/dispatch.h"

namespace merganser {

// Threading: any thread.
class CoordinatorLink {
 public:
  virtual ~CoordinatorLink() = default;
  // Blocks until the coordinator has stored the outcome. InvalidArgument and NotFound are final; after any other error the
  // agent reports again (reports are idempotent).
  virtual absl::StatusOr<Disposition> Report(const AttemptReport& report) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_COORDINATOR_LINK_H_
