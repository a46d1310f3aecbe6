#include "coordinator/dispatch/fleet.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace merganser {
namespace {

// A line each: when it ends in ms, quarantines since the last success, id, name, why; escaped, between tabs.
constexpr absl::string_view kSavedVersion = "quarantines 1";
constexpr absl::string_view kUntilReleased = "-";

}  // namespace

std::shared_ptr<WorkerLink> Fleet::Connect(const WorkerInfo& info, std::shared_ptr<WorkerLink> link, absl::Time now,
                                           absl::Duration monotonic) {
  Worker& worker = workers_[info.id];
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
    const Worker& worker = it->second;
    const bool forget = worker.link == nullptr && worker.quarantine.empty() && monotonic - worker.last_heard > kKeepLost;
    it = forget ? workers_.erase(it) : std::next(it);
  }
}

void Fleet::Quarantine(Worker& worker, const std::string& why, absl::Time now) {
  const absl::Duration time = std::min(kQuarantineMax, kQuarantine * (1 << std::min(worker.strikes, 10)));
  ++worker.strikes;
  worker.quarantine = why;
  worker.quarantine_end = now + time;
}

std::string Fleet::SaveQuarantines() const {
  std::vector<const Worker*> saved;
  for (const auto& [id, worker] : workers_) {
    if (!worker.quarantine.empty() || worker.strikes > 0) saved.push_back(&worker);
  }
  if (saved.size() > kQuarantinesMax) {
    const auto ends_later = [](const Worker* a, const Worker* b) { return a->quarantine_end > b->quarantine_end; };
    std::nth_element(saved.begin(), saved.begin() + kQuarantinesMax, saved.end(), ends_later);
    saved.resize(kQuarantinesMax);
  }
  std::string text(kSavedVersion);
  for (const Worker* worker : saved) {
    const bool endless = worker->quarantine_end == absl::InfiniteFuture();
    const std::string end = worker->quarantine.empty() ? "0"
                            : endless                  ? std::string(kUntilReleased)
                                                       : absl::StrCat(absl::ToUnixMillis(worker->quarantine_end));
    absl::StrAppend(&text, "\n", end, "\t", worker->strikes, "\t", absl::CEscape(worker->info.id), "\t",
                    absl::CEscape(worker->info.name), "\t", absl::CEscape(worker->quarantine));
  }
  return text;
}

absl::Status Fleet::RestoreQuarantines(absl::string_view saved, absl::Time now, absl::Duration monotonic) {
  if (saved.empty()) return absl::OkStatus();
  const std::vector<absl::string_view> lines = absl::StrSplit(saved, '\n');
  if (lines[0] != kSavedVersion) {
    return absl::DataLossError(
        absl::StrCat("the quarantines begin with '", absl::CEscape(lines[0].substr(0, 40)), "', not '", kSavedVersion, "'"));
  }
  std::map<std::string, Worker> restored;
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<absl::string_view> fields = absl::StrSplit(lines[i], '\t');
    Worker worker;
    int64_t end_ms = 0;
    const bool endless = fields[0] == kUntilReleased;
    if (fields.size() != 5 || (!endless && !absl::SimpleAtoi(fields[0], &end_ms)) ||
        !absl::SimpleAtoi(fields[1], &worker.strikes) || !absl::CUnescape(fields[2], &worker.info.id) ||
        !absl::CUnescape(fields[3], &worker.info.name) || !absl::CUnescape(fields[4], &worker.quarantine)) {
      return absl::DataLossError(absl::StrCat("the quarantines: line ", i + 1, " is damaged"));
    }
    worker.quarantine_end = endless ? absl::InfiniteFuture() : absl::FromUnixMillis(end_ms);
    if (worker.quarantine_end <= now) {  // on probation from now on
      worker.quarantine.clear();
      worker.quarantine_end = absl::InfinitePast();
    }
    if (worker.quarantine.empty() && worker.strikes == 0) continue;
    worker.connect_time = worker.last_heartbeat_time = absl::InfinitePast();
    worker.last_heard = monotonic;
    const std::string id = worker.info.id;
    restored.emplace(id, std::move(worker));
  }
  workers_.merge(restored);
  return absl::OkStatus();
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
