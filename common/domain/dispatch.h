// What passes between a coordinator and its workers, whatever carries it: gRPC (coordinator/rpc, worker/agent) or a call in
// one process (`merganser run`).
#ifndef MERGANSER_COMMON_DOMAIN_DISPATCH_H_
#define MERGANSER_COMMON_DOMAIN_DISPATCH_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/domain/candidate.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"

namespace merganser {

struct AttemptId {
  std::string job_id;
  int64_t candidate = 0;
  int attempt = 0;
  bool operator==(const AttemptId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const AttemptId& id) {
    return H::combine(std::move(h), id.job_id, id.candidate, id.attempt);
  }
};

struct RunningAttempt {
  AttemptId id;
  std::string token;
  std::string phase;  // "load", "materialize", "evaluate", "record"
};

// One candidate under a lease.
struct Assignment {
  AttemptId id;
  std::string token;
  CandidateKind kind = CandidateKind::kSearch;
  Recipe recipe;
  std::vector<std::string> benchmarks;
  std::shared_ptr<const JobSpec> spec;  // immutable; shared by all assignments of the job
  std::string record_key;
};

struct WorkerInfo {
  std::string id;    // one process; survives its reconnects
  std::string name;  // for people: "host/pid"
  std::string version;
  std::string device;
  int slots = 1;                              // candidates evaluated at once
  int64_t memory_bytes = 0;                   // of the device; the host's for a CPU; 0: not known
  std::map<std::string, std::string> labels;  // given by its operator
  bool hub_cache = true;                      // its model roots allow what is in its Hugging Face cache
};

// What a worker tells of one attempt. Exactly one of `record_key` (its record is in the store) and `failure` is set.
struct AttemptReport {
  AttemptId id;
  std::string token;
  std::string worker_id;
  std::string record_key;
  std::string record_sha256;
  std::optional<FailureClass> failure;
  std::string message;
};

enum class Disposition {
  kCommitted,   // this report finished the attempt
  kDuplicate,   // it had been reported already
  kSuperseded,  // the candidate is finished by another attempt, or its job is over or set aside
  kRejected,    // unknown attempt, wrong token, or the record is missing or another
};
absl::string_view ToString(Disposition disposition);

// Coordinator -> worker. Methods only queue: they never block and never call back. Threading: any thread.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  virtual void Assign(const Assignment& assignment) = 0;
  virtual void Cancel(const AttemptId& id) = 0;
  virtual void Drain() = 0;
  // The answer to a heartbeat: these attempts are not (or no longer) the worker's.
  virtual void Acknowledge(const std::vector<RunningAttempt>& unknown) = 0;
  // The coordinator leaves; come back after `retry_after`.
  virtual void GoAway(absl::Duration retry_after) = 0;
};

struct WorkerStatus {
  WorkerInfo info;
  std::string state;       // "idle", "busy", "draining", "quarantined", "lost"
  std::string quarantine;  // why it gets no work; "" unless it is quarantined
  absl::Time quarantine_end_time = absl::InfinitePast();
  std::vector<RunningAttempt> running;
  absl::Time connect_time;  // infinite past, as the next: not yet to this coordinator, which knows of it by its quarantine
  absl::Time last_heartbeat_time;
  int64_t finished = 0;
  int64_t failed = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_DISPATCH_H_
