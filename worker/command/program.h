// A user's program as a child process: bounded in time and output, and gone with all its children afterwards.
#ifndef MERGANSER_WORKER_COMMAND_PROGRAM_H_
#define MERGANSER_WORKER_COMMAND_PROGRAM_H_

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace merganser {

struct Program {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH unless it holds a '/'
  std::string directory;                   // it runs in; "": ours
  std::map<std::string, std::string> env;  // over our own environment, or instead of it
  bool inherit_env = true;
  absl::Duration timeout = absl::Hours(1);
  int64_t output_bytes_max = 1 << 20;  // of standard output
};

struct ProgramOutcome {
  std::string output;      // standard output
  std::string error_tail;  // the last 4 KiB of standard error
  double seconds = 0;
};

// The file that argv[0] means. NotFound naming it; PermissionDenied: it cannot be executed.
absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& directory);

// Runs it with nothing on standard input and no other file of ours open, in a process group of its own, and waits. At the
// end, however it comes, the whole group is killed: SIGTERM first where it still runs, SIGKILL three seconds later. Errors
// end with the tail of standard error:
//   InvalidArgument   the program ended with a status other than 0, or by a signal; it wrote more than output_bytes_max
//   Unavailable       it ended with status 75 (EX_TEMPFAIL of sysexits.h): another try may go better
//   DeadlineExceeded  the timeout
//   Cancelled         `stop` was requested
//   NotFound, PermissionDenied, ResourceExhausted  it could not be started
absl::StatusOr<ProgramOutcome> RunProgram(const Program& program, std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_COMMAND_PROGRAM_H_
