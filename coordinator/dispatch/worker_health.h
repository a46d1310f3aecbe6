// Which workers fail where others do not.
#ifndef MERGANSER_COORDINATOR_DISPATCH_WORKER_HEALTH_H_
#define MERGANSER_COORDINATOR_DISPATCH_WORKER_HEALTH_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace merganser {

// Judges workers by their attempts. A worker is to be quarantined when, since its last success,
//   - kBlamed of the candidates that failed on it have succeeded elsewhere, or
//   - it failed on kInARow different candidates while others succeeded with some.
// A worker on its own is never judged: its failures may be the job's. Not thread-safe; only the job loop uses it.
class WorkerHealth {
 public:
  static constexpr int kBlamed = 3;
  static constexpr int kInARow = 5;

  using Verdict = std::pair<std::string, std::string>;  // (worker, why)

  // An attempt failed in a way that may be the worker's fault. Why the worker is to be quarantined, "" if it is not.
  std::string Failed(const std::string& worker, const std::string& job, int64_t candidate);
  // An attempt succeeded; who is to be quarantined for having failed on that candidate.
  std::vector<Verdict> Succeeded(const std::string& worker, const std::string& job, int64_t candidate);
  // The worker starts afresh.
  void Forget(const std::string& worker) { records_.erase(worker); }
  void Clear() { records_.clear(); }

 private:
  struct Record {  // since its last success
    std::set<std::pair<std::string, int64_t>> failed;
    int blamed = 0;
    bool others_succeeded = false;
  };
  std::map<std::string, Record> records_;  // of workers that failed since
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_WORKER_HEALTH_H_
