#include "common/base/log.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace merganser {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

spdlog::logger& Logger() {
  // Leaked on purpose: threads may still log while statics are destroyed.
  static auto* logger = [] {
    auto* l = new spdlog::logger("merganser", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %v");
    l->flush_on(spdlog::level::info);
    return l;
  }();
  return *logger;
}

const char* Basename(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel GetLogLevel() { return g_level.load(std::memory_order_relaxed); }

namespace log_internal {

Line::~Line() {
  const auto level = level_ == LogLevel::kInfo      ? spdlog::level::info
                     : level_ == LogLevel::kWarning ? spdlog::level::warn
                                                    : spdlog::level::err;
  Logger().log(level, "{} ({}:{})", stream_.str(), Basename(file_), line_);
}

void CheckFailed(const char* condition, const char* file, int line) {
  Logger().critical("check failed: {} ({}:{})", condition, Basename(file), line);
  std::abort();
}

}  // namespace log_internal
}  // namespace merganser
