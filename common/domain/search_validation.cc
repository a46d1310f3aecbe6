#include "common/domain/search_validation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/domain/limits.h"
#include "common/domain/merge_method_spec.h"

namespace merganser {
namespace {

#define MG_DOMAIN_CHECK(expr) \
  if (absl::Status mg_s = (expr); !mg_s.ok()) return mg_s

constexpr char kWinner[] = "winner";
constexpr char kMerged[] = "merged";

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

std::string Known(const std::vector<std::string>& names) {
  return names.empty() ? "there is none" : absl::StrCat("known: ", absl::StrJoin(names, ", "));
}

bool Contains(const std::vector<std::string>& names, absl::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> ModelNames(const JobSpec& spec) {
  std::vector<std::string> names;
  for (const ModelRef& model : spec.models) names.push_back(model.name);
  return names;
}

// Methods of the space; more than one: the method is searched too.
std::vector<std::string> Methods(const ParameterSpace& space) {
  return space.methods.empty() ? std::vector<std::string>{space.method} : space.methods;
}

absl::Status ValidateMethods(const ParameterSpace& space, const std::string& at) {
  if (!space.methods.empty() && !space.method.empty()) {
    return Bad(absl::StrCat(at, ".methods"), "stands beside `method`; give one of them");
  }
  std::set<std::string> seen;
  const std::vector<std::string> methods = Methods(space);
  for (size_t i = 0; i < methods.size(); ++i) {
    const std::string field = space.methods.empty() ? absl::StrCat(at, ".method") : absl::StrCat(at, ".methods[", i, "]");
    const MethodSignature* method = FindMethod(methods[i]);
    if (method == nullptr) {
      std::vector<std::string> known;
      for (const MethodSignature& m : KnownMethods()) known.push_back(m.name);
      return Bad(field, absl::StrCat("unknown method '", methods[i], "'; ", Known(known)));
    }
    if (!seen.insert(methods[i]).second) return Bad(field, absl::StrCat("'", methods[i], "' is named twice"));
    if (method->needs_base && space.base.empty()) {
      return Bad(absl::StrCat(at, ".base"), absl::StrCat("missing; ", method->name, " merges task vectors against a base"));
    }
    // Beside methods that need it, a base is just not used by one that takes none.
    if (methods.size() == 1 && !method->takes_base && !space.base.empty()) {
      return Bad(absl::StrCat(at, ".base"), absl::StrCat(method->name, " takes no base; name it in sources"));
    }
    const absl::Status enough = FindMethodSpec(methods[i])->CheckSourceCount(static_cast<int>(space.sources.size()));
    if (!enough.ok()) return Bad(absl::StrCat(at, ".sources"), enough.message());
  }
  return absl::OkStatus();
}

absl::Status ValidateSources(const JobSpec& spec, const ParameterSpace& space, const std::string& at) {
  const std::vector<std::string> names = ModelNames(spec);
  if (!space.base.empty() && !Contains(names, space.base)) {
    return Bad(absl::StrCat(at, ".base"), absl::StrCat("no model '", space.base, "'; ", Known(names)));
  }
  if (space.sources.empty()) return Bad(absl::StrCat(at, ".sources"), "at least one source is needed");
  std::set<std::string> seen;
  for (size_t i = 0; i < space.sources.size(); ++i) {
    const std::string field = absl::StrCat(at, ".sources[", i, "]");
    const std::string& source = space.sources[i];
    if (!Contains(names, source)) return Bad(field, absl::StrCat("no model '", source, "'; ", Known(names)));
    if (source == space.base) return Bad(field, absl::StrCat("'", source, "' is the base already"));
    if (!seen.insert(source).second) return Bad(field, absl::StrCat("'", source, "' is named twice"));
  }
  return absl::OkStatus();
}

// What values a searched parameter may have: a switch both of its two, a whole number those between two whole numbers.
absl::Status ValidateLevels(const MethodParameter& parameter, const std::string& field, double low, double high) {
  if (parameter.kind == MethodParameter::Kind::kSwitch && (low != 0 || high != 1)) {
    return Bad(field,
               absl::StrCat("[", low, ", ", high, "] are not the bounds of a switch, [0, 1]; to set it, fix it (fixed)"));
  }
  if (parameter.kind == MethodParameter::Kind::kInteger && (low != std::trunc(low) || high != std::trunc(high))) {
    return Bad(field, absl::StrCat("[", low, ", ", high, "] are not whole numbers"));
  }
  return absl::OkStatus();
}

// A parameter by its name must be taken by one of the methods, with [low, high] in the range of each that takes it.
absl::Status ValidateValue(const std::vector<std::string>& methods, const std::string& name, const std::string& field,
                           bool searched, double low, double high) {
  std::vector<std::string> takes;
  bool taken = false;
  for (const std::string& method : methods) {
    const MethodSpec& spec = *FindMethodSpec(method);
    for (const MethodParameter& parameter : spec.parameters) takes.push_back(parameter.name);
    if (spec.Find(name) == nullptr) continue;
    const MethodParameter& parameter = *spec.Find(name);
    taken = true;
    if (searched) MG_DOMAIN_CHECK(ValidateLevels(parameter, field, low, high));
    if (low >= parameter.low && high <= parameter.high) continue;
    return Bad(field, absl::StrCat(low == high ? absl::StrCat(low) : absl::StrCat("[", low, ", ", high, "]"),
                                   " is not within [", parameter.low, ", ", parameter.high, "]"));
  }
  if (taken) return absl::OkStatus();
  std::sort(takes.begin(), takes.end());
  takes.erase(std::unique(takes.begin(), takes.end()), takes.end());
  return Bad(field, absl::StrCat(absl::StrJoin(methods, ", "), methods.size() == 1 ? " has" : " have",
                                 " no such parameter; ", Known(takes)));
}

absl::Status ValidateGranularity(const Granularity& granularity, const std::string& field) {
  if (granularity.kind == Granularity::Kind::kBlock && granularity.block < 1) {
    return Bad(absl::StrCat(field, ".block"), absl::StrCat(granularity.block, " is below 1"));
  }
  if (granularity.kind == Granularity::Kind::kFilters && granularity.filters.empty()) {
    return Bad(absl::StrCat(field, ".filters"), "empty");
  }
  for (const std::string& filter : granularity.filters) {
    if (filter.empty()) return Bad(absl::StrCat(field, ".filters"), "an empty filter would take every tensor");
  }
  return absl::OkStatus();
}

// That the search can begin at whatever the stages before have found: their models must be merged here too.
absl::Status ValidateWinnersModels(const JobSpec& spec, const ParameterSpace& space, int stage, const std::string& at) {
  const std::vector<std::string> names = ModelNames(spec);
  for (int earlier = 0; earlier < stage; ++earlier) {
    const SearchStage before = StageOf(spec, earlier);
    std::vector<std::string> models = before.parameter.sources;
    if (before.data_flow) models.insert(models.end(), before.data_flow->sources.begin(), before.data_flow->sources.end());
    for (const std::string& model : models) {
      if (!Contains(names, model) || model == space.base || Contains(space.sources, model)) continue;
      return Bad(absl::StrCat(at, ".sources"),
                 absl::StrCat("the winner's path may have layers of '", model,
                              "', at which this search could not begin; name it too, or search without `start: winner`"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateParameterSpace(const JobSpec& spec, const ParameterSpace& space, int stage) {
  const std::string at = absl::StrCat(StageField(stage), "space.parameter");
  MG_DOMAIN_CHECK(ValidateSources(spec, space, at));
  MG_DOMAIN_CHECK(ValidateMethods(space, at));
  const std::vector<std::string> methods = Methods(space);
  if (space.bounds.empty()) return Bad(absl::StrCat(at, ".bounds"), "nothing to search; give weight: [low, high]");
  for (const auto& [name, bounds] : space.bounds) {
    const std::string field = absl::StrCat(at, ".bounds.", name);
    if (!std::isfinite(bounds.low) || !std::isfinite(bounds.high)) return Bad(field, "bounds must be finite");
    if (bounds.low >= bounds.high) return Bad(field, absl::StrCat("low ", bounds.low, " is not below high ", bounds.high));
    MG_DOMAIN_CHECK(ValidateValue(methods, name, field, /*searched=*/true, bounds.low, bounds.high));
  }
  for (const auto& [name, value] : space.fixed) {
    const std::string field = absl::StrCat(at, ".fixed.", name);
    if (space.bounds.count(name) != 0) return Bad(field, "is searched (bounds) and fixed at once");
    if (!std::isfinite(value)) return Bad(field, "must be finite");
    MG_DOMAIN_CHECK(ValidateValue(methods, name, field, /*searched=*/false, value, value));
  }
  for (const std::string& method : methods) {
    for (const MethodParameter& parameter : FindMethodSpec(method)->parameters) {
      if (parameter.otherwise || space.bounds.count(parameter.name) != 0 || space.fixed.count(parameter.name) != 0) continue;
      return Bad(absl::StrCat(at, ".fixed.", parameter.name),
                 absl::StrCat("missing; ", method, " has no default for it: search it (bounds), or give it here"));
    }
  }
  if (!space.start.empty() && space.start != kWinner) {
    return Bad(absl::StrCat(at, ".start"), absl::StrCat("unknown '", space.start, "'; known: winner"));
  }
  if (!space.start.empty() && stage == 0) {
    return Bad(absl::StrCat(at, ".start"), "the first stage has no winner to start from");
  }
  if (TakesWinnersPath(spec, stage)) {
    MG_DOMAIN_CHECK(ValidateWinnersModels(spec, space, stage, at));
    if (space.granularity.kind == Granularity::Kind::kBlock && !space.granularity.filters.empty()) {
      return Bad(absl::StrCat(at, ".granularity.filters"),
                 "the layers of a winner's path are blocks of their own, which no filter splits; use one of the two");
    }
  }
  return ValidateGranularity(space.granularity, absl::StrCat(at, ".granularity"));
}

absl::Status ValidateDataFlowSpace(const JobSpec& spec, const SearchStage& in, int stage) {
  const std::string at = absl::StrCat(StageField(stage), "space.data_flow");
  const DataFlowSpace& space = *in.data_flow;
  std::vector<std::string> known = ModelNames(spec);
  if (stage > 0) known.push_back(kWinner);
  if (in.parameter.used()) known.push_back(kMerged);
  if (space.sources.empty()) return Bad(absl::StrCat(at, ".sources"), "at least one source is needed");
  std::set<std::string> seen;
  for (size_t i = 0; i < space.sources.size(); ++i) {
    const std::string field = absl::StrCat(at, ".sources[", i, "]");
    const std::string& source = space.sources[i];
    if (source == kWinner && stage == 0) return Bad(field, "the first stage has no winner to draw on");
    if (source == kMerged && !in.parameter.used()) {
      return Bad(field, "is what the stage's space.parameter makes, and there is none");
    }
    if (!Contains(known, source)) return Bad(field, absl::StrCat("no model '", source, "'; ", Known(known)));
    if (!seen.insert(source).second) return Bad(field, absl::StrCat("'", source, "' is named twice"));
  }
  if (in.parameter.used() && seen.count(kMerged) == 0) {
    return Bad(absl::StrCat(at, ".sources"), "name 'merged' too, or space.parameter has no effect");
  }
  if (space.repeats < 1 || space.repeats > limits::kRepeatsMax) {
    return Bad(absl::StrCat(at, ".repeats"), absl::StrCat(space.repeats, " is not in [1, ", limits::kRepeatsMax, "]"));
  }
  const Bounds& b = space.scale_bounds;
  if (!std::isfinite(b.low) || !std::isfinite(b.high) || b.low < 0 || b.high > limits::kScaleMax ||
      !(b.low < 1 && 1 < b.high)) {
    return Bad(absl::StrCat(at, ".scale_bounds"),
               absl::StrCat("[", b.low, ", ", b.high, "] must lie in [0, ", limits::kScaleMax, "] and hold 1 inside"));
  }
  const bool network = space.scales == DataFlowSpace::Scales::kNetwork;
  if (network && (space.hidden_units < 1 || space.hidden_units > limits::kHiddenUnitsMax)) {
    return Bad(absl::StrCat(at, ".hidden_units"),
               absl::StrCat(space.hidden_units, " is not in [1, ", limits::kHiddenUnitsMax, "]"));
  }
  if (!network && space.hidden_units != 0) {
    return Bad(absl::StrCat(at, ".hidden_units"), "is of the network of `scales: network`");
  }
  if (space.sources.size() == 1 && space.encoding == DataFlowSpace::Encoding::kPath && space.repeats == 1 &&
      space.scales == DataFlowSpace::Scales::kNone) {
    return Bad(absl::StrCat(at, ".sources"),
               "one source's layers, once each and unscaled, leave only layers to drop; "
               "give more sources, repeats or scales");
  }
  return absl::OkStatus();
}

absl::Status ValidateBudget(const Budget& budget, int stage) {
  const std::string at = absl::StrCat(StageField(stage), "budget");
  if (budget.candidates < 0 || budget.candidates > limits::kCandidatesMax) {
    return Bad(absl::StrCat(at, ".candidates"),
               absl::StrCat(budget.candidates, " is not in [1, ", limits::kCandidatesMax, "]"));
  }
  if (budget.generations < 0) return Bad(absl::StrCat(at, ".generations"), absl::StrCat(budget.generations, " is below 1"));
  if (budget.samples < 0) return Bad(absl::StrCat(at, ".samples"), absl::StrCat(budget.samples, " is below 1"));
  if (budget.wall_time <= absl::ZeroDuration()) return Bad(absl::StrCat(at, ".wall_time"), "must be above 0");
  if (budget.gpu_time <= absl::ZeroDuration()) return Bad(absl::StrCat(at, ".gpu_time"), "must be above 0");
  if (budget.target && !std::isfinite(*budget.target)) return Bad(absl::StrCat(at, ".target"), "must be finite");
  if (budget.candidates == 0 && budget.generations == 0 && budget.samples == 0 &&
      budget.wall_time == absl::InfiniteDuration() && budget.gpu_time == absl::InfiniteDuration()) {
    return Bad(at, "give candidates, generations, samples, wall_time or gpu_time");
  }
  return absl::OkStatus();
}

// That the metric could exist: its benchmark is one that every candidate runs.
absl::Status ValidateMetric(const JobSpec& spec, const std::string& benchmark, const std::string& metric,
                            const std::string& field) {
  if (benchmark == kCostBenchmark) {
    if (metric == kHopsMetric || metric == kTokensMetric) return absl::OkStatus();
    return Bad(absl::StrCat(field, ".metric"), absl::StrCat("no cost '", metric, "'; known: hops, tokens"));
  }
  const std::vector<std::string> searched = SearchBenchmarks(spec);
  if (!Contains(searched, benchmark)) {
    return Bad(absl::StrCat(field, ".benchmark"),
               benchmark == spec.finalists.benchmark && !benchmark.empty()
                   ? absl::StrCat("'", benchmark, "' is kept for the finalists; candidates do not see it")
                   : absl::StrCat("no benchmark '", benchmark, "'; ", Known(searched), ", and cost"));
  }
  if (metric.empty()) return Bad(absl::StrCat(field, ".metric"), "missing");
  return absl::OkStatus();
}

absl::Status ValidateConstraint(const JobSpec& spec, const Constraint& c, const std::string& field) {
  MG_DOMAIN_CHECK(ValidateMetric(spec, c.benchmark, c.metric, field));
  const int bounds = c.at_least.has_value() + c.at_most.has_value() + !c.at_least_model.empty();
  if (bounds != 1) return Bad(field, "give exactly one of at_least, at_most and at_least_model");
  for (const auto& bound : {c.at_least, c.at_most}) {
    if (bound && !std::isfinite(*bound)) return Bad(field, "the bound must be finite");
  }
  const std::vector<std::string> names = ModelNames(spec);
  if (!c.at_least_model.empty() && !Contains(names, c.at_least_model)) {
    return Bad(absl::StrCat(field, ".at_least_model"), absl::StrCat("no model '", c.at_least_model, "'; ", Known(names)));
  }
  return absl::OkStatus();
}

absl::Status ValidateFinalists(const JobSpec& spec) {
  const Finalists& finalists = spec.finalists;
  if (finalists.count < 0 || finalists.count > limits::kFinalistsMax) {
    return Bad("finalists.count", absl::StrCat(finalists.count, " is not in [1, ", limits::kFinalistsMax, "]"));
  }
  if (finalists.count == 0) {
    if (finalists != Finalists{}) return Bad("finalists.count", "missing; say how many candidates are scored again");
    if (spec.samples.per_generation > 0) {
      return Bad("finalists",
                 "missing; with samples.per_generation the fitness of two generations is of other samples, so "
                 "the winner has to be found on a benchmark of its own: {count: 8, benchmark: NAME}");
    }
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const BenchmarkSpec& b : spec.benchmarks) names.push_back(b.name);
  if (!Contains(names, finalists.benchmark)) {
    return Bad("finalists.benchmark", absl::StrCat("no benchmark '", finalists.benchmark, "'; ", Known(names)));
  }
  if (names.size() == 1) return Bad("finalists.benchmark", "is the only benchmark; the search needs one of its own");
  return absl::OkStatus();
}

absl::Status ValidateRacing(const JobSpec& spec) {
  const Racing& racing = *spec.samples.racing;
  const int64_t drawn = spec.samples.per_generation;
  if (racing.block < 1) return Bad("samples.racing.block", absl::StrCat(racing.block, " is below 1"));
  if (drawn > 0 && racing.block >= drawn) {
    return Bad("samples.racing.block", absl::StrCat(racing.block, " is not below samples.per_generation, ", drawn,
                                                    ", so there would be nothing left to stop"));
  }
  if (!(racing.confidence > 0.5 && racing.confidence < 1)) {
    return Bad("samples.racing.confidence", absl::StrCat(racing.confidence, " is not in (0.5, 1)"));
  }
  if (spec.mode == SearchMode::kRolling) {
    return Bad("samples.racing", "a rolling search has no generations to race in; use mode: synchronous");
  }
  if (!spec.constraints.empty()) {
    return Bad("samples.racing", "constraints rank before fitness, and a race compares fitness alone; use one of them");
  }
  for (const Objective& o : spec.objectives) {
    if (o.benchmark != kCostBenchmark || o.metric != kTokensMetric) continue;
    return Bad("samples.racing", "the cost 'tokens' is of a whole evaluation, and a race stops some early; use hops");
  }
  const bool costs_only = std::all_of(spec.objectives.begin(), spec.objectives.end(),
                                      [](const Objective& o) { return o.benchmark == kCostBenchmark; });
  if (costs_only) return Bad("samples.racing", "no objective is measured on samples");
  return absl::OkStatus();
}

absl::Status ValidateSamples(const JobSpec& spec) {
  const SamplePolicy& samples = spec.samples;
  if (samples.per_generation < 0) {
    return Bad("samples.per_generation", absl::StrCat(samples.per_generation, " is below 1"));
  }
  if (samples.per_generation > 0 && spec.mode == SearchMode::kRolling) {
    return Bad("samples.per_generation", "a rolling search has no generations to share samples; use mode: synchronous");
  }
  if (!samples.choose.empty() && samples.choose != kChooseInformation) {
    return Bad("samples.choose", absl::StrCat("unknown '", samples.choose, "'; known: information"));
  }
  if (!samples.choose.empty() && samples.per_generation == 0) {
    return Bad("samples.choose", "chooses the samples of a generation; say how many there are (samples.per_generation)");
  }
  return samples.racing ? ValidateRacing(spec) : absl::OkStatus();
}

}  // namespace

bool TakesWinnersPath(const JobSpec& spec, int stage) {
  const SearchStage in = StageOf(spec, stage);
  if (in.parameter.start.empty() || in.data_flow) return false;
  for (int earlier = 0; earlier < stage; ++earlier) {
    if (StageOf(spec, earlier).data_flow) return true;
  }
  return false;
}

absl::Status ValidateStages(const JobSpec& spec) {
  if (spec.then.size() + 1 > limits::kStagesMax) {
    return Bad("then", absl::StrCat(spec.then.size(), " further stages; at most ", limits::kStagesMax - 1));
  }
  std::set<std::string> used;
  for (int i = 0; i < NumStages(spec); ++i) {
    const SearchStage stage = StageOf(spec, i);
    const std::string at = absl::StrCat(StageField(i), "space");
    if (!stage.parameter.used() && !stage.data_flow) {
      return Bad(at, absl::StrCat("missing; give ", at, ".parameter or ", at, ".data_flow"));
    }
    if (stage.parameter.used()) MG_DOMAIN_CHECK(ValidateParameterSpace(spec, stage.parameter, i));
    if (stage.data_flow) MG_DOMAIN_CHECK(ValidateDataFlowSpace(spec, stage, i));
    used.insert(stage.parameter.base);
    used.insert(stage.parameter.sources.begin(), stage.parameter.sources.end());
    if (stage.data_flow) used.insert(stage.data_flow->sources.begin(), stage.data_flow->sources.end());
    MG_DOMAIN_CHECK(ValidateBudget(stage.budget, i));
  }
  for (const std::string& name : ModelNames(spec)) {
    if (used.count(name) == 0) {
      return Bad(absl::StrCat("models.", name), "used by no part of the search space; name it in the sources of a space");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateGoals(const JobSpec& spec) {
  if (spec.objectives.empty()) return Bad("objectives", "at least one objective is needed");
  if (spec.objectives.size() > limits::kObjectivesMax) {
    return Bad("objectives", absl::StrCat("at most ", limits::kObjectivesMax));
  }
  MG_DOMAIN_CHECK(ValidateFinalists(spec));
  double weights = 0;
  for (size_t i = 0; i < spec.objectives.size(); ++i) {
    const Objective& o = spec.objectives[i];
    const std::string field = absl::StrCat("objectives[", i, "]");
    MG_DOMAIN_CHECK(ValidateMetric(spec, o.benchmark, o.metric, field));
    if (!std::isfinite(o.weight) || o.weight < 0) {
      return Bad(absl::StrCat(field, ".weight"), absl::StrCat(o.weight, " is not a number of at least 0"));
    }
    weights += o.weight;
  }
  if (weights == 0) return Bad("objectives", "all weights are 0, so no candidate would be better than another");
  for (size_t i = 0; i < spec.constraints.size(); ++i) {
    MG_DOMAIN_CHECK(ValidateConstraint(spec, spec.constraints[i], absl::StrCat("constraints[", i, "]")));
  }
  return ValidateSamples(spec);
}

}  // namespace merganser
