#include "coordinator/job/known_samples.h"

#include <bit>

#include "common/base/rng.h"

namespace merganser {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29); }

int64_t BytesOf(const std::map<std::string, SampleScores>& scores) {
  int64_t bytes = 0;
  for (const auto& [benchmark, of] : scores) bytes += of.Bytes();
  return bytes;
}

}  // namespace

uint64_t HashOfRecipe(const Recipe& recipe) {
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
      for (const auto& [name, value] : settings.parameters) hash = Mix(hash, std::bit_cast<uint64_t>(value));
    }
  }
  return hash;
}

int64_t KnownSamples::OwnerOf(const RecipeOf& recipe_of, const Recipe& recipe, uint64_t hash) const {
  const auto same = by_hash_.find(hash);
  if (same == by_hash_.end()) return -1;
  for (const int64_t owner : same->second) {
    if (recipe_of(owner) == recipe) return owner;
  }
  return -1;
}

void KnownSamples::Add(const RecipeOf& recipe_of, const Candidate& candidate, const std::string& benchmark,
                       const SampleScores& scores) {
  if (candidate.recipe.stacks.empty() || scores.metrics.empty()) return;
  const uint64_t hash = HashOfRecipe(candidate.recipe);
  int64_t owner = OwnerOf(recipe_of, candidate.recipe, hash);
  if (owner < 0) {
    owner = candidate.number;
    entries_[owner].hash = hash;
    by_hash_[hash].push_back(owner);
  }
  Entry& entry = entries_.at(owner);
  bytes_ -= BytesOf(entry.scores);
  entry.scores[benchmark].Merge(scores);
  bytes_ += BytesOf(entry.scores);
}

const SampleScores* KnownSamples::Find(const RecipeOf& recipe_of, const Recipe& recipe, const std::string& benchmark) const {
  if (recipe.stacks.empty() || entries_.empty()) return nullptr;
  const int64_t owner = OwnerOf(recipe_of, recipe, HashOfRecipe(recipe));
  if (owner < 0) return nullptr;
  const auto& scores = entries_.at(owner).scores;
  const auto found = scores.find(benchmark);
  return found == scores.end() ? nullptr : &found->second;
}

void KnownSamples::Trim(int64_t bytes) {
  while (bytes_ > bytes && !entries_.empty()) {
    const auto oldest = entries_.begin();
    bytes_ -= BytesOf(oldest->second.scores);
    const auto same = by_hash_.find(oldest->second.hash);
    std::erase(same->second, oldest->first);
    if (same->second.empty()) by_hash_.erase(same);
    entries_.erase(oldest);
  }
}

}  // namespace merganser
