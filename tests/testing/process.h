// Child processes for tests of the real binaries: start, wait with a deadline, kill as the test likes. Deadlines are bounds
// for hangs: no good run comes near them, on a machine that is busy with eight other things neither.
#ifndef MERGANSER_TESTS_TESTING_PROCESS_H_
#define MERGANSER_TESTS_TESTING_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace merganser::testing_support {

// A child whose stdout and stderr go to files. Killed (SIGKILL) and reaped by the destructor. Not thread-safe.
class Process {
 public:
  // Starts argv[0] (a path) at once. `name` names the output files in `log_dir`; `env` is added to our own.
  Process(const std::string& name, const std::vector<std::string>& argv, const std::string& log_dir,
          const std::map<std::string, std::string>& env = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // True if it still runs.
  bool Running();
  // Exit code, 128 + signal if it was killed, -1 if it still runs after `timeout`.
  int Wait(absl::Duration timeout);
  // What it has written so far.
  std::string Stdout() const;
  std::string Stderr() const;

 private:
  const std::string log_prefix_;
  pid_t pid_ = -1;
  int exit_code_ = -1;
};

// Runs to the end (or to the timeout) and gives {exit code, stdout, stderr}.
struct Finished {
  int exit_code;
  std::string out, err;
};
Finished RunToEnd(const std::vector<std::string>& argv, const std::string& log_dir,
                  absl::Duration timeout = absl::Minutes(5), const std::map<std::string, std::string>& env = {});

// Polls until `condition` holds; false after `timeout`.
bool Eventually(const std::function<bool()>& condition, absl::Duration timeout = absl::Minutes(2));

// A folder of its own under the test's temporary folder, empty.
std::string FreshDir(const std::string& name);

}  // namespace merganser::testing_support

#endif  // MERGANSER_TESTS_TESTING_PROCESS_H_
