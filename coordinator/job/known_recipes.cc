#include "coordinator/job/known_recipes.h"

#include "common/base/rng.h"
#include "coordinator/job/known_samples.h"

namespace merganser {
namespace {

uint64_t RecipeHash(const Candidate& candidate, const Recipe& recipe) {
  uint64_t hash = HashOfRecipe(recipe);
  for (const std::string& benchmark : candidate.benchmarks) hash = StableHash64(benchmark, hash);
  return hash;
}

}  // namespace

void KnownRecipes::CatchUp() {
  const std::vector<Candidate>& candidates = state_.candidates();
  while (hashes_.size() < candidates.size()) {
    const Candidate& candidate = candidates[hashes_.size()];
    const bool over = IsTerminal(candidate.state);  // a replay takes in many that are
    hashes_.push_back(over ? RecipeHash(candidate, state_.RecipeOf(candidate.number))
                           : RecipeHash(candidate, candidate.recipe));
    if (candidate.kind == CandidateKind::kSearch) by_hash_[hashes_.back()].push_back(candidate.number);
  }
}

std::optional<int64_t> KnownRecipes::Find(const Candidate& candidate, uint64_t hash) const {
  if (candidate.recipe.stacks.empty()) return std::nullopt;  // it could not be decoded
  const auto same = by_hash_.find(hash);
  if (same == by_hash_.end()) return std::nullopt;
  for (const int64_t other : same->second) {
    const Candidate& twin = state_.candidates()[other];
    if (other != candidate.number && twin.state == CandidateState::kSucceeded && twin.benchmarks == candidate.benchmarks &&
        state_.RecipeOf(other) == candidate.recipe) {
      return other;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> KnownRecipes::SucceededTwinOf(int64_t number) {
  if (state_.spec().samples.racing.has_value()) return std::nullopt;  // a race may have stopped the twin
  CatchUp();
  const Candidate& candidate = state_.candidates()[number];  // not over, so its recipe is there
  return Find(candidate, hashes_[number]);
}

std::optional<int64_t> KnownRecipes::SucceededTwinOf(const Candidate& candidate) {
  if (state_.spec().samples.racing.has_value()) return std::nullopt;
  CatchUp();
  return Find(candidate, RecipeHash(candidate, candidate.recipe));
}

uint64_t KnownRecipes::HashOf(int64_t number) {
  CatchUp();
  return hashes_[number];
}

}  // namespace merganser
