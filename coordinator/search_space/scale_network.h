// Scales of a path from a small network, in place of a matrix of them: W_ij = pi(i, j, t) of Akiba et al. (arXiv 2403.13187,
// section 3.2), whose weights are evolved. Its size does not grow with the number of layers. Pure.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_SCALE_NETWORK_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_SCALE_NETWORK_H_

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace merganser {

// scale = 1 + sum_k v_k tanh(sum_i w_ki u_i), k = 1 .. `hidden`. Inputs u, in this order:
//   1
//   the depth of the layer that the token comes from, and of the one it goes to: -1 for a source's first layer, 1 for its
//   last (0 where it is the only one) the hop: -1 for the path's first, 1 for the last of the longest path that the space
//   has for each source but the first: 1 if the token comes from a layer of it, else 0; then the same for where it goes
// With all w or all v at 0 every scale is 1.
class ScaleNetwork {
 public:
  // A hop of a path and the one before it.
  struct Link {
    int from_source = 0;
    double from_depth = 0;
    int to_source = 0;
    double to_depth = 0;
    double hop = 0;
  };

  // REQUIRES: both are at least 1.
  ScaleNetwork(int sources, int hidden) : sources_(sources), hidden_(hidden) {}

  int hidden() const { return hidden_; }
  int inputs() const { return 4 + 2 * (sources_ - 1); }
  // w, one unit after the other, then v.
  int parameters() const { return hidden_ * (inputs() + 1); }
  // Of an input, for people: "one", "from depth", "to depth", "hop", "from source 2", "to source 2".
  std::string InputName(int input) const;

  // REQUIRES: `values` is [parameters()].
  double Scale(const Link& link, absl::Span<const double> values) const;

 private:
  int sources_;
  int hidden_;
};

// -1 for `index` 0, 1 for the last of `count`; 0 if there is one only.
double Spread(int index, int count);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_SCALE_NETWORK_H_
