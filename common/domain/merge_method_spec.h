// What each merge method takes, as data: the one table that recipes, search spaces and mergekit files are checked against.
// Formulas and papers: worker/merge/methods/, one file per method. A new method gets its row here.
#ifndef MERGANSER_COMMON_DOMAIN_MERGE_METHOD_SPEC_H_
#define MERGANSER_COMMON_DOMAIN_MERGE_METHOD_SPEC_H_

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct MethodParameter {
  enum class Scope { kSource, kMethod };  // one value per source (the base has none), or one for all of them
  enum class Kind { kNumber, kInteger, kSwitch };

  std::string name;
  Scope scope = Scope::kMethod;
  Kind kind = Kind::kNumber;
  std::optional<double> otherwise;  // the default; absent: the parameter must be given
  // Bounds, inclusive. A switch is 0 or 1.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool in_mergekit = true;  // false: our own addition, which mergekit's files cannot say

  bool operator==(const MethodParameter&) const = default;
};

// OK, or InvalidArgument: "density 1.5 is not in [0, 1]", "normalize 0.5 is neither 0 nor 1", "t nan is not finite".
absl::Status CheckValue(const MethodParameter& parameter, double value);

struct MethodSpec {
  enum class Base { kNone, kOptional, kRequired };

  std::string name;
  Base base = Base::kNone;
  // Models besides the base.
  int sources_min = 1;
  int sources_max = std::numeric_limits<int>::max();
  std::vector<MethodParameter> parameters;

  // The parameter of that name, or nullptr.
  const MethodParameter* Find(absl::string_view parameter) const;
  std::vector<std::string> ParameterNames(MethodParameter::Scope scope) const;
  // OK, or InvalidArgument that names the bound: "slerp merges its base with exactly 1 source; the stack has 2".
  absl::Status CheckSourceCount(int sources) const;
};

// In the order of the documents.
const std::vector<MethodSpec>& AllMethodSpecs();
// nullptr if there is no such method.
const MethodSpec* FindMethodSpec(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_MERGE_METHOD_SPEC_H_
