// What LocalOptions mean on this machine, as far as no torch is asked: ThreadsOf (devices.h) and LocatorOptions
// (source_models.h).
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/transfer/hub_client.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"

namespace merganser {
namespace {

const char* Environment(const char* name) { return std::getenv(name); }

// On a terminal a line that is drawn over, elsewhere a line of the log now and then.
class DownloadProgress {
 public:
  explicit DownloadProgress(std::string repository) : repository_(std::move(repository)) {}
  ~DownloadProgress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }
  void operator()(int64_t done, int64_t total) {
    const absl::Time now = absl::Now();
    if (now - told_ < (terminal_ ? absl::Milliseconds(200) : absl::Seconds(10))) return;
    told_ = now;
    const std::string line = absl::StrFormat("downloading %s: %.1f of %.1f MB", repository_, static_cast<double>(done) / 1e6,
                                             static_cast<double>(total) / 1e6);
    if (!terminal_) {
      MG_LOG(INFO) << line;
      return;
    }
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    drawn_ = true;
  }

 private:
  const std::string repository_;
  const bool terminal_ = isatty(2) != 0;
  absl::Time told_ = absl::InfinitePast();
  bool drawn_ = false;
};

}  // namespace

int ThreadsOf(const LocalOptions& options) {
  if (options.threads > 0) return options.threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

ModelLocatorOptions LocatorOptions(const std::vector<std::string>& model_roots) {
  ModelLocatorOptions options;
  options.model_roots = model_roots;
  options.hub_cache = HubCacheFolder(Environment);
  options.download = [hub = HubOptionsFrom(Environment, options.hub_cache)](const std::string& repository,
                                                                            const std::string& revision) {
    MG_LOG(INFO) << "downloading from the Hub model=" << repository << " revision=" << revision
                 << " endpoint=" << hub.endpoint;
    DownloadProgress progress(repository);
    return HubClient(hub).Download(repository, revision, std::ref(progress));
  };
  return options;
}

}  // namespace merganser
