// Exit codes of the command line; scripts rely on them.
#ifndef MERGANSER_CLIENT_EXIT_CODE_H_
#define MERGANSER_CLIENT_EXIT_CODE_H_

#include "absl/status/status.h"

namespace merganser::exit_code {

inline constexpr int kOk = 0;
inline constexpr int kJobFailed = 1;  // also: this machine's trouble (disk full, damaged data, a bug)
inline constexpr int kUsage = 2;      // flags, job file or what they name cannot work; never retry
inline constexpr int kNotFound = 3;
inline constexpr int kTimeout = 4;
inline constexpr int kPermission = 5;
inline constexpr int kUnavailable = 6;  // coordinator or store away; retry

// By the status's code alone.
int FromStatus(const absl::Status& status);

// As shells report a process that `signal` ended: 128 + signal.
inline int FromSignal(int signal) { return 128 + signal; }

}  // namespace merganser::exit_code

#endif  // MERGANSER_CLIENT_EXIT_CODE_H_
