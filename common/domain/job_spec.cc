#include "common/domain/job_spec.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/domain/limits.h"
#include "common/domain/merge_method_spec.h"

namespace merganser {
namespace {

#define MG_DOMAIN_CHECK(expr) \
  if (absl::Status mg_s = (expr); !mg_s.ok()) return mg_s

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

std::string Known(const std::vector<std::string>& names) {
  return names.empty() ? "there is none" : absl::StrCat("known: ", absl::StrJoin(names, ", "));
}

bool IsName(absl::string_view name, size_t length_max) {
  if (name.empty() || name.size() > length_max || !absl::ascii_isalnum(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

absl::Status ValidateModels(const JobSpec& spec) {
  if (spec.models.empty()) return Bad("models", "at least one model is needed");
  if (spec.models.size() > limits::kModelsMax) {
    return Bad("models", absl::StrCat(spec.models.size(), " models; at most ", limits::kModelsMax));
  }
  for (const ModelRef& model : spec.models) {
    if (!IsName(model.name, 63)) {
      return Bad(absl::StrCat("models.", model.name), "a name has 1 to 63 letters, digits, '-', '_' or '.'");
    }
    if (model.name == "average" || model.name == "winner") {
      return Bad(absl::StrCat("models.", model.name), "'average' and 'winner' are names of results");
    }
    if (model.path.empty()) return Bad(absl::StrCat("models.", model.name, ".path"), "missing");
  }
  return absl::OkStatus();
}

absl::Status ValidateSpace(const JobSpec& spec) {
  const ParameterSpace& space = spec.parameter;
  const std::string at = "space.parameter";
  std::vector<std::string> names;
  for (const ModelRef& model : spec.models) names.push_back(model.name);
  const auto known = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const MethodSignature* method = FindMethod(space.method);
  if (method == nullptr) {
    std::vector<std::string> methods;
    for (const MethodSignature& m : KnownMethods()) methods.push_back(m.name);
    return Bad(absl::StrCat(at, ".method"), absl::StrCat("unknown method '", space.method, "'; ", Known(methods)));
  }
  if (method->needs_base && space.base.empty()) {
    return Bad(absl::StrCat(at, ".base"), absl::StrCat("missing; ", space.method, " merges task vectors against a base"));
  }
  if (!method->takes_base && !space.base.empty()) {
    return Bad(absl::StrCat(at, ".base"), absl::StrCat(space.method, " takes no base; name it in sources"));
  }
  if (!space.base.empty() && !known(space.base)) {
    return Bad(absl::StrCat(at, ".base"), absl::StrCat("no model '", space.base, "'; ", Known(names)));
  }
  if (space.sources.empty()) return Bad(absl::StrCat(at, ".sources"), "at least one source is needed");
  std::set<std::string> seen;
  for (size_t i = 0; i < space.sources.size(); ++i) {
    const std::string field = absl::StrCat(at, ".sources[", i, "]");
    const std::string& source = space.sources[i];
    if (!known(source)) return Bad(field, absl::StrCat("no model '", source, "'; ", Known(names)));
    if (source == space.base) return Bad(field, absl::StrCat("'", source, "' is the base already"));
    if (!seen.insert(source).second) return Bad(field, absl::StrCat("'", source, "' is named twice"));
  }
  for (const std::string& name : names) {
    if (name != space.base && seen.count(name) == 0) {
      return Bad(absl::StrCat("models.", name), "used by no part of the search space; name it in space.parameter.sources");
    }
  }
  if (space.bounds.empty()) return Bad(absl::StrCat(at, ".bounds"), "nothing to search; give weight: [low, high]");
  const MethodSpec& spec_of_method = *FindMethodSpec(space.method);
  const absl::Status enough = spec_of_method.CheckSourceCount(static_cast<int>(space.sources.size()));
  if (!enough.ok()) return Bad(absl::StrCat(at, ".sources"), enough.message());
  const auto& takes = method->source_parameters;
  for (const auto& [name, bounds] : space.bounds) {
    const std::string field = absl::StrCat(at, ".bounds.", name);
    if (std::find(takes.begin(), takes.end(), name) == takes.end()) {
      return Bad(field, absl::StrCat(space.method, " has no such parameter per source; ", Known(takes)));
    }
    if (!std::isfinite(bounds.low) || !std::isfinite(bounds.high)) return Bad(field, "bounds must be finite");
    if (bounds.low >= bounds.high) {
      return Bad(field, absl::StrCat("low ", bounds.low, " is not below high ", bounds.high));
    }
    const MethodParameter& parameter = *spec_of_method.Find(name);
    if (bounds.low < parameter.low || bounds.high > parameter.high) {
      return Bad(field, absl::StrCat("[", bounds.low, ", ", bounds.high, "] is not within [", parameter.low, ", ",
                                     parameter.high, "]"));
    }
  }
  for (const auto& [name, value] : space.fixed) {
    const std::string field = absl::StrCat(at, ".fixed.", name);
    const bool per_source = std::find(takes.begin(), takes.end(), name) != takes.end();
    const bool whole = std::find(method->parameters.begin(), method->parameters.end(), name) != method->parameters.end();
    if (!per_source && !whole) {
      std::vector<std::string> all = takes;
      all.insert(all.end(), method->parameters.begin(), method->parameters.end());
      return Bad(field, absl::StrCat(space.method, " has no such parameter; ", Known(all)));
    }
    if (space.bounds.count(name) != 0) return Bad(field, "is searched (bounds) and fixed at once");
    if (!std::isfinite(value)) return Bad(field, "must be finite");
    const MethodParameter& parameter = *spec_of_method.Find(name);
    if (value < parameter.low || value > parameter.high) {
      return Bad(field, absl::StrCat(value, " is not within [", parameter.low, ", ", parameter.high, "]"));
    }
  }
  for (const MethodParameter& parameter : spec_of_method.parameters) {
    if (!parameter.otherwise && space.bounds.count(parameter.name) == 0 && space.fixed.count(parameter.name) == 0) {
      return Bad(absl::StrCat(at, ".fixed.", parameter.name),
                 absl::StrCat("missing; ", space.method, " has no default for it"));
    }
  }
  if (space.granularity.kind == Granularity::Kind::kBlock && space.granularity.block < 1) {
    return Bad(absl::StrCat(at, ".granularity.block"), absl::StrCat(space.granularity.block, " is below 1"));
  }
  if (space.granularity.kind == Granularity::Kind::kFilters) {
    if (space.granularity.filters.empty()) return Bad(absl::StrCat(at, ".granularity.filters"), "empty");
    for (const std::string& filter : space.granularity.filters) {
      if (filter.empty()) return Bad(absl::StrCat(at, ".granularity.filters"), "an empty filter would take every tensor");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateBenchmark(const BenchmarkSpec& b, absl::string_view field) {
  if (!IsName(b.name, 63)) return Bad(field, "a name has 1 to 63 letters, digits, '-', '_' or '.'");
  if (b.data.empty()) return Bad(absl::StrCat(field, ".data"), "missing");
  if (b.max_new_tokens && (*b.max_new_tokens < 1 || *b.max_new_tokens > limits::kNewTokensMax)) {
    return Bad(absl::StrCat(field, ".max_new_tokens"),
               absl::StrCat(*b.max_new_tokens, " is not in [1, ", limits::kNewTokensMax, "]"));
  }
  if (b.limit && *b.limit < 1) return Bad(absl::StrCat(field, ".limit"), absl::StrCat(*b.limit, " is below 1"));
  if (b.stop) {
    for (const std::string& stop : *b.stop) {
      if (stop.empty()) return Bad(absl::StrCat(field, ".stop"), "an empty string would stop at once");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateBenchmarks(const JobSpec& spec) {
  if (spec.benchmarks.empty()) return Bad("benchmarks", "at least one benchmark is needed");
  if (spec.benchmarks.size() + spec.held_out.size() > limits::kBenchmarksMax) {
    return Bad("benchmarks", absl::StrCat("more than ", limits::kBenchmarksMax, " with held_out"));
  }
  std::set<std::string> names;
  for (const BenchmarkSpec& b : spec.benchmarks) {
    MG_DOMAIN_CHECK(ValidateBenchmark(b, absl::StrCat("benchmarks.", b.name)));
    names.insert(b.name);
  }
  for (const BenchmarkSpec& b : spec.held_out) {
    const std::string field = absl::StrCat("held_out.", b.name);
    MG_DOMAIN_CHECK(ValidateBenchmark(b, field));
    if (!names.insert(b.name).second) return Bad(field, "a benchmark of the search has this name");
  }
  if (spec.objectives.empty()) return Bad("objectives", "at least one objective is needed");
  if (spec.objectives.size() > limits::kObjectivesMax) {
    return Bad("objectives", absl::StrCat("at most ", limits::kObjectivesMax));
  }
  for (size_t i = 0; i < spec.objectives.size(); ++i) {
    const Objective& o = spec.objectives[i];
    const std::string field = absl::StrCat("objectives[", i, "]");
    std::vector<std::string> searchable;
    for (const BenchmarkSpec& b : spec.benchmarks) searchable.push_back(b.name);
    if (std::find(searchable.begin(), searchable.end(), o.benchmark) == searchable.end()) {
      return Bad(absl::StrCat(field, ".benchmark"), absl::StrCat("no benchmark '", o.benchmark, "'; ", Known(searchable)));
    }
    if (o.metric.empty()) return Bad(absl::StrCat(field, ".metric"), "missing");
  }
  return absl::OkStatus();
}

absl::Status ValidateBudget(const JobSpec& spec) {
  const Budget& budget = spec.budget;
  if (budget.candidates < 0 || budget.candidates > limits::kCandidatesMax) {
    return Bad("budget.candidates", absl::StrCat(budget.candidates, " is not in [1, ", limits::kCandidatesMax, "]"));
  }
  if (budget.generations < 0) return Bad("budget.generations", absl::StrCat(budget.generations, " is below 1"));
  if (budget.wall_time <= absl::ZeroDuration()) return Bad("budget.wall_time", "must be above 0");
  if (budget.target && !std::isfinite(*budget.target)) return Bad("budget.target", "must be finite");
  if (budget.candidates == 0 && budget.generations == 0 && budget.wall_time == absl::InfiniteDuration()) {
    return Bad("budget", "give candidates, generations or wall_time");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const JobSpec& spec) {
  if (!IsName(spec.name, 63)) {
    return Bad("name", absl::StrCat("'", spec.name, "' is not 1 to 63 letters, digits, '-', '_' or '.'"));
  }
  if (spec.dtype != "bfloat16" && spec.dtype != "float16" && spec.dtype != "float32") {
    return Bad("dtype", absl::StrCat("unknown '", spec.dtype, "'; known: bfloat16, float16, float32"));
  }
  if (spec.max_attempts < 1 || spec.max_attempts > limits::kAttemptsMax) {
    return Bad("max_attempts", absl::StrCat(spec.max_attempts, " is not in [1, ", limits::kAttemptsMax, "]"));
  }
  MG_DOMAIN_CHECK(ValidateModels(spec));
  MG_DOMAIN_CHECK(ValidateSpace(spec));
  MG_DOMAIN_CHECK(ValidateBenchmarks(spec));
  return ValidateBudget(spec);
}

const std::vector<MethodSignature>& KnownMethods() {
  static const auto* const methods = [] {
    auto* all = new std::vector<MethodSignature>;
    for (const MethodSpec& spec : AllMethodSpecs()) {
      all->push_back({spec.name, spec.base == MethodSpec::Base::kRequired,
                      spec.ParameterNames(MethodParameter::Scope::kSource),
                      spec.ParameterNames(MethodParameter::Scope::kMethod), spec.base != MethodSpec::Base::kNone});
    }
    return all;
  }();
  return *methods;
}

const MethodSignature* FindMethod(absl::string_view name) {
  for (const MethodSignature& method : KnownMethods()) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace merganser
