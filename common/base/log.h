// MG_LOG(INFO|WARNING|ERROR) << "lease expired job=" << id;   One line per event, key=value, to stderr.
// MG_CHECK(condition) aborts with the condition's text: only for our own broken invariants, never for input, files or peers.
//
// Threading: any thread; lines do not interleave. The level is process-wide (SetLogLevel), WARNING by default in the
// command-line client and INFO in the services.
#ifndef MERGANSER_COMMON_BASE_LOG_H_
#define MERGANSER_COMMON_BASE_LOG_H_

#include <sstream>

#include "absl/strings/string_view.h"

namespace merganser {

enum class LogLevel { kInfo = 0, kWarning = 1, kError = 2 };

// Lines below `level` are dropped.
void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();

namespace log_internal {
class Line {
 public:
  Line(LogLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  ~Line();
  std::ostream& stream() { return stream_; }

 private:
  LogLevel level_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
inline constexpr LogLevel INFO = LogLevel::kInfo;
inline constexpr LogLevel WARNING = LogLevel::kWarning;
inline constexpr LogLevel ERROR = LogLevel::kError;
}  // namespace log_internal
}  // namespace merganser

#define MG_LOG(severity)                                                  \
  if (::merganser::log_internal::severity < ::merganser::GetLogLevel()) { \
  } else                                                                  \
    ::merganser::log_internal::Line(::merganser::log_internal::severity, __FILE__, __LINE__).stream()

#define MG_CHECK(condition) ((condition) ? (void)0 : ::merganser::log_internal::CheckFailed(#condition, __FILE__, __LINE__))

#endif  // MERGANSER_COMMON_BASE_LOG_H_
