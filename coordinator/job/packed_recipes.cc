#include "coordinator/job/packed_recipes.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace merganser {
namespace {

// Calls `visit` with each parameter, in an order that the shape alone decides.
template <typename F>
void EachParameter(Recipe* recipe, F visit) {
  for (Stack& stack : recipe->stacks) {
    for (GroupSettings& settings : stack.settings) {
      for (auto& parameters : settings.source_parameters) {
        for (auto& [name, value] : parameters) visit(&value);
      }
      for (auto& [name, value] : settings.parameters) visit(&value);
    }
  }
}

}  // namespace

void PackedRecipes::Put(int64_t number, Recipe recipe) {
  Packed packed;
  packed.numbers.push_back(static_cast<double>(recipe.path.size()));
  for (const Hop& hop : recipe.path) {
    packed.numbers.insert(packed.numbers.end(), {static_cast<double>(hop.stack), static_cast<double>(hop.layer), hop.scale});
  }
  recipe.path.clear();
  EachParameter(&recipe, [&](double* value) { packed.numbers.push_back(std::exchange(*value, 0)); });
  packed.numbers.shrink_to_fit();
  auto same = std::find_if(shapes_.begin(), shapes_.end(), [&](const auto& shape) { return *shape == recipe; });
  if (same == shapes_.end()) {
    if (shapes_.size() == kShapesMax) shapes_.pop_back();
    same = shapes_.insert(shapes_.begin(), std::make_shared<const Recipe>(std::move(recipe)));
  }
  packed.shape = *same;
  packed_.emplace(number, std::move(packed));
}

Recipe PackedRecipes::Get(int64_t number) const {
  const Packed& packed = packed_.at(number);
  Recipe recipe = *packed.shape;
  auto next = packed.numbers.begin();
  recipe.path.resize(static_cast<size_t>(*next++));
  for (Hop& hop : recipe.path) {
    hop.stack = static_cast<int>(*next++);
    hop.layer = static_cast<int>(*next++);
    hop.scale = *next++;
  }
  EachParameter(&recipe, [&](double* value) { *value = *next++; });
  return recipe;
}

Recipe PackedRecipes::Take(int64_t number) {
  Recipe recipe = Get(number);
  packed_.erase(number);
  return recipe;
}

bool PackedRecipes::Packed::operator==(const Packed& other) const {
  const auto same_bits = [](double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); };
  return std::equal(numbers.begin(), numbers.end(), other.numbers.begin(), other.numbers.end(), same_bits) &&
         (shape == other.shape || *shape == *other.shape);
}

bool operator==(const PackedRecipes& a, const PackedRecipes& b) { return a.packed_ == b.packed_; }

}  // namespace merganser
