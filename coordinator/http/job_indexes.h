// The indexes of the jobs that somebody looks at, caught up with the job loop at each look.
#ifndef MERGANSER_COORDINATOR_HTTP_JOB_INDEXES_H_
#define MERGANSER_COORDINATOR_HTTP_JOB_INDEXES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/domain/candidate.h"
#include "common/store/results_store.h"
#include "coordinator/http/job_index.h"
#include "coordinator/job/job_manager.h"

namespace merganser {

// Thread-safe.
class JobIndexes {
 public:
  // Indexes in memory; the one that was not looked at for the longest time is built anew when it is looked at again.
  static constexpr size_t kJobsMax = 16;

  // `manager` and `store` outlive this. `store`: the manager's; a log that is far ahead of its index is then read from
  // there, beside the job loop and without the recipes. nullptr: always through the manager.
  explicit JobIndexes(JobManager* manager, ResultsStore* store = nullptr) : manager_(*manager), store_(store) {}

  // Calls `look` with the job as it is now and an index that holds all its events. `job`: an id, or a name (the newest job
  // of that name). Errors: JobManager's and, where it is asked, the store's.
  absl::Status Look(const std::string& job, const std::function<void(const JobSummary&, const JobIndex&)>& look)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    absl::Mutex mu;
    JobIndex index ABSL_GUARDED_BY(mu);
    int64_t last_look = 0;  // by the owner's count
  };
  // Shared with those that look, who may outlast its eviction.
  std::shared_ptr<Entry> Find(const std::string& id) ABSL_LOCKS_EXCLUDED(mu_);

  // Reads the log up to `end`.
  absl::Status ReadLog(const std::string& id, int64_t end, JobIndex* index);

  JobManager& manager_;
  ResultsStore* const store_;
  absl::Mutex mu_;  // never held together with an entry's
  std::map<std::string, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);
  int64_t looks_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_JOB_INDEXES_H_
