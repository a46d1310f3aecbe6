// The `parameters` of a mergekit YAML file: of the configuration, a module, a slice or a model.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_PARAMETERS_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_PARAMETERS_H_

#include <string>

#include "absl/status/status.h"
#include "worker/merge/mergekit_config.h"
#include "worker/merge/mergekit_nodes.h"

namespace merganser {

// Adds what the map says to `settings`. `of_one_model`: it is that of a model, where only what the method takes per model
// has a meaning. InvalidArgument "FILE:LINE: what": a parameter that the method does not take there or that is given twice,
// a value of the wrong type, out of the parameter's bounds or not finite.
absl::Status ParseMergekitParameters(const MergekitNodes& nodes, const std::string& method, const YAML::Node& node,
                                     bool of_one_model, MergekitSettings& settings);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_PARAMETERS_H_
