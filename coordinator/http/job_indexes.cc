#include "coordinator/http/job_indexes.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/event_outline.h"
#include "common/codec/job_codec.h"

namespace merganser {
namespace {

constexpr int64_t kFarBehind = 1000;  // events; fewer are in the manager's memory, as a rule
constexpr int64_t kPage = 500;        // events per read of the store

}  // namespace

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

absl::Status JobIndexes::ReadLog(const std::string& id, int64_t end, JobIndex* index) {
  while (index->seq() < end) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> page, store_->ReadEvents(id, index->seq(), kPage));
    if (page.empty()) break;
    for (const StoredEvent& stored : page) {
      if (stored.seq > end) return absl::OkStatus();  // what is stored has not happened before the manager says so
      const absl::StatusOr<JobEvent> event = ProtoJobCodec().DecodeEvent(EventOutline(stored.body));
      if (!event.ok()) return absl::DataLossError(absl::StrCat(id, " event ", stored.seq, ": ", event.status().message()));
      index->Apply(stored.seq, *event, end);
    }
  }
  return absl::OkStatus();
}

absl::Status JobIndexes::Look(const std::string& job, const std::function<void(const JobSummary&, const JobIndex&)>& look) {
  MG_ASSIGN_OR_RETURN(JobSummary summary, manager_.GetJob(job));
  const std::shared_ptr<Entry> entry = Find(summary.id);
  absl::MutexLock lock(&entry->mu);
  if (entry->index.seq() == 0) entry->index = JobIndex(summary.spec);
  if (store_ != nullptr && entry->index.seq() + kFarBehind < summary.seq) {
    MG_RETURN_IF_ERROR(ReadLog(summary.id, summary.seq, &entry->index));
    MG_ASSIGN_OR_RETURN(summary, manager_.GetJob(summary.id));  // it went on meanwhile
  }
  while (entry->index.seq() < summary.seq) {
    MG_ASSIGN_OR_RETURN(const JobManager::EventBatch batch,
                        manager_.WaitForEvents(summary.id, entry->index.seq(), absl::ZeroDuration()));
    if (batch.events.empty()) break;
    for (const auto& [seq, event] : batch.events) entry->index.Apply(seq, event, summary.seq);
    summary = batch.job;
  }
  look(summary, entry->index);
  return absl::OkStatus();
}

}  // namespace merganser
