// Candidates' weights. Those of the next candidate are merged while the one before it is evaluated.
#ifndef MERGANSER_WORKER_EVALUATE_MODELS_AHEAD_H_
#define MERGANSER_WORKER_EVALUATE_MODELS_AHEAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "worker/evaluate/candidate_model.h"

namespace merganser {

// Two CandidateModels that take turns: while the engine runs what one made, the other merges what is expected, on a thread
// of its own. The second's arenas are made only if there is room for them. The weights are those of one model alone, bit for
// bit; only when they are made differs.
//
// Threading: Expect from any thread, all else from one at a time. Between Begin and the next Materialize the models'
// materializer (and device merger) belong to the merge ahead.
class ModelsAhead {
 public:
  // `room`: bytes that further arenas may take, asked before they are made, on any thread; null: nothing is merged ahead.
  ModelsAhead(std::unique_ptr<CandidateModel> model, std::function<int64_t()> room);
  // Stops a merge that runs and waits for it.
  ~ModelsAhead();

  // As CandidateModel::Materialize. A merge ahead of `recipe` is waited for and taken, one of another recipe is stopped and
  // dropped. What was expected before is expected no more.
  absl::StatusOr<ModelWeights> Materialize(const Recipe& recipe, std::stop_token stop);
  // Of what Materialize gave last, whenever it was merged.
  int64_t merged_bytes() const { return current_->merged_bytes(); }
  const MergeTraffic& traffic() const { return current_->traffic(); }

  // From now on, until the next Materialize, one recipe that is expected may be merged ahead. REQUIRES: the engine has taken
  // what Materialize gave last.
  void Begin() ABSL_LOCKS_EXCLUDED(mu_);
  // `next` will probably be materialized next. A guess: if it is wrong or cannot be made, nothing follows but lost time.
  // Does not wait for a merge.
  void Expect(const Recipe& next) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether something is or was merged that Materialize has not yet been asked for.
  bool pending() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void BeginExpected() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::function<int64_t()> room_;
  std::unique_ptr<CandidateModel> current_, spare_;   // spare_ is the merge's while there is one
  std::optional<Recipe> merging_;                     // what thread_ merges; the next two are set before it begins
  std::optional<absl::StatusOr<ModelWeights>> made_;  // by thread_, read once it has ended

  mutable absl::Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;  // between Begin and Materialize
  bool told_ ABSL_GUARDED_BY(mu_) = false;  // that there is no room
  std::optional<Recipe> expected_ ABSL_GUARDED_BY(mu_);
  std::jthread thread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_MODELS_AHEAD_H_
