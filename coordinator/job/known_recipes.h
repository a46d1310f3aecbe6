// Finds candidates that repeat an earlier one: the same recipe on the same samples. Where a space consists of choices,
// optimizers propose the same recipe again and again.
#ifndef MERGANSER_COORDINATOR_JOB_KNOWN_RECIPES_H_
#define MERGANSER_COORDINATOR_JOB_KNOWN_RECIPES_H_

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "coordinator/job/job_state.h"

namespace merganser {

// An index over one job's kSearch candidates, brought up to date by itself. Not thread-safe.
class KnownRecipes {
 public:
  // `state` outlives it.
  explicit KnownRecipes(const JobState* state) : state_(*state) {}

  // The oldest succeeded candidate with the recipe and the benchmarks (draws included) of candidate `number`; nullopt if
  // there is none, and in races.
  std::optional<int64_t> SucceededTwinOf(int64_t number);
  // The same for one that is not in the state yet.
  std::optional<int64_t> SucceededTwinOf(const Candidate& candidate);
  // Equal for twins, hardly ever for others.
  uint64_t HashOf(int64_t number);

 private:
  // Takes in the candidates that came since the last call.
  void CatchUp();
  std::optional<int64_t> Find(const Candidate& candidate, uint64_t hash) const;

  const JobState& state_;
  std::vector<uint64_t> hashes_;                                // by candidate
  std::unordered_map<uint64_t, std::vector<int64_t>> by_hash_;  // kSearch candidates, oldest first
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_KNOWN_RECIPES_H_
