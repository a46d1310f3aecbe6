#include "common/store/store_errors.h"

#include "absl/strings/str_cat.h"
#include "common/domain/limits.h"

namespace merganser::store_errors {

absl::Status StaleEpoch(int64_t epoch, int64_t current) {
  return absl::AbortedError(absl::StrCat("epoch ", epoch, " does not lead; the store is at epoch ", current));
}

absl::Status HeldBy(absl::string_view holder, absl::Duration left) {
  return absl::UnavailableError(absl::StrCat("'", holder, "' leads for another ", absl::FormatDuration(left)));
}

absl::Status NoJob(absl::string_view job_id) {
  return absl::NotFoundError(absl::StrCat("no job '", job_id, "' in the store"));
}

absl::Status LogConflict(absl::string_view job_id, int64_t expected_seq, int64_t end) {
  return absl::AbortedError(
      absl::StrCat("the log of ", job_id, " ends at ", end, " with other events after ", expected_seq));
}

absl::Status BeyondLog(absl::string_view job_id, int64_t expected_seq, int64_t end) {
  return absl::OutOfRangeError(
      absl::StrCat("append to ", job_id, " after event ", expected_seq, ", but its log ends at ", end));
}

absl::Status RequiredRecordAbsent(absl::string_view key) {
  return absl::FailedPreconditionError(absl::StrCat("required record '", key, "' is not in the store"));
}

absl::Status NoRecord(absl::string_view key) {
  return absl::NotFoundError(absl::StrCat("no record '", key, "' in the store"));
}

absl::Status RecordDiffers(absl::string_view key) {
  return absl::AlreadyExistsError(absl::StrCat("record '", key, "' exists with other bytes; the first is kept"));
}

absl::Status CheckRecordSize(absl::string_view key, absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) <= limits::kRecordBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("record '", key, "' has ", bytes.size(), " bytes, above the bound of ", limits::kRecordBytesMax));
}

}  // namespace merganser::store_errors
