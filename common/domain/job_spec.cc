#include "common/domain/job_spec.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/domain/limits.h"
#include "common/domain/merge_method_spec.h"
#include "common/domain/search_validation.h"

namespace merganser {
namespace {

#define MG_DOMAIN_CHECK(expr) \
  if (absl::Status mg_s = (expr); !mg_s.ok()) return mg_s

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

bool IsName(absl::string_view name, size_t length_max) {
  if (name.empty() || name.size() > length_max || !absl::ascii_isalnum(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; });
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
    if (model.name == "average" || model.name == "winner" || model.name == "merged" || model.name == "mean" ||
        model.name == "exported") {
      return Bad(absl::StrCat("models.", model.name), absl::StrCat("'", model.name, "' is a name of results"));
    }
    if (model.path.empty()) return Bad(absl::StrCat("models.", model.name, ".path"), "missing");
  }
  const auto parts =
      std::count_if(spec.models.begin(), spec.models.end(), [](const ModelRef& model) { return !model.rename.empty(); });
  const auto wholes = static_cast<int64_t>(spec.models.size()) - parts;
  if (parts > 0 && wholes == 0) {
    return Bad("models",
               absl::StrCat("all ", parts, " are parts of a model (rename), so one without `rename` must be the whole"));
  }
  if (spec.config_from.empty()) return absl::OkStatus();
  if (parts == 0) return Bad("config_from", "no model is a part of another one (models.NAME.rename), so all must run alike");
  if (std::none_of(spec.models.begin(), spec.models.end(), [&](const ModelRef& m) { return m.name == spec.config_from; })) {
    return Bad("config_from", absl::StrCat("no model '", spec.config_from, "'"));
  }
  return absl::OkStatus();
}

absl::Status ValidateBenchmark(const BenchmarkSpec& b, absl::string_view field) {
  if (!IsName(b.name, 63)) return Bad(field, "a name has 1 to 63 letters, digits, '-', '_' or '.'");
  // What is used may bring the data with it.
  if (b.data.empty() && b.use.empty()) return Bad(absl::StrCat(field, ".data"), "missing");
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
    if (b.name == kCostBenchmark)
      return Bad("benchmarks.cost", "'cost' stands for what a recipe costs; choose another name");
    names.insert(b.name);
  }
  for (const BenchmarkSpec& b : spec.held_out) {
    const std::string field = absl::StrCat("held_out.", b.name);
    MG_DOMAIN_CHECK(ValidateBenchmark(b, field));
    if (!names.insert(b.name).second) return Bad(field, "a benchmark of the search has this name");
  }
  return absl::OkStatus();
}

absl::Status ValidateScheduling(const JobSpec& spec) {
  if (spec.attempt_timeout < absl::Seconds(1)) {
    return Bad("attempt_timeout", absl::StrCat(absl::FormatDuration(spec.attempt_timeout), " is below 1s"));
  }
  if (spec.priority < -kPriorityMax || spec.priority > kPriorityMax) {
    return Bad("priority", absl::StrCat(spec.priority, " is not in [", -kPriorityMax, ", ", kPriorityMax, "]"));
  }
  if (!(spec.share > 0 && spec.share <= kShareMax)) {
    return Bad("share", absl::StrCat(spec.share, " is not in (0, ", kShareMax, "]"));
  }
  if (!spec.workers.device.empty() && spec.workers.device != "cpu" && spec.workers.device != "cuda") {
    return Bad("workers.device", absl::StrCat("unknown '", spec.workers.device, "'; known: cpu, cuda"));
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
  MG_DOMAIN_CHECK(ValidateScheduling(spec));
  MG_DOMAIN_CHECK(ValidateModels(spec));
  MG_DOMAIN_CHECK(ValidateStages(spec));
  MG_DOMAIN_CHECK(ValidateBenchmarks(spec));
  return ValidateGoals(spec);
}

SearchStage StageOf(const JobSpec& spec, int stage) {
  return stage == 0 ? SearchStage{spec.parameter, spec.data_flow, spec.optimizer, spec.budget} : spec.then[stage - 1];
}

std::string StageField(int stage) { return stage == 0 ? "" : absl::StrCat("then[", stage - 1, "]."); }

std::vector<std::string> SourceNames(const JobSpec& spec) {
  std::vector<std::string> names;
  const auto add = [&](const std::vector<std::string>& sources) {
    for (const std::string& name : sources) {
      const bool model = std::any_of(spec.models.begin(), spec.models.end(), [&](auto& m) { return m.name == name; });
      if (model && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  };
  for (int i = 0; i < NumStages(spec); ++i) {
    const SearchStage stage = StageOf(spec, i);
    add(stage.parameter.sources);
    if (stage.data_flow) add(stage.data_flow->sources);
  }
  return names;
}

std::string TokenizerModel(const JobSpec& spec) {
  const auto is_whole = [&](const std::string& name) {
    return std::none_of(spec.models.begin(), spec.models.end(),
                        [&](const ModelRef& model) { return model.name == name && !model.rename.empty(); });
  };
  for (int i = 0; i < NumStages(spec); ++i) {
    const SearchStage stage = StageOf(spec, i);
    if (!stage.parameter.used()) continue;
    std::vector<std::string> names = stage.parameter.sources;
    if (!stage.parameter.base.empty()) names.insert(names.begin(), stage.parameter.base);
    const auto whole = std::find_if(names.begin(), names.end(), is_whole);
    if (whole != names.end()) return *whole;
  }
  const std::vector<std::string> sources = SourceNames(spec);
  const auto source = std::find_if(sources.begin(), sources.end(), is_whole);
  if (source != sources.end()) return *source;
  // No space names the whole model that the others are parts of.
  const auto model =
      std::find_if(spec.models.begin(), spec.models.end(), [&](const ModelRef& m) { return is_whole(m.name); });
  return sources.empty() || model == spec.models.end() ? "" : model->name;
}

std::vector<std::string> SearchBenchmarks(const JobSpec& spec) {
  std::vector<std::string> names;
  for (const BenchmarkSpec& b : spec.benchmarks) {
    if (spec.finalists.count == 0 || b.name != spec.finalists.benchmark) names.push_back(b.name);
  }
  return names;
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
