#include "coordinator/dispatch/dispatcher.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace merganser {
namespace {

// Workers with room.
class Room {
 public:
  explicit Room(std::vector<DispatchWorker> workers) : workers_(std::move(workers)) {
    for (size_t i = 0; i < workers_.size(); ++i) {
      slots_ += workers_[i].slots;
      Insert(i);
    }
  }
  bool empty() const { return all_.empty(); }
  int slots() const { return slots_; }
  bool HasWarm(const std::string& job) const {
    const auto it = warm_.find(job);
    return it != warm_.end() && !it->second.empty();
  }

  // Takes one place for the candidate; nullptr if no worker that it may go to has room.
  const std::string* Take(const DispatchJob& job, const DispatchCandidate& candidate) {
    const auto may = [&](const DispatchWorker& worker) { return !job.unfit.contains(worker.id); };
    const bool larger = candidate.above_memory > 0 && std::any_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
                          return may(worker) && worker.memory_bytes > candidate.above_memory;
                        });
    const bool alone = !candidate.avoid.empty() && std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
      return may(worker) && worker.id != candidate.avoid;
    });
    const auto fits = [&](const DispatchWorker& worker) {
      return may(worker) && (alone || worker.id != candidate.avoid) &&
             (!larger || worker.memory_bytes > candidate.above_memory);
    };
    using Place = Order::value_type;
    const auto first = [&](const Order& order) -> const Place* {
      for (const Place& place : order) {
        if (fits(workers_[std::get<3>(place)])) return &place;
      }
      return nullptr;
    };
    const Place* found = first(all_);
    if (found == nullptr) return nullptr;
    if (const auto warm = warm_.find(job.id); warm != warm_.end()) {
      const Place* mine = first(warm->second);
      if (mine != nullptr && std::get<0>(*mine) <= std::get<0>(*found)) found = mine;
    }
    const size_t i = std::get<3>(*found);
    Erase(i);
    ++workers_[i].assigned;
    Insert(i);
    return &workers_[i].id;
  }

 private:
  using Order = std::set<std::tuple<int, bool, std::string, size_t>>;  // the most idle first, then those without a job

  std::tuple<int, bool, std::string, size_t> Key(size_t i) const {
    const DispatchWorker& worker = workers_[i];
    return {worker.assigned - worker.slots, !worker.job.empty(), worker.id, i};
  }
  void Insert(size_t i) {
    if (workers_[i].assigned >= workers_[i].capacity) return;
    all_.insert(Key(i));
    if (!workers_[i].job.empty()) warm_[workers_[i].job].insert(Key(i));
  }
  void Erase(size_t i) {
    all_.erase(Key(i));
    if (!workers_[i].job.empty()) warm_[workers_[i].job].erase(Key(i));
  }

  std::vector<DispatchWorker> workers_;
  int slots_ = 0;
  Order all_;
  std::map<std::string, Order> warm_;  // by job
};

// A job while it is planned.
struct Turn {
  const DispatchJob* job;
  size_t next = 0;  // in its queue
  int running = 0;
  int level = 0;    // priority with age
  size_t turn = 0;  // jobs that come before it in the round
};

}  // namespace

std::vector<DispatchChoice> Dispatcher::Plan(absl::Span<const DispatchJob> jobs, std::vector<DispatchWorker> workers) {
  std::vector<DispatchChoice> plan;
  Room room(std::move(workers));
  size_t start = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].id == last_served_) start = i + 1;
  }
  std::vector<Turn> turns;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const DispatchJob& job = jobs[i];
    if (job.queued.empty()) continue;
    const int age = static_cast<int>(std::min<int64_t>(1'000'000, job.waited / kAgeing));
    turns.push_back({&job, 0, job.running, job.priority + age, (i + jobs.size() - start % jobs.size()) % jobs.size()});
  }
  const bool scarce = room.slots() < static_cast<int>(turns.size());
  const auto before = [&](const Turn& a, const Turn& b) {
    if (a.level != b.level) return a.level > b.level;
    if (scarce) {
      const bool warm_a = room.HasWarm(a.job->id), warm_b = room.HasWarm(b.job->id);
      if (warm_a != warm_b) return warm_a;
    }
    const double load_a = a.running / a.job->share, load_b = b.running / b.job->share;
    return load_a != load_b ? load_a < load_b : a.turn < b.turn;
  };
  while (!turns.empty() && !room.empty()) {
    const auto chosen = std::min_element(turns.begin(), turns.end(), before);
    const std::string* worker = nullptr;
    while (worker == nullptr && chosen->next < chosen->job->queued.size()) {
      const DispatchCandidate& candidate = chosen->job->queued[chosen->next++];
      worker = room.Take(*chosen->job, candidate);
      if (worker != nullptr) plan.push_back({chosen->job->id, candidate.number, *worker});
    }
    if (worker == nullptr) {
      turns.erase(chosen);
      continue;
    }
    last_served_ = chosen->job->id;
    ++chosen->running;
    chosen->level = chosen->job->priority;
    for (Turn& turn : turns) {  // it is the last of the round now
      if (turn.turn > chosen->turn) --turn.turn;
    }
    chosen->turn = jobs.size() - 1;
  }
  return plan;
}

}  // namespace merganser
