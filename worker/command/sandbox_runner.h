// The trusted half of a sandboxed process, in Python: it gives up what it does not need, then runs program.py.
#ifndef MERGANSER_WORKER_COMMAND_SANDBOX_RUNNER_H_
#define MERGANSER_WORKER_COMMAND_SANDBOX_RUNNER_H_

namespace merganser {

// For `python3 -I -c`, with one argument, a JSON object {"cpu": seconds, "memory": bytes, "file": bytes, "token": text};
// runs in the program's folder. Writes the token to standard output if program.py came to its end. With the token "" nothing
// is run: it writes a JSON list of what could not be given up.
extern const char kSandboxRunner[];

}  // namespace merganser

#endif  // MERGANSER_WORKER_COMMAND_SANDBOX_RUNNER_H_
