#include "coordinator/dispatch/requirements.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace merganser {
namespace {

std::string Gib(int64_t bytes) { return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30)); }

// "cuda:0" is a "cuda".
bool IsDevice(const std::string& device, const std::string& wanted) {
  return device == wanted || absl::StartsWith(device, wanted + ":");
}

}  // namespace

Needs NeedsOf(const JobSpec& spec) {
  Needs needs{.workers = spec.workers};
  for (const ModelRef& model : spec.models) {
    // "org/name@REVISION" as submitting leaves it; a content follows "@sha256:".
    const bool hub = !absl::StartsWith(model.path, "/") && absl::StrContains(model.path, '@') &&
                     !absl::StrContains(model.path, "@sha256:");
    if (hub && needs.hub_model.empty()) needs.hub_model = absl::StrCat(model.name, " (", model.path, ")");
  }
  return needs;
}

std::string Lacks(const WorkerInfo& worker, const Needs& needs) {
  const WorkerRequirements& needed = needs.workers;
  if (!needed.device.empty() && !IsDevice(worker.device, needed.device)) return "device";
  if (worker.memory_bytes < needed.memory_bytes) return "memory";
  for (const auto& [name, value] : needed.labels) {
    const auto label = worker.labels.find(name);
    if (label == worker.labels.end() || label->second != value) return "labels";
  }
  return needs.hub_model.empty() || worker.hub_cache ? "" : "hub_cache";
}

Unfit WhyNoneFits(const std::vector<const WorkerInfo*>& workers, const Needs& needs) {
  const WorkerRequirements& needed = needs.workers;
  bool hub_cache = false, labels = false, memory = false;
  int64_t largest = 0;
  for (const WorkerInfo* worker : workers) {
    const std::string lacks = Lacks(*worker, needs);
    hub_cache |= lacks == "hub_cache";
    labels |= lacks == "labels";
    memory |= lacks == "memory";
    if (lacks == "memory") largest = std::max(largest, worker->memory_bytes);
  }
  if (hub_cache) {
    return {"hub_cache", absl::StrCat("no worker that could run it may use its Hugging Face cache, where models.",
                                      needs.hub_model, " would be: --model-root of merganser-worker must include it")};
  }
  if (labels) {
    const std::string wanted = absl::StrJoin(needed.labels, ", ", absl::PairFormatter("="));
    return {"labels", absl::StrCat("no worker that could run it has the labels ", wanted)};
  }
  if (memory) {
    return {"memory", absl::StrCat("no worker has ", Gib(needed.memory_bytes), " of device memory; the largest has ",
                                   largest == 0 ? "an unknown amount" : Gib(largest))};
  }
  return {"device", absl::StrCat("no worker has a device of the kind '", needed.device, "'")};
}

}  // namespace merganser
