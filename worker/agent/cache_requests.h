// How often a worker's checkpoint cache had what a job names.
#ifndef MERGANSER_WORKER_AGENT_CACHE_REQUESTS_H_
#define MERGANSER_WORKER_AGENT_CACHE_REQUESTS_H_

#include <cstdint>

namespace merganser {

struct CacheRequests {
  int64_t hits = 0;
  int64_t misses = 0;  // fetched, or had nowhere
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_CACHE_REQUESTS_H_
