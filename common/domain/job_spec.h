// What a user submits. Read from YAML (common/config) or from proto (common/codec); Validate() is the one place that says
// what is allowed.
#ifndef MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_
#define MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/domain/benchmark.h"
#include "common/domain/recipe.h"

namespace merganser {

// How finely a parameter search sets coefficients. Embeddings and output (final norm and head) are groups of their own
// in every granularity but `model` and `filters`.
struct Granularity {
  enum class Kind { kModel, kLayer, kBlock, kFilters };
  Kind kind = Kind::kModel;
  int block = 0;                     // kBlock: layers per block, >= 1
  std::vector<std::string> filters;  // kFilters: one group per substring of tensor names, plus one for the rest
  bool operator==(const Granularity&) const = default;
};

struct Bounds {
  double low = 0;
  double high = 1;
  bool operator==(const Bounds&) const = default;
};

// Search in parameter space: the weight (and, where bounded here, density, ...) of each source in each group.
struct ParameterSpace {
  std::string method;
  std::string base;  // "" for methods without one
  std::vector<std::string> sources;
  Granularity granularity;
  std::map<std::string, Bounds> bounds;       // searched, per source: "weight", "density"
  std::map<std::string, double> fixed;        // not searched: "lambda", "normalize", "density", ...
  bool operator==(const ParameterSpace&) const = default;
};

struct OptimizerSpec {
  std::string name = "cma_es";
  std::map<std::string, double> numbers;      // {"population": 12, "sigma0": 0.1667}
  std::map<std::string, std::string> words;   // {"preset": "published"}
  bool operator==(const OptimizerSpec&) const = default;
};

struct Objective {
  std::string benchmark;
  std::string metric;
  bool operator==(const Objective&) const = default;
};

// The search ends at the first bound that is reached.
struct Budget {
  int64_t candidates = 0;   // proposals of the optimizer; sources and the average come on top. 0: no bound
  int64_t generations = 0;  // 0: no bound
  absl::Duration wall_time = absl::InfiniteDuration();
  std::optional<double> target;  // stop once the first objective reaches it
  bool operator==(const Budget&) const = default;
};

struct JobSpec {
  std::string name;  // [a-z0-9][a-z0-9-]{0,62}
  uint64_t seed = 0;
  std::vector<ModelRef> models;
  ParameterSpace parameter;
  std::string dtype = "bfloat16";  // of the merged weights
  OptimizerSpec optimizer;
  std::vector<Objective> objectives;
  std::vector<BenchmarkSpec> benchmarks;
  std::vector<BenchmarkSpec> held_out;
  Budget budget;
  int max_attempts = 3;  // counted attempts per candidate, >= 1
  bool operator==(const JobSpec&) const = default;
};

// OK, or InvalidArgument that starts with the field's path: "space.parameter.bounds.weight: low 2 is above high 0".
// Checks everything that can be told without a file: names, references between parts, bounds, limits (limits.h).
absl::Status Validate(const JobSpec& spec);

// The merge methods that a parameter space may name, with the names of the per-source and whole-method parameters each takes:
// the short form of merge_method_spec.h.
struct MethodSignature {
  std::string name;
  bool needs_base;
  std::vector<std::string> source_parameters;
  std::vector<std::string> parameters;
  bool takes_base;  // needs one, or may have one
};
const std::vector<MethodSignature>& KnownMethods();
// nullptr if there is no such method.
const MethodSignature* FindMethod(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_
