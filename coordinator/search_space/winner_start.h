// What a parameter stage with `start: winner` takes over from the stages before: where its coefficients begin and, where the
// winner is a path, the path itself. Pure.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_WINNER_START_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_WINNER_START_H_

#include <optional>
#include <string>
#include <vector>

#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"

namespace merganser {

// What the winner, one merged stack, sets for the parameter of the source ("": of the method) in the group; nullopt if it
// says nothing of it.
std::optional<double> ValueIn(const Recipe& winner, const std::string& source, const std::string& parameter,
                              const TensorGroup& group);

// A winner's path as the architecture whose weights are searched: order of layers and scales stay, each layer becomes a
// merge.
//
// Coefficients belong to the path's distinct layers, in the order in which a token first meets them: a model's or an earlier
// merge's layer 3 is one layer however often the path returns to it, and layer 3 of another model is another one.
// (Coefficients by depth would make these two equal; then the winner would not lie in the space, nor could the search begin
// at it.) A layer of the path is merged of that layer of all sources. Those of one depth lie in stacks of their own, so a
// recipe has as many stacks as its path has distinct layers of one depth.
//
// Groups by granularity: kLayer "embed", "hop.0", "hop.1", ... (the hop that meets the layer first), "out"; kBlock the same
// with as many layers in a row as a block has, "hops.0-2"; kModel and kFilters those of any other stage, where layers of one
// depth are equal and the path has one stack.
class WinnerPath {
 public:
  // Whether the winner is a path, or one source as it is.
  static bool IsOne(const Recipe& winner);

  // REQUIRES: IsOne(winner), and num_layers >= 1, the layers of each model.
  WinnerPath(Recipe winner, int num_layers, const Granularity& granularity);

  // Names of the groups. Empty: those of any other stage.
  const std::vector<std::string>& groups() const { return groups_; }

  // What the winner has for the parameter of the source, as the mean over the group's layers; of a layer that is a source's
  // own: weight 1 of that source and 0 of the others, density 1. nullopt if it says nothing of it.
  // REQUIRES: `group` is a number in groups(). Where they are empty it is not looked at: the mean is that of all layers, of
  // their tensors that contain `filter`.
  std::optional<double> ValueOf(const std::string& source, const std::string& parameter, int group,
                                const std::string& filter) const;

  // Adds stacks and path. `merged` is a stack with settings group by group.
  void Lay(const Stack& merged, Recipe* recipe) const;

 private:
  struct Layer {
    int winner_stack = 0;
    int depth = 0;
    int stack = 0;  // of the recipe
    int group = 0;  // in groups()
  };

  bool by_layer() const { return !groups_.empty(); }
  void Group(const std::vector<int>& first_hops, int block);

  Recipe winner_;
  int num_layers_;
  std::vector<Layer> layers_;  // distinct, in the order in which the path meets them
  std::vector<Hop> hops_;      // of recipes
  std::vector<std::string> groups_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_WINNER_START_H_
