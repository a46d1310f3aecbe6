#include "coordinator/job/known_recipes.h"

#include <bit>

#include "common/base/rng.h"

namespace merganser {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29); }

// Over what recipes of one job differ in; equal recipes have equal hashes, and the rest is compared.
uint64_t RecipeHash(const Candidate& candidate) {
  const Recipe& recipe = candidate.recipe;
  uint64_t hash = StableHash64(recipe.embedding_from, StableHash64(recipe.head_from));
  for (const Hop& hop : recipe.path) {
    hash = Mix(hash, static_cast<uint64_t>(hop.stack) * 65536 + static_cast<uint64_t>(hop.layer));
    hash = Mix(hash, std::bit_cast<uint64_t>(hop.scale));
  }
  for (const Stack& stack : recipe.stacks) {
    hash = StableHash64(stack.name, StableHash64(stack.method, hash));
    for (const GroupSettings& settings : stack.settings) {
      for (const auto& parameters : settings.source_parameters) {
        for (const auto& [name, value] : parameters) hash = Mix(hash, std::bit_cast<uint64_t>(value));
      }
    }
  }
  for (const std::string& benchmark : candidate.benchmarks) hash = StableHash64(benchmark, hash);
  return hash;
}

}  // namespace

void KnownRecipes::CatchUp() {
  const std::vector<Candidate>& candidates = state_.candidates();
  while (hashes_.size() < candidates.size()) {
    const Candidate& candidate = candidates[hashes_.size()];
    hashes_.push_back(RecipeHash(candidate));
    if (candidate.kind == CandidateKind::kSearch) by_hash_[hashes_.back()].push_back(candidate.number);
  }
}

std::optional<int64_t> KnownRecipes::Find(const Candidate& candidate, uint64_t hash) const {
  if (candidate.recipe.stacks.empty()) return std::nullopt;  // it could not be decoded
  const auto same = by_hash_.find(hash);
  if (same == by_hash_.end()) return std::nullopt;
  for (const int64_t other : same->second) {
    const Candidate& twin = state_.candidates()[other];
    if (other != candidate.number && twin.state == CandidateState::kSucceeded && twin.recipe == candidate.recipe &&
        twin.benchmarks == candidate.benchmarks) {
      return other;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> KnownRecipes::SucceededTwinOf(int64_t number) {
  CatchUp();
  return Find(state_.candidates()[number], hashes_[number]);
}

std::optional<int64_t> KnownRecipes::SucceededTwinOf(const Candidate& candidate) {
  CatchUp();
  return Find(candidate, RecipeHash(candidate));
}

uint64_t KnownRecipes::HashOf(int64_t number) {
  CatchUp();
  return hashes_[number];
}

}  // namespace merganser
