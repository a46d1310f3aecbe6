// What a mergekit YAML file's method asks of its models.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "worker/merge/mergekit_config.h"

namespace merganser {

struct MethodNeeds {
  bool copies = false;  // passthrough without a scale, which recipes say with no method
  bool base = false;    // it merges into a base: it must have one, or takes the one that is written
  std::vector<std::string> source_parameters, parameters;
};

MethodNeeds NeedsOf(const MergekitConfig& config);

// Whether mergekit has no default for the parameter, wherever a method takes it.
bool IsRequired(absl::string_view parameter);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_NEEDS_H_
