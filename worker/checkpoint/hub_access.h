// Whether Hub ids can be resolved within the model roots.
#ifndef MERGANSER_WORKER_CHECKPOINT_HUB_ACCESS_H_
#define MERGANSER_WORKER_CHECKPOINT_HUB_ACCESS_H_

#include "worker/checkpoint/model_locator.h"

namespace merganser {

// What is in options.hub_cache may be loaded: there are no model_roots, or one of them holds the cache or lies in it.
bool AllowsHubCache(const ModelLocatorOptions& options);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_HUB_ACCESS_H_
