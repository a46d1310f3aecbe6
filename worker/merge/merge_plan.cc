#include "worker/merge/merge_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/domain/limits.h"
#include "common/domain/merge_method_spec.h"

namespace merganser {
namespace {

absl::Status Bad(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// Checks `given` against the method's parameters of `scope`, and adds the defaults.
absl::StatusOr<std::map<std::string, double, std::less<>>> Complete(const std::map<std::string, double>& given,
                                                                    const MethodSpec& method, MethodParameter::Scope scope,
                                                                    absl::string_view where) {
  for (const auto& [name, value] : given) {
    const MethodParameter* parameter = method.Find(name);
    if (parameter == nullptr || parameter->scope != scope) {
      return Bad(where, absl::StrCat(method.name, " has no parameter '", name, "' here",
                                     DidYouMean(name, method.ParameterNames(scope))));
    }
    const absl::Status valid = CheckValue(*parameter, value);
    if (!valid.ok()) return Annotate(valid, where);
  }
  std::map<std::string, double, std::less<>> all(given.begin(), given.end());
  for (const MethodParameter& parameter : method.parameters) {
    if (parameter.scope != scope || all.contains(parameter.name)) continue;
    if (!parameter.otherwise) {
      return Bad(where, absl::StrCat(method.name, " needs parameter '", parameter.name, "'"));
    }
    all[parameter.name] = *parameter.otherwise;
  }
  return all;
}

double Get(const std::map<std::string, double, std::less<>>& values, const std::string& name, double otherwise) {
  const auto it = values.find(name);
  return it == values.end() ? otherwise : it->second;
}

absl::Status CheckDtype(const Recipe& recipe, const ArenaLayout& layout) {
  const absl::StatusOr<DType> dtype = ParseConfigDType(recipe.dtype);
  if (!dtype.ok()) return Annotate(dtype.status(), "recipe.dtype");
  for (const ArenaTensor& tensor : layout.tensors()) {
    if (tensor.dtype != *dtype) {
      return Bad("recipe.dtype", absl::StrCat(recipe.dtype, ", but tensor '", tensor.name, "' is to be stored as ",
                                              ConfigName(tensor.dtype)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int GroupOf(const Stack& stack, const TensorRole& role, absl::string_view tensor_name) {
  for (size_t g = 0; g < stack.settings.size(); ++g) {
    const TensorGroup& group = stack.settings[g].group;
    const bool belongs = role.part.has_value() ? Belongs(group, *role.part, role.layer, tensor_name)
                                               : group.parts.empty() && group.first_layer == 0 && group.end_layer < 0 &&
                                                     absl::StrContains(tensor_name, group.filter);
    if (belongs) return static_cast<int>(g);
  }
  return -1;
}

absl::StatusOr<MergeSettings> ResolveSettings(const Stack& stack, int group, const MergeMethod& method) {
  using Scope = MethodParameter::Scope;
  const GroupSettings& given = stack.settings[group];
  const MethodSpec& spec = method.spec();
  const std::string where = absl::StrCat("stack '", stack.name, "', group '", given.group.name, "'");
  if (given.source_parameters.size() != stack.sources.size()) {
    return Bad(where, absl::StrCat("parameters of ", given.source_parameters.size(), " sources; the stack has ",
                                   stack.sources.size()));
  }
  MergeSettings settings;
  double weight_sum = 0;
  for (size_t s = 0; s < stack.sources.size(); ++s) {
    const std::string at = absl::StrCat(where, ", source '", stack.sources[s], "'");
    MG_ASSIGN_OR_RETURN(auto own, Complete(given.source_parameters[s], spec, Scope::kSource, at));
    settings.weights.push_back(Get(own, "weight", 1));
    settings.densities.push_back(Get(own, "density", 1));
    weight_sum += static_cast<float>(settings.weights.back());
    const double density = settings.densities.back(), epsilon = Get(own, "epsilon", 0);
    if (density > 0 && density < 1 && epsilon > 0 && (density - epsilon <= 0 || density + epsilon >= 1)) {
      return Bad(at, absl::StrCat("density ", density, " with epsilon ", epsilon,
                                  ": density - epsilon and density + epsilon must lie in (0, 1)"));
    }
    settings.own.push_back(std::move(own));
  }
  MG_ASSIGN_OR_RETURN(settings.whole, Complete(given.parameters, spec, Scope::kMethod, where));
  settings.lambda = Get(settings.whole, "lambda", 1);
  settings.normalize = Get(settings.whole, "normalize", 0) != 0;
  settings.rescale = Get(settings.whole, "rescale", 0) != 0;
  settings.rescale_by_density = Get(settings.whole, "rescale_by_density", 0) != 0;
  if (settings.rescale_by_density && stack.arithmetic == Arithmetic::kMergekit) {
    return Bad(where, "rescale_by_density is not known to mergekit, whose arithmetic the stack asks for");
  }
  if (settings.normalize && method.divides_by_weight_sum() && static_cast<float>(weight_sum) == 0) {
    return Bad(where, "the weights sum to 0, and normalize divides by their sum");
  }
  return settings;
}

absl::StatusOr<MergePlan> MergePlan::Build(const Recipe& recipe, const Stack& stack,
                                           std::shared_ptr<const MergeSources> sources) {
  if (!recipe.path.empty()) {
    return absl::UnimplementedError("data-flow recipes: this recipe has a path of hops; only merged weights are supported");
  }
  const std::string where = absl::StrCat("stack '", stack.name, "'");
  MergePlan plan;
  MG_RETURN_IF_ERROR(CheckDtype(recipe, sources->layout()));
  if (stack.sources.empty()) return Bad(where, "no sources");
  if (stack.sources.size() > limits::kModelsMax) {
    return Bad(where, absl::StrCat(stack.sources.size(), " sources; at most ", limits::kModelsMax));
  }
  for (const std::string& source : stack.sources) {
    const int i = sources->IndexOf(source);
    if (i < 0) return Bad(where, absl::StrCat("no model '", source, "'", DidYouMean(source, sources->names())));
    if (std::find(plan.models_.begin(), plan.models_.end(), i) != plan.models_.end() || source == stack.base) {
      return Bad(where, absl::StrCat("model '", source, "' is named twice"));
    }
    plan.models_.push_back(i);
  }
  plan.sources_ = std::move(sources);
  plan.mask_seed_ = recipe.mask_seed;
  plan.arithmetic_ = stack.arithmetic;
  if (stack.method.empty()) {
    if (stack.sources.size() != 1 || !stack.base.empty()) {
      return Bad(where, "without a method it is a copy of one source; name a method to merge several");
    }
    return plan;
  }
  plan.method_ = FindMergeMethod(stack.method);
  if (plan.method_ == nullptr) {
    std::vector<std::string> known;
    for (const MergeMethod* method : AllMergeMethods()) known.emplace_back(method->name());
    return Bad(where, absl::StrCat("unknown method '", stack.method, "'", DidYouMean(stack.method, known)));
  }
  const MethodSpec& spec = plan.method_->spec();
  if (spec.base == MethodSpec::Base::kRequired && stack.base.empty())
    return Bad(where, absl::StrCat(stack.method, " needs a base"));
  if (spec.base == MethodSpec::Base::kNone && !stack.base.empty()) {
    return Bad(where, absl::StrCat(stack.method, " takes no base; name '", stack.base, "' among the sources"));
  }
  const absl::Status count = spec.CheckSourceCount(static_cast<int>(stack.sources.size()));
  if (!count.ok()) return Annotate(count, where);
  if (!stack.base.empty()) {
    const int base = plan.sources_->IndexOf(stack.base);
    if (base < 0) {
      return Bad(where, absl::StrCat("no model '", stack.base, "'", DidYouMean(stack.base, plan.sources_->names())));
    }
    plan.base_ = base;
  }
  for (size_t g = 0; g < stack.settings.size(); ++g) {
    MG_ASSIGN_OR_RETURN(MergeSettings settings, ResolveSettings(stack, static_cast<int>(g), *plan.method_));
    plan.settings_.push_back(std::move(settings));
  }
  const std::vector<ArenaTensor>& tensors = plan.sources_->layout().tensors();
  for (size_t t = 0; t < tensors.size(); ++t) {
    plan.group_of_.push_back(GroupOf(stack, plan.sources_->role(static_cast<int>(t)), tensors[t].name));
    if (plan.group_of_.back() < 0) return Bad(where, absl::StrCat("no group takes tensor '", tensors[t].name, "'"));
  }
  return plan;
}

bool MergePlan::rescales() const {
  return std::any_of(settings_.begin(), settings_.end(),
                     [](const MergeSettings& s) { return s.rescale && !s.rescale_by_density; });
}

}  // namespace merganser
