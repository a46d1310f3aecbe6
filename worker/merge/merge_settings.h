// The parameters of a method for one group of tensors, checked and completed with the method's defaults.
#ifndef MERGANSER_WORKER_MERGE_MERGE_SETTINGS_H_
#define MERGANSER_WORKER_MERGE_MERGE_SETTINGS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

struct MergeSettings {
  // All parameters of the method's MethodSpec.
  std::map<std::string, double, std::less<>> whole;             // of Scope::kMethod
  std::vector<std::map<std::string, double, std::less<>>> own;  // of Scope::kSource, per source

  // The commonest again, with these values for methods that do not take them.
  std::vector<double> weights;    // per source; 1
  std::vector<double> densities;  // per source, in [0, 1]; 1
  double lambda = 1;
  bool normalize = false;
  bool rescale = false;
  bool rescale_by_density = false;

  // A parameter of Scope::kMethod. REQUIRES: the method takes it.
  double Get(absl::string_view parameter) const { return whole.find(parameter)->second; }
  // A parameter of Scope::kSource. REQUIRES: the method takes it.
  double Get(absl::string_view parameter, int source) const { return own[source].find(parameter)->second; }
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_SETTINGS_H_
