#include "coordinator/dispatch/fleet.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace merganser {

std::shared_ptr<WorkerLink> Fleet::Connect(const WorkerInfo& info, std::shared_ptr<WorkerLink> link, absl::Time now,
                                           absl::Duration monotonic) {
  Worker& worker = workers_[info.id];
  if (const auto old = inherited_.find(info.id); old != inherited_.end()) {
    if (now < old->second.end) {
      worker.quarantine = old->second.why;
      worker.quarantine_end = old->second.end;
    }
    worker.strikes = old->second.strikes;
    inherited_.erase(old);
  }
  worker.info = info;
  worker.draining = false;
  worker.declined = false;
  worker.connect_time = now;
  worker.last_heartbeat_time = now;
  worker.last_heard = monotonic;
  worker.link.swap(link);
  return link;
}

Fleet::Worker* Fleet::Find(const std::string& id) {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

absl::StatusOr<std::string> Fleet::IdOf(const std::string& id_or_name) const {
  if (workers_.contains(id_or_name)) return id_or_name;
  std::vector<std::string> connected, all;
  for (const auto& [id, worker] : workers_) {
    if (worker.info.name != id_or_name) continue;
    all.push_back(id);
    if (worker.link != nullptr) connected.push_back(id);
  }
  const std::vector<std::string>& named = connected.empty() ? all : connected;
  if (named.empty()) return absl::NotFoundError(absl::StrCat("no worker has the id or the name '", id_or_name, "'"));
  if (named.size() == 1) return named[0];
  return absl::InvalidArgumentError(absl::StrCat("worker: ", named.size(), " workers have the name '", id_or_name,
                                                 "'; name one of their ids: ", absl::StrJoin(named, ", ")));
}

void Fleet::ForgetLost(absl::Duration monotonic) {
  for (auto it = workers_.begin(); it != workers_.end();) {
    const bool forget = it->second.link == nullptr && monotonic - it->second.last_heard > kKeepLost;
    it = forget ? workers_.erase(it) : std::next(it);
  }
}

void Fleet::Quarantine(Worker& worker, const std::string& why, absl::Time now) {
  const absl::Duration time = std::min(kQuarantineMax, kQuarantine * (1 << std::min(worker.strikes, 10)));
  ++worker.strikes;
  worker.quarantine = why;
  worker.quarantine_end = now + time;
}

std::vector<std::string> Fleet::EndQuarantines(absl::Time now) {
  std::vector<std::string> released;
  for (auto& [id, worker] : workers_) {
    if (worker.quarantine.empty() || now < worker.quarantine_end) continue;
    worker.quarantine.clear();
    worker.quarantine_end = absl::InfinitePast();
    released.push_back(id);
  }
  return released;
}

std::vector<DispatchWorker> Fleet::Accepting(const LeaseTable& leases, absl::Duration monotonic, absl::Duration silence_max,
                                             int prefetch) const {
  std::vector<DispatchWorker> accepting;
  for (const auto& [id, worker] : workers_) {
    if (worker.link == nullptr || worker.leaving() || worker.declined || !worker.quarantine.empty()) continue;
    if (monotonic - worker.last_heard >= silence_max) continue;
    const int slots = std::max(1, worker.info.slots);
    const int held = leases.CountOfWorker(id) + static_cast<int>(worker.stopping.size());
    accepting.push_back(
        {id, slots, slots + (worker.stopping.empty() ? prefetch : 0), held, worker.loaded_job, worker.info.memory_bytes});
  }
  return accepting;
}

std::vector<WorkerStatus> Fleet::Statuses(const LeaseTable& leases) const {
  std::vector<WorkerStatus> statuses;
  for (const auto& [id, worker] : workers_) {
    WorkerStatus status;
    status.info = worker.info;
    status.state = worker.link == nullptr         ? "lost"
                   : worker.leaving()             ? "draining"
                   : !worker.quarantine.empty()   ? "quarantined"
                   : leases.CountOfWorker(id) > 0 ? "busy"
                                                  : "idle";
    status.quarantine = worker.quarantine;
    status.quarantine_end_time = worker.quarantine_end;
    // A heartbeat is seconds old: what has ended since is not running, and what was assigned since is.
    for (const RunningAttempt& attempt : worker.running) {
      const Lease* const lease = leases.Find(attempt.id);
      const bool leased = lease != nullptr && lease->token == attempt.token && lease->worker == id;
      if (leased || worker.stopping.count(attempt.token) != 0) status.running.push_back(attempt);
    }
    for (const Lease& lease : leases.OfWorker(id)) {
      const auto told = [&](const RunningAttempt& attempt) { return attempt.token == lease.token; };
      if (std::any_of(status.running.begin(), status.running.end(), told)) continue;
      status.running.push_back({lease.id, lease.token, "queued"});
    }
    status.connect_time = worker.connect_time;
    status.last_heartbeat_time = worker.last_heartbeat_time;
    status.finished = worker.finished;
    status.failed = worker.failed;
    statuses.push_back(std::move(status));
  }
  return statuses;
}

}  // namespace merganser
