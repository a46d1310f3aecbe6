#include "coordinator/dispatch/worker_health.h"

#include "absl/strings/str_cat.h"

namespace merganser {

std::string WorkerHealth::Failed(const std::string& worker, const std::string& job, int64_t candidate) {
  Record& record = records_[worker];
  record.failed.insert({job, candidate});
  if (record.others_succeeded && static_cast<int>(record.failed.size()) >= kInARow) {
    return absl::StrCat(record.failed.size(), " candidates in a row failed on it while others succeeded elsewhere");
  }
  return "";
}

std::vector<WorkerHealth::Verdict> WorkerHealth::Succeeded(const std::string& worker, const std::string& job,
                                                           int64_t candidate) {
  records_.erase(worker);
  std::vector<Verdict> verdicts;
  for (auto& [other, record] : records_) {
    record.others_succeeded = true;
    if (record.failed.count({job, candidate}) == 0) continue;
    if (++record.blamed < kBlamed) continue;
    verdicts.emplace_back(other, absl::StrCat(record.blamed, " candidates that failed on it succeeded elsewhere"));
  }
  return verdicts;
}

}  // namespace merganser
