#include "common/store/memory/memory_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/store/store_errors.h"

namespace merganser {
namespace {

constexpr absl::Duration kRequestKept = absl::Hours(24);

}  // namespace

absl::Status MemoryStore::CheckEpoch(int64_t epoch) const {
  if (epoch > 0 && epoch == epoch_) return absl::OkStatus();
  return store_errors::StaleEpoch(epoch, epoch_);
}

MemoryStore::Job* MemoryStore::FindJob(const std::string& job_id) {
  const auto it = jobs_.find(job_id);
  return it == jobs_.end() ? nullptr : &it->second;
}

absl::Status MemoryStore::PutRecord(const std::string& key, absl::string_view bytes) {
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize(key, bytes));
  absl::MutexLock lock(&mu_);
  const auto [it, created] = records_.try_emplace(key, bytes);
  if (!created && it->second != bytes) return store_errors::RecordDiffers(key);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryStore::GetRecord(const std::string& key) {
  absl::MutexLock lock(&mu_);
  const auto it = records_.find(key);
  if (it == records_.end()) return store_errors::NoRecord(key);
  return it->second;
}

absl::StatusOr<int64_t> MemoryStore::Lead(const std::string& holder, absl::Duration lease) {
  absl::MutexLock lock(&mu_);
  const absl::Duration now = clock_.Monotonic();
  if (now < lease_end_) return store_errors::HeldBy(holder_, lease_end_ - now);
  holder_ = holder;
  lease_end_ = now + lease;
  return ++epoch_;
}

absl::Status MemoryStore::RenewLead(int64_t epoch, absl::Duration lease) {
  absl::MutexLock lock(&mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  lease_end_ = clock_.Monotonic() + lease;
  return absl::OkStatus();
}

absl::Status MemoryStore::ReleaseLead(int64_t epoch) {
  absl::MutexLock lock(&mu_);
  if (CheckEpoch(epoch).ok()) lease_end_ = -absl::InfiniteDuration();
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryStore::CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                                   absl::string_view spec) {
  absl::MutexLock lock(&mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  const absl::Duration now = clock_.Monotonic();
  std::erase_if(requests_, [&](const auto& r) { return r.second.made + kRequestKept <= now; });
  if (const auto it = requests_.find(request_id); it != requests_.end()) return it->second.job_id;
  const std::string id = absl::StrCat("job-", job_ids_.size() + 1);
  jobs_[id].job = {id, name, std::string(spec), clock_.Now()};
  job_ids_.push_back(id);
  if (!request_id.empty()) requests_[request_id] = {id, now};
  return id;
}

absl::StatusOr<std::vector<StoredJob>> MemoryStore::ListJobs() {
  absl::MutexLock lock(&mu_);
  std::vector<StoredJob> jobs;
  for (const std::string& id : job_ids_) jobs.push_back(jobs_[id].job);
  return jobs;
}

absl::Status MemoryStore::Append(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                                 absl::Span<const std::string> events, absl::Span<const std::string> required_records) {
  absl::MutexLock lock(&mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  Job* const job = FindJob(job_id);
  if (job == nullptr) return store_errors::NoJob(job_id);
  const auto end = static_cast<int64_t>(job->events.size());
  if (expected_seq < 0 || expected_seq > end) {
    return store_errors::BeyondLog(job_id, expected_seq, end);
  }
  if (expected_seq < end) {
    const bool repeat = expected_seq + static_cast<int64_t>(events.size()) <= end &&
                        std::equal(events.begin(), events.end(), job->events.begin() + expected_seq);
    return repeat ? absl::OkStatus() : store_errors::LogConflict(job_id, expected_seq, end);
  }
  for (const std::string& required : required_records) {
    if (!records_.contains(required)) return store_errors::RequiredRecordAbsent(required);
  }
  job->events.insert(job->events.end(), events.begin(), events.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredEvent>> MemoryStore::ReadEvents(const std::string& job_id, int64_t after_seq,
                                                                 int64_t limit) {
  absl::MutexLock lock(&mu_);
  const Job* const job = FindJob(job_id);
  if (job == nullptr) return store_errors::NoJob(job_id);
  std::vector<StoredEvent> events;
  const auto end = static_cast<int64_t>(job->events.size());
  for (int64_t seq = std::max<int64_t>(after_seq, 0) + 1; seq <= end && static_cast<int64_t>(events.size()) < limit; ++seq) {
    events.push_back({seq, job->events[seq - 1]});
  }
  return events;
}

absl::Status MemoryStore::PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) {
  absl::MutexLock lock(&mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  Job* const job = FindJob(job_id);
  if (job == nullptr) return store_errors::NoJob(job_id);
  if (!job->snapshot || job->snapshot->seq < snapshot.seq) job->snapshot = snapshot;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<StoredSnapshot>> MemoryStore::GetSnapshot(const std::string& job_id) {
  absl::MutexLock lock(&mu_);
  const Job* const job = FindJob(job_id);
  if (job == nullptr) return store_errors::NoJob(job_id);
  return job->snapshot;
}

absl::Status MemoryStore::PutFleet(int64_t epoch, absl::string_view body) {
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize("fleet", body));
  absl::MutexLock lock(&mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  fleet_ = std::string(body);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryStore::GetFleet() {
  absl::MutexLock lock(&mu_);
  return fleet_;
}

}  // namespace merganser
