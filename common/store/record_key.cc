#include "absl/strings/str_cat.h"
#include "common/store/results_store.h"

namespace merganser {

// The braces are literal: a Redis hash tag, so that everything of one job stays together.
std::string RecordKey(absl::string_view job_id, int64_t candidate, int attempt, absl::string_view token) {
  return absl::StrCat("result:{", job_id, "}:", candidate, ":", attempt, ":", token);
}

}  // namespace merganser
