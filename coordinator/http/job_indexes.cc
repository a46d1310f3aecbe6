#include "coordinator/http/job_indexes.h"

#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"

namespace merganser {

std::shared_ptr<JobIndexes::Entry> JobIndexes::Find(const std::string& id) {
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Entry>& entry = entries_[id];
  if (entry == nullptr) entry = std::make_shared<Entry>();
  entry->last_look = ++looks_;
  const std::shared_ptr<Entry> found = entry;
  if (entries_.size() > kJobsMax) {
    entries_.erase(std::min_element(entries_.begin(), entries_.end(),
                                    [](const auto& a, const auto& b) { return a.second->last_look < b.second->last_look; }));
  }
  return found;
}

absl::Status JobIndexes::Look(const std::string& job, const std::function<void(const JobSummary&, const JobIndex&)>& look) {
  MG_ASSIGN_OR_RETURN(JobSummary summary, manager_.GetJob(job));
  const std::shared_ptr<Entry> entry = Find(summary.id);
  absl::MutexLock lock(&entry->mu);
  if (entry->index.seq() == 0) entry->index = JobIndex(summary.spec);
  while (entry->index.seq() < summary.seq) {
    MG_ASSIGN_OR_RETURN(const JobManager::EventBatch batch,
                        manager_.WaitForEvents(summary.id, entry->index.seq(), absl::ZeroDuration()));
    if (batch.events.empty()) break;
    for (const auto& [seq, event] : batch.events) entry->index.Apply(seq, event);
    summary = batch.job;
  }
  look(summary, entry->index);
  return absl::OkStatus();
}

}  // namespace merganser
