// Where a job's models are on this worker: found by path or by content, or fetched.
#ifndef MERGANSER_WORKER_AGENT_CHECKPOINT_PROVIDER_H_
#define MERGANSER_WORKER_AGENT_CHECKPOINT_PROVIDER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/transfer/checkpoint_cache.h"
#include "common/transfer/checkpoint_files.h"
#include "common/transfer/checkpoint_source.h"
#include "common/transfer/file_digests.h"
#include "common/transfer/url_get.h"
#include "worker/agent/cache_requests.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct CheckpointProviderOptions {
  // A model's directory from its path (without its content), as this worker finds it, or an error.
  std::function<absl::StatusOr<std::string>(const std::string& path)> resolve;
  std::vector<std::string> model_roots;     // where it is looked for by content
  CheckpointCacheOptions cache;             // dir "": nothing is fetched
  std::vector<std::string> url_templates;   // CheckUrlTemplate; asked before the coordinator
  UrlRequest access;                        // of every URL
  std::vector<ClientChannel> coordinators;  // of their own; may be empty
  // Directories found here have their weights summed whole, once until a file changes, and compared with what the first URL
  // or coordinator that knows the sums says; a directory that differs is not used, nor one whose sums nobody knows. Else the
  // content's samples (checkpoint_files.h) must do.
  bool verify_weights = false;
};

// Not thread-safe but for cache_requests(): one evaluator asks. What it gave last stays in the cache until it gives for
// another job.
class CheckpointProvider {
 public:
  explicit CheckpointProvider(CheckpointProviderOptions options) : options_(std::move(options)) {}

  // The job with a directory in place of the path of each model whose content it names ("PATH@sha256:CONTENT"; the content
  // stays after it, so that whoever opens the directory holds it to that): the path itself if it has that content here, else
  // a directory of that content below the model roots, else one in the cache, fetched if need be. Models without a content
  // stay as they are, and so does what can be had nowhere but has a Hub id: the evaluator asks the Hub. `phase` is told
  // "fetch" while something is fetched, "check" while weights are summed. Unavailable (names "models.NAME.path", and what is
  // at the path instead): it could not be had; another worker may have it. Cancelled.
  absl::StatusOr<JobSpec> Provide(const JobSpec& spec, const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop);

  // Looks for all of them again when it is asked next.
  void Forget() { asked_ = nullptr; }

  // Of checkpoints that were neither at their path nor below the model roots, once per job and model.
  CacheRequests cache_requests() const { return {hits_, misses_}; }

 private:
  absl::StatusOr<std::string> DirectoryOf(const std::string& path, const std::string& content,
                                          const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop,
                                          std::map<std::string, std::shared_ptr<CachedCheckpoint>>* held);

  // Where the content may be had from, in the order in which they are asked.
  std::vector<std::unique_ptr<CheckpointSource>> SourcesOf(const std::string& path, const std::string& content) const;
  // OK unless verify_weights finds other bytes (DataLoss) or nobody knows the sums (Unavailable).
  absl::Status CheckWeights(const std::string& dir, const std::string& path, const std::string& content,
                            const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop);

  const CheckpointProviderOptions options_;
  ContentIndex index_;
  FileDigests digests_;
  std::map<std::string, std::shared_ptr<CachedCheckpoint>> held_;  // by content, of the job that it gave last
  std::atomic<int64_t> hits_ = 0, misses_ = 0;
  std::shared_ptr<const JobSpec> asked_, given_;  // the last ones
};

// An evaluator whose jobs' models are provided first, and once more where it says that one is not what it was (NotFound,
// FailedPrecondition): a file was replaced, and an evaluator that was started again opened it. `provider` and `evaluator`
// outlive it.
class ProvidedEvaluator final : public CandidateEvaluator {
 public:
  ProvidedEvaluator(CheckpointProvider* provider, CandidateEvaluator* evaluator)
      : provider_(*provider), evaluator_(*evaluator) {}

  absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) override;
  void Expect(const Recipe& next) override { evaluator_.Expect(next); }
  // The recipe's models as the job's.
  absl::StatusOr<Evaluation> Evaluate(const JobSpec& spec, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override;

 private:
  // The models as they are now, after `error`, which was about `given`; nullopt: they are the same, or it is about others.
  std::optional<absl::StatusOr<JobSpec>> ProvideAgain(const JobSpec& spec, const JobSpec& given, const absl::Status& error,
                                                      const PhaseCallback& phase, std::stop_token stop);

  CheckpointProvider& provider_;
  CandidateEvaluator& evaluator_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_CHECKPOINT_PROVIDER_H_
