// What people are told of a job whose log cannot be replayed, and of the way out.
#ifndef MERGANSER_COORDINATOR_JOB_LOG_DAMAGE_H_
#define MERGANSER_COORDINATOR_JOB_LOG_DAMAGE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

// JobSummary::message of a job that is kDamaged: `damage` (JobLog::damage, "job-3 event 57: ...") and the commands that
// help, for the store `store_uri`.
std::string DamagedJobMessage(absl::string_view job_id, absl::string_view damage, absl::string_view store_uri);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_LOG_DAMAGE_H_
