#include "coordinator/search_space/scale_network.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace merganser {

double Spread(int index, int count) { return count > 1 ? 2.0 * index / (count - 1) - 1 : 0; }

std::string ScaleNetwork::InputName(int input) const {
  constexpr const char* kFixed[] = {"one", "from depth", "to depth", "hop"};
  if (input < 4) return kFixed[input];
  const int source = input - 4;
  return source < sources_ - 1 ? absl::StrCat("from source ", source + 2)
                               : absl::StrCat("to source ", source - (sources_ - 1) + 2);
}

double ScaleNetwork::Scale(const Link& link, absl::Span<const double> values) const {
  std::vector<double> u = {1, link.from_depth, link.to_depth, link.hop};
  for (int source = 1; source < sources_; ++source) u.push_back(link.from_source == source ? 1 : 0);
  for (int source = 1; source < sources_; ++source) u.push_back(link.to_source == source ? 1 : 0);
  double scale = 1;
  for (int k = 0; k < hidden_; ++k) {
    double sum = 0;
    for (int i = 0; i < inputs(); ++i) sum += values[k * inputs() + i] * u[i];
    scale += values[hidden_ * inputs() + k] * std::tanh(sum);
  }
  return scale;
}

}  // namespace merganser
