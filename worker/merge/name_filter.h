// Whether a filter, a substring of tensors' names as recipes, jobs and mergekit have it, can select anything.
#ifndef MERGANSER_WORKER_MERGE_NAME_FILTER_H_
#define MERGANSER_WORKER_MERGE_NAME_FILTER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"

namespace merganser {

// InvalidArgument if `filter` is part of none of these names, with the nearest part of one ("mlp", "self_attn.q_proj"). The
// head's own name, which models that tie it lack, is always among them.
absl::Status CheckFilter(absl::string_view filter, absl::Span<const std::string> tensor_names);

// InvalidArgument, naming the job's field: a filter of its granularity for which CheckFilter says so.
absl::Status CheckFilters(const JobSpec& spec, absl::Span<const std::string> tensor_names);

// What follows the layer's number in a tensor's name: "mlp.up_proj.weight". The whole name where it has no such number.
absl::string_view InLayer(absl::string_view tensor_name, int layer);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_NAME_FILTER_H_
