// What LocalOptions mean on this machine, as far as no torch is asked: ThreadsOf (devices.h) and LocatorOptions
// (source_models.h).
#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"

namespace merganser {

int ThreadsOf(const LocalOptions& options) {
  if (options.threads > 0) return options.threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

ModelLocatorOptions LocatorOptions(const std::vector<std::string>& model_roots) {
  ModelLocatorOptions options;
  options.model_roots = model_roots;
  options.hub_cache = HubCacheFolder([](const char* name) -> const char* { return std::getenv(name); });
  return options;
}

}  // namespace merganser
