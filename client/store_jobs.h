// Jobs read from a store, without a coordinator and beside a running one: each call replays the
// job's log.
#ifndef MERGANSER_CLIENT_STORE_JOBS_H_
#define MERGANSER_CLIENT_STORE_JOBS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/job_reader.h"
#include "common/store/results_store.h"
#include "coordinator/job/job_state.h"

namespace merganser {

// The URI of a store that is named as people do: a URI as it is, "sqlite:..." of the folder that `run` made or of the file
// in it.
std::string StoreUriOf(const std::string& text);

class StoreJobs final : public JobReader {
 public:
  // `uri` as StoreUriOf takes it. Errors of OpenStore, read-only.
  static absl::StatusOr<std::unique_ptr<JobReader>> Open(const std::string& uri);
  explicit StoreJobs(std::unique_ptr<ResultsStore> store) : store_(std::move(store)) {}

  absl::StatusOr<v1::Job> GetJob(const std::string& job) override;
  absl::StatusOr<std::vector<v1::Job>> ListJobs() override;
  absl::StatusOr<std::vector<v1::Candidate>> ListCandidates(const std::string& job, const CandidateQuery& query) override;
  absl::StatusOr<v1::Candidate> GetCandidate(const std::string& job, int64_t number) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override { return store_->GetRecord(key); }
  absl::Status Follow(const std::string& job, int64_t after_seq, absl::Time deadline, std::stop_token stop,
                      const UpdateFunction& on_update) override;

 private:
  absl::StatusOr<StoredJob> Find(const std::string& job);
  struct Loaded {
    JobState state;      // what comes before the damage
    std::string damage;  // of a log that cannot be replayed; else ""
  };
  absl::StatusOr<Loaded> Load(const StoredJob& stored);
  v1::Job JobProto(const Loaded& job, const StoredJob& stored) const;

  const std::unique_ptr<ResultsStore> store_;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_STORE_JOBS_H_
