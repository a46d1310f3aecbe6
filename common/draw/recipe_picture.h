// A recipe as pictures (SVG) and as a table: what it takes of each source where, and a path as a route through layers.
#ifndef MERGANSER_COMMON_DRAW_RECIPE_PICTURE_H_
#define MERGANSER_COMMON_DRAW_RECIPE_PICTURE_H_

#include <map>
#include <string>

#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"

namespace merganser {

// Colours span these ranges; a parameter that is not listed spans the values that the recipe has of it.
using ParameterBounds = std::map<std::string, Bounds>;

// Per merged stack a heatmap (columns: groups of tensors such as layers; rows: parameter by source, then those of the whole
// method) with its legend; then the route, where the recipe has a path. "" if there is nothing to draw (a plain source).
std::string RecipePictures(const Recipe& recipe, const ParameterBounds& bounds);

// The heatmap of one stack; "" if it sets no parameter.
std::string HeatmapSvg(const Stack& stack, const ParameterBounds& bounds);

// Hops from left to right, each at its layer in the band of its stack, and below how far its scale is from 1. "" without a
// path. `num_layers` per stack is taken from the path.
std::string RouteSvg(const Recipe& recipe);

// The same numbers as HTML tables, for those who cannot see the pictures; "" likewise.
std::string RecipeTables(const Recipe& recipe);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DRAW_RECIPE_PICTURE_H_
