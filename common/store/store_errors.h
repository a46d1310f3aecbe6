// The errors of the ResultsStore contract, so that all implementations say the same thing with the
// same code.
#ifndef MERGANSER_COMMON_STORE_STORE_ERRORS_H_
#define MERGANSER_COMMON_STORE_STORE_ERRORS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser::store_errors {

// Aborted: a write under `epoch` while `current` is the highest epoch (0: nobody has led yet).
absl::Status StaleEpoch(int64_t epoch, int64_t current);
// Unavailable: `holder` leads, for another `left`.
absl::Status HeldBy(absl::string_view holder, absl::Duration left);
// NotFound.
absl::Status NoJob(absl::string_view job_id);
// Aborted: the log already holds other events after `expected_seq`; `end` is its last seq.
absl::Status LogConflict(absl::string_view job_id, int64_t expected_seq, int64_t end);
// OutOfRange.
absl::Status BeyondLog(absl::string_view job_id, int64_t expected_seq, int64_t end);
// FailedPrecondition: the record that an event needs is absent.
absl::Status RequiredRecordAbsent(absl::string_view key);
// NotFound.
absl::Status NoRecord(absl::string_view key);
// AlreadyExists: another writer's bytes are there.
absl::Status RecordDiffers(absl::string_view key);
// OK, or ResourceExhausted above limits::kRecordBytesMax.
absl::Status CheckRecordSize(absl::string_view key, absl::string_view bytes);

}  // namespace merganser::store_errors

#endif  // MERGANSER_COMMON_STORE_STORE_ERRORS_H_
