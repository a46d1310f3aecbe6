// Runs untrusted Python programs (those that a model wrote), each in a process of its own that can do little harm.
#ifndef MERGANSER_WORKER_COMMAND_SANDBOX_H_
#define MERGANSER_WORKER_COMMAND_SANDBOX_H_

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace merganser {

struct SandboxLimits {
  absl::Duration timeout = absl::Seconds(10);  // of the clock on the wall; processor time has the same bound, rounded up
  int64_t memory_bytes = int64_t{1} << 30;     // address space
  int64_t file_bytes = int64_t{16} << 20;      // of any one file
};

struct SandboxOutcome {
  bool passed = false;  // the program ran to its end, without an exception and without leaving early
  std::string why;      // if not: the last line of its traceback, "took longer than 10s", ...
};

// A program gets python3 of PATH (isolated: -I), an empty folder of its own that is removed afterwards, no standard input,
// an output that nobody reads, and an environment without ours. Bounds by setrlimit: processor time, address space, file
// size, 64 open files, no core file, and no process or thread besides its own. No network: a network namespace of its own.
// No writing outside its folder: Landlock. Where we are root it becomes `nobody` first. It may read what that user may read.
// Immutable, thread-safe.
class Sandbox {
 public:
  // Looks what this machine permits. NotFound: no python3; FailedPrecondition: it does not run.
  static absl::StatusOr<Sandbox> Create();

  // What of the above is not permitted here, "network: ...", "files: ..."; empty: everything is.
  const std::vector<std::string>& gaps() const { return gaps_; }

  // Runs the source text. Cancelled: `stop` was requested; ResourceExhausted: no process or folder could be made.
  absl::StatusOr<SandboxOutcome> Run(const std::string& program, const SandboxLimits& limits, std::stop_token stop) const;

 private:
  std::string python_;
  std::vector<std::string> gaps_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_COMMAND_SANDBOX_H_
