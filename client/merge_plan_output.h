// What `merge --dry-run` prints.
#ifndef MERGANSER_CLIENT_MERGE_PLAN_OUTPUT_H_
#define MERGANSER_CLIENT_MERGE_PLAN_OUTPUT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/message_json.h"
#include "worker/merge/recipe_export_plan.h"

namespace merganser {

// For people: totals and notes first, then the tensors; tensors of several layers that differ only in
// the layer's number are one line.
std::string MergePlanText(const RecipeExportPlan& plan);
// For programs: everything, one entry a tensor.
Json MergePlanJson(const RecipeExportPlan& plan);

// "5GB", "500MB", "4GiB" or plain bytes, as bytes; InvalidArgument for anything else, and for sizes
// below one byte.
absl::StatusOr<int64_t> ParseSize(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_MERGE_PLAN_OUTPUT_H_
