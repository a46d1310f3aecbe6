// An evaluator in a process of its own: what takes it down (a device fault, the kernel's memory killer) takes one attempt,
// not the worker's session.
#ifndef MERGANSER_WORKER_AGENT_CHILD_EVALUATOR_H_
#define MERGANSER_WORKER_AGENT_CHILD_EVALUATOR_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct ChildEvaluatorOptions {
  // The program, which calls ServeEvaluator on the descriptor that "--evaluator-fd N", appended here, names.
  std::vector<std::string> argv;
  // For a child that was told to stop an evaluation, until it is killed.
  absl::Duration stop_grace = absl::Seconds(30);
  // For the first answer of a new child, which loads libraries and looks for its device.
  absl::Duration start_timeout = absl::Minutes(5);
};

// One child, which lives as long as it is well and keeps the checkpoints loaded. After its death, or an error that may have
// left its device unusable (Internal, Aborted), the next call starts another. The child ends when this process does.
//
// Beyond the evaluator's own errors: Unavailable if another child does not start, Aborted if the child died in the call (the
// message has its signal or exit code), Cancelled if it had to be killed after a stop request.
class ChildEvaluator final : public CandidateEvaluator {
 public:
  // Starts the first child. FailedPrecondition: it ended before it was ready; its log says why. Unavailable: it was killed
  // before (for want of memory, say) or is not ready within start_timeout; that may pass.
  static absl::StatusOr<std::unique_ptr<ChildEvaluator>> Start(const ChildEvaluatorOptions& options);
  // Ends the child.
  ~ChildEvaluator() override;

  absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) override;
  absl::StatusOr<Evaluation> Evaluate(const JobSpec& spec, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override;
  // Passed on while Evaluate runs; what comes before or after is forgotten.
  void Expect(const Recipe& next) override;

  // 0 while there is none.
  pid_t child_pid() const { return pid_; }

 private:
  explicit ChildEvaluator(ChildEvaluatorOptions options) : options_(std::move(options)) {}

  absl::Status Spawn();
  void Kill();
  // How the child ended, in words; it is reaped. `may_pass`, unless null, becomes false if it ended of its own.
  std::string Obituary(bool* may_pass = nullptr);
  // Tells the child what is expected, if there is something new; false if it cannot be reached.
  bool PassExpected();
  // Sends a request and waits for its answer, which is of `wanted` kind; the payload of it.
  absl::StatusOr<std::string> Call(char kind, const std::string& request, char wanted, const PhaseCallback& phase,
                                   std::stop_token stop);

  const ChildEvaluatorOptions options_;
  pid_t pid_ = 0;
  int fd_ = -1;
  absl::Mutex mu_;
  std::optional<Recipe> expected_ ABSL_GUARDED_BY(mu_);  // not yet passed on
};

// The child's side: answers calls on `fd` with `evaluator`, one at a time. When the parent is gone the process ends,
// whatever the evaluator does. Programs that the evaluator starts do not get `fd`. Returns the exit code.
int ServeEvaluator(int fd, CandidateEvaluator* evaluator);

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_CHILD_EVALUATOR_H_
