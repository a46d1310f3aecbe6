// What a mergekit YAML file's method asks of its models.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/merge/mergekit_config.h"

namespace merganser {

struct MethodNeeds {
  bool copies = false;  // passthrough without a scale, which recipes say with no method
  bool base = false;    // it merges into a base: it must have one, or takes the one that is written
  std::vector<std::string> source_parameters, parameters;
};

MethodNeeds NeedsOf(const MergekitConfig& config);

// mergekit computes in `dtype`, without it in the types that the models are stored in, and rounds to `out_dtype` when it
// writes; Arithmetic::kMergekit computes in the type of the result, `result`. Unimplemented "FILE:LINE: what" where those
// differ. `stored`: the models' own types, "" of a model that has several.
absl::Status CheckComputesInType(const MergekitConfig& config, const std::string& result,
                                 const std::vector<std::string>& stored);

// Whether mergekit has no default for the parameter, wherever a method takes it.
bool IsRequired(absl::string_view parameter);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_
