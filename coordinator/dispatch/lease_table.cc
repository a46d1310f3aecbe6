#include "coordinator/dispatch/lease_table.h"

#include <algorithm>

namespace merganser {

void LeaseTable::Grant(Lease lease) {
  Remove(lease.id);
  by_deadline_.insert({lease.deadline, lease.id});
  by_worker_[lease.worker].insert(lease.id);
  const AttemptId id = lease.id;
  leases_.emplace(id, std::move(lease));
}

const Lease* LeaseTable::Find(const AttemptId& id) const {
  const auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : &it->second;
}

void LeaseTable::SetDeadline(Lease& lease, absl::Duration deadline) {
  by_deadline_.erase({lease.deadline, lease.id});
  lease.deadline = deadline;
  by_deadline_.insert({deadline, lease.id});
}

bool LeaseTable::Extend(const AttemptId& id, const std::string& token, const std::string& worker, absl::Duration now,
                        absl::Duration deadline, absl::string_view phase) {
  const auto it = leases_.find(id);
  if (it == leases_.end() || it->second.token != token || it->second.worker != worker) return false;
  it->second.last_listed = now;
  it->second.on_expiry = FailureClass::kWorkerLost;
  it->second.message.clear();
  if (phase == "record") {
    it->second.evaluating_since = absl::InfiniteDuration();
  } else if (!phase.empty() && phase != "queued") {
    it->second.evaluating_since = std::min(it->second.evaluating_since, now);
  }
  SetDeadline(it->second, deadline);
  return true;
}

void LeaseTable::Expire(const AttemptId& id, absl::Duration now, FailureClass on_expiry, std::string message) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  it->second.on_expiry = on_expiry;
  it->second.message = std::move(message);
  SetDeadline(it->second, now);
}

void LeaseTable::Postpone(const AttemptId& id, absl::Duration deadline) {
  const auto it = leases_.find(id);
  if (it != leases_.end()) SetDeadline(it->second, deadline);
}

void LeaseTable::RestartAll(absl::Duration now, absl::Duration deadline) {
  by_deadline_.clear();
  for (auto& [id, lease] : leases_) {
    lease.last_listed = now;
    lease.deadline = deadline;
    by_deadline_.insert({deadline, id});
  }
}

bool LeaseTable::Remove(const AttemptId& id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return false;
  by_deadline_.erase({it->second.deadline, it->second.id});
  const auto worker = by_worker_.find(it->second.worker);
  worker->second.erase(it->second.id);
  if (worker->second.empty()) by_worker_.erase(worker);
  leases_.erase(it);
  return true;
}

void LeaseTable::Clear() {
  leases_.clear();
  by_deadline_.clear();
  by_worker_.clear();
}

std::vector<Lease> LeaseTable::Expired(absl::Duration now) const {
  std::vector<Lease> expired;
  for (const auto& [deadline, id] : by_deadline_) {
    if (deadline > now) break;
    expired.push_back(leases_.at(id));
  }
  return expired;
}

std::vector<Lease> LeaseTable::OfWorker(const std::string& worker) const {
  std::vector<Lease> held;
  const auto it = by_worker_.find(worker);
  if (it == by_worker_.end()) return held;
  for (const AttemptId& id : it->second) held.push_back(leases_.at(id));
  return held;
}

int LeaseTable::CountOfWorker(const std::string& worker) const {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? 0 : static_cast<int>(it->second.size());
}

}  // namespace merganser
