// The recipes of candidates that are over, in little memory.
#ifndef MERGANSER_COORDINATOR_JOB_PACKED_RECIPES_H_
#define MERGANSER_COORDINATOR_JOB_PACKED_RECIPES_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "common/domain/recipe.h"

namespace merganser {

// The recipes of one search differ in numbers: parameters, hops, scales. Everything else of them (models, groups of tensors,
// names) is kept once for all that share it: 300 bytes instead of 5 KB a recipe for two layers and two sources, 8 bytes for
// each further parameter. What comes out is what went in, bit for bit. A value. Not thread-safe.
class PackedRecipes {
 public:
  // Keeps the recipe of candidate `number`, which has none yet.
  void Put(int64_t number, Recipe recipe);
  bool Has(int64_t number) const { return packed_.contains(number); }
  // Of a number that Has.
  Recipe Get(int64_t number) const;
  // The same, and it is kept no longer.
  Recipe Take(int64_t number);

  friend bool operator==(const PackedRecipes& a, const PackedRecipes& b);

 private:
  // Shapes that a recipe is compared with before it gets one of its own: those of the last stages.
  static constexpr size_t kShapesMax = 8;

  struct Packed {
    std::shared_ptr<const Recipe> shape;  // all numbers 0, no path; shared by equal ones
    std::vector<double> numbers;          // length of the path, its hops, then the parameters in their order
    bool operator==(const Packed& other) const;
  };
  std::unordered_map<int64_t, Packed> packed_;
  std::vector<std::shared_ptr<const Recipe>> shapes_;  // the latest first
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_PACKED_RECIPES_H_
