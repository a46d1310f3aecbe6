// Whether a worker can take a job's candidates at all.
#ifndef MERGANSER_COORDINATOR_DISPATCH_REQUIREMENTS_H_
#define MERGANSER_COORDINATOR_DISPATCH_REQUIREMENTS_H_

#include <string>
#include <vector>

#include "common/domain/dispatch.h"
#include "common/domain/job_spec.h"

namespace merganser {

// What a job asks of its workers.
struct Needs {
  WorkerRequirements workers;
  std::string hub_model;  // "base (org/name@main)": one that only the Hugging Face cache or the Hub has; "": none
  bool operator==(const Needs&) const = default;
};
// A model that is held to its content may be had from elsewhere.
Needs NeedsOf(const JobSpec& spec);

// What of it the worker lacks: "device", "memory", "labels", "hub_cache" (in this order); "" if nothing. Memory that is not
// known is not enough.
std::string Lacks(const WorkerInfo& worker, const Needs& needs);

struct Unfit {
  std::string what;     // the one thing that the worker that comes nearest lacks: "memory"
  std::string message;  // "no worker has 80.0 GiB of device memory; the largest has 40.0 GiB"
};
// Why none of the workers, of which there is one at least, fits.
Unfit WhyNoneFits(const std::vector<const WorkerInfo*>& workers, const Needs& needs);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_REQUIREMENTS_H_
