// What recipes got, sample by sample: taken over when an equal recipe is proposed again, instead of evaluating it anew.
#ifndef MERGANSER_COORDINATOR_JOB_KNOWN_SAMPLES_H_
#define MERGANSER_COORDINATOR_JOB_KNOWN_SAMPLES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/domain/candidate.h"
#include "common/domain/sample_scores.h"

namespace merganser {

// Over what recipes of one job differ in: equal recipes have equal hashes; of others the rest is to be compared.
uint64_t HashOfRecipe(const Recipe& recipe);

// A part of a job's state: bitmaps by (recipe, benchmark). A value. Not thread-safe.
class KnownSamples {
 public:
  static constexpr int64_t kBytesMax = int64_t{256} << 20;

  // The recipe of a candidate of the job, by number: the entries name the numbers of those that were added.
  using RecipeOf = std::function<Recipe(int64_t number)>;

  // Recipes without stacks (undecodable) are not kept.
  void Add(const RecipeOf& recipe_of, const Candidate& candidate, const std::string& benchmark, const SampleScores& scores);
  // Valid until the next Add or Trim; nullptr: nothing is known.
  const SampleScores* Find(const RecipeOf& recipe_of, const Recipe& recipe, const std::string& benchmark) const;
  // Forgets the oldest recipes until `bytes` are not exceeded. What a candidate that is not finished needs must not be
  // forgotten.
  void Trim(int64_t bytes = kBytesMax);
  int64_t bytes() const { return bytes_; }

  bool operator==(const KnownSamples&) const = default;

 private:
  // The candidate whose entry is that of the recipe; -1 if there is none.
  int64_t OwnerOf(const RecipeOf& recipe_of, const Recipe& recipe, uint64_t hash) const;

  struct Entry {
    uint64_t hash = 0;
    std::map<std::string, SampleScores> scores;  // by benchmark
    bool operator==(const Entry&) const = default;
  };
  std::map<int64_t, Entry> entries_;  // by the first candidate of the recipe
  std::unordered_map<uint64_t, std::vector<int64_t>> by_hash_;
  int64_t bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_KNOWN_SAMPLES_H_
