#include "coordinator/dispatch/dispatcher.h"

#include <set>
#include <tuple>
#include <utility>

namespace merganser {
namespace {

// Workers with room, the most idle first.
class Room {
 public:
  explicit Room(std::vector<DispatchWorker> workers) : workers_(std::move(workers)) {
    for (size_t i = 0; i < workers_.size(); ++i) Insert(i);
  }
  bool empty() const { return order_.empty(); }
  bool OnlyWorkerIs(const std::string& id) const {
    return workers_.size() == 1 && workers_[0].id == id;
  }
  // Takes one place of the best worker other than `avoid`; nullptr if none has room.
  const std::string* Take(const std::string& avoid) {
    for (auto it = order_.begin(); it != order_.end(); ++it) {
      const size_t i = std::get<2>(*it);
      if (workers_[i].id == avoid) continue;
      order_.erase(it);
      ++workers_[i].assigned;
      Insert(i);
      return &workers_[i].id;
    }
    return nullptr;
  }

 private:
  void Insert(size_t i) {
    const DispatchWorker& worker = workers_[i];
    if (worker.assigned < worker.capacity) {
      order_.insert({worker.assigned - worker.slots, worker.id, i});
    }
  }

  std::vector<DispatchWorker> workers_;
  std::set<std::tuple<int, std::string, size_t>> order_;
};

}  // namespace

std::vector<DispatchChoice> Dispatcher::Plan(absl::Span<const DispatchJob> jobs,
                                             std::vector<DispatchWorker> workers) {
  std::vector<DispatchChoice> plan;
  Room room(std::move(workers));
  std::vector<size_t> next(jobs.size(), 0);
  size_t turn = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].id == last_served_) turn = i + 1;
  }
  size_t passed = 0;  // jobs in a row that had nothing to give
  while (!jobs.empty() && passed < jobs.size() && !room.empty()) {
    const DispatchJob& job = jobs[turn % jobs.size()];
    size_t& position = next[turn % jobs.size()];
    bool served = false;
    while (!served && position < job.queued.size()) {
      const DispatchCandidate& candidate = job.queued[position++];
      const bool alone = room.OnlyWorkerIs(candidate.avoid);
      const std::string* worker = room.Take(alone ? "" : candidate.avoid);
      if (worker == nullptr) continue;
      plan.push_back({job.id, candidate.number, *worker});
      last_served_ = job.id;
      served = true;
    }
    passed = served ? 0 : passed + 1;
    ++turn;
  }
  return plan;
}

}  // namespace merganser
