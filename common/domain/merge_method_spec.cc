#include "common/domain/merge_method_spec.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

using Kind = MethodParameter::Kind;
using Scope = MethodParameter::Scope;
using Base = MethodSpec::Base;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kAny = std::numeric_limits<int>::max();

MethodParameter PerSource(std::string name, double otherwise, double low = -kInfinity, double high = kInfinity) {
  return {std::move(name), Scope::kSource, Kind::kNumber, otherwise, low, high};
}

MethodParameter Number(std::string name, std::optional<double> otherwise, double low = -kInfinity, double high = kInfinity) {
  return {std::move(name), Scope::kMethod, Kind::kNumber, otherwise, low, high};
}

MethodParameter Integer(std::string name, double otherwise, double low, double high) {
  return {std::move(name), Scope::kMethod, Kind::kInteger, otherwise, low, high};
}

MethodParameter Switch(std::string name, bool otherwise) {
  return {std::move(name), Scope::kMethod, Kind::kSwitch, otherwise ? 1.0 : 0.0, 0, 1};
}

MethodParameter OurOwn(MethodParameter parameter) {
  parameter.in_mergekit = false;
  return parameter;
}

// mergekit's "generalized task arithmetic": its eight methods differ by what thins the task vectors and by two defaults.
MethodSpec TaskVectors(std::string name, bool normalize, bool rescale, std::vector<MethodParameter> own = {}) {
  MethodSpec spec{std::move(name), Base::kRequired, 1, kAny, {PerSource("weight", 1), PerSource("density", 1, 0, 1)}};
  for (MethodParameter& parameter : own) spec.parameters.push_back(std::move(parameter));
  spec.parameters.push_back(Number("lambda", 1));
  spec.parameters.push_back(Switch("normalize", normalize));
  spec.parameters.push_back(Switch("rescale", rescale));
  return spec;
}

// Of the methods that thin at random: divide what is kept by its probability, as their papers do, in the place of `rescale`.
MethodParameter RescaleByDensity() { return OurOwn(Switch("rescale_by_density", false)); }

std::vector<MethodSpec> Table() {
  const MethodParameter weight = PerSource("weight", 1);
  const MethodParameter gamma = PerSource("gamma", 0.01, 0, 1);
  const MethodParameter epsilon = PerSource("epsilon", 0.15, 0, 0.5);
  return {
      {"linear", Base::kNone, 1, kAny, {weight, Switch("normalize", true)}},
      {"task_arithmetic", Base::kRequired, 1, kAny, {weight, Number("lambda", 1), Switch("normalize", false)}},
      TaskVectors("ties", /*normalize=*/true, /*rescale=*/false),
      TaskVectors("dare_linear", false, true, {RescaleByDensity()}),
      TaskVectors("dare_ties", false, true, {RescaleByDensity()}),
      TaskVectors("della_linear", false, true, {epsilon, RescaleByDensity()}),
      TaskVectors("della", true, true, {epsilon, RescaleByDensity()}),
      TaskVectors("breadcrumbs", false, false, {gamma}),
      TaskVectors("breadcrumbs_ties", false, false, {gamma}),
      {"sce", Base::kRequired, 1, kAny, {Number("select_topk", 1, 0, 1)}},
      {"slerp", Base::kRequired, 1, 1, {Number("t", std::nullopt)}},
      {"nuslerp", Base::kOptional, 2, 2, {weight, Switch("nuslerp_flatten", true), Switch("nuslerp_row_wise", false)}},
      {"multislerp", Base::kOptional, 1, kAny, {weight, Switch("normalize_weights", true), Number("eps", 1e-8, 0)}},
      {"karcher", Base::kNone, 1, kAny, {Integer("max_iter", 10, 0, 1000), Number("tol", 1e-5, 0)}},
      {"model_stock", Base::kRequired, 2, kAny, {Switch("filter_wise", false)}},
      {"nearswap", Base::kRequired, 1, 1, {Number("t", std::nullopt)}},
      {"arcee_fusion", Base::kRequired, 1, 1, {}},
      {"ram", Base::kRequired, 1, kAny, {Number("epsilon", 1e-5, 0)}},
      {"ramplus_tl", Base::kRequired, 1, kAny, {Number("epsilon", 1e-5, 0), Number("r", 0.1), Number("alpha", 0.2, 0)}},
      {"passthrough", Base::kNone, 1, 1, {PerSource("scale", 1)}},
  };
}

}  // namespace

absl::Status CheckValue(const MethodParameter& parameter, double value) {
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(parameter.name, " ", value, " ", what));
  };
  // Values are used as fp32; what overflows it would only show up as infinite results.
  if (!std::isfinite(static_cast<float>(value))) return bad("is not finite");
  if (parameter.kind == Kind::kSwitch && value != 0 && value != 1) return bad("is neither 0 nor 1");
  if (parameter.kind == Kind::kInteger && value != std::trunc(value)) return bad("is not a whole number");
  if (value >= parameter.low && value <= parameter.high) return absl::OkStatus();
  return parameter.high == kInfinity ? bad(absl::StrCat("is below ", parameter.low))
                                     : bad(absl::StrCat("is not in [", parameter.low, ", ", parameter.high, "]"));
}

const MethodParameter* MethodSpec::Find(absl::string_view parameter) const {
  for (const MethodParameter& own : parameters) {
    if (own.name == parameter) return &own;
  }
  return nullptr;
}

std::vector<std::string> MethodSpec::ParameterNames(MethodParameter::Scope scope) const {
  std::vector<std::string> names;
  for (const MethodParameter& parameter : parameters) {
    if (parameter.scope == scope) names.push_back(parameter.name);
  }
  return names;
}

absl::Status MethodSpec::CheckSourceCount(int sources) const {
  if (sources >= sources_min && sources <= sources_max) return absl::OkStatus();
  const bool exactly = sources_min == sources_max;
  const int bound = sources < sources_min ? sources_min : sources_max;
  return absl::InvalidArgumentError(absl::StrCat(name, base == Base::kRequired ? " merges its base with " : " merges ",
                                                 exactly                 ? "exactly "
                                                 : sources < sources_min ? "at least "
                                                                         : "at most ",
                                                 bound, bound == 1 ? " source; the stack has " : " sources; the stack has ",
                                                 sources));
}

const std::vector<MethodSpec>& AllMethodSpecs() {
  static const auto* const specs = new std::vector<MethodSpec>(Table());
  return *specs;
}

const MethodSpec* FindMethodSpec(absl::string_view name) {
  for (const MethodSpec& spec : AllMethodSpecs()) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

}  // namespace merganser
