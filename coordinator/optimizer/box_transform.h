// The map between the unbounded line on which CMA-ES may search and the range [0, 1] of a gene: the
// boundary handling "linear-quadratic, periodic" of pycma and libcmaes. With it an optimum on the
// edge of the box is an ordinary optimum for the search, inside its space.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_BOX_TRANSFORM_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_BOX_TRANSFORM_H_

namespace merganser {

// Half the width of the bend at either end.
inline constexpr double kBoxMargin = 0.05;

// The gene of a point: the point itself in [kBoxMargin, 1 - kBoxMargin], bent quadratically to
// reach 0 at -kBoxMargin and 1 at 1 + kBoxMargin, mirrored there and so on periodically. Smooth;
// within [0, 1] for every finite point.
double PointToGene(double point);

// The point in [-kBoxMargin, 1 + kBoxMargin] with that gene. REQUIRES: gene in [0, 1].
double GeneToPoint(double gene);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_BOX_TRANSFORM_H_
