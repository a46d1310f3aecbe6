#include "worker/merge/mergekit_slices.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architectures.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/name_filter.h"

namespace merganser {
namespace {

constexpr char kScale[] = "scale";  // of passthrough

// Values of one tensor: of each source its parameters, then the shared ones, in the method's order. Absent: not said, and
// the method's default.
using Values = std::vector<std::optional<double>>;

struct SliceTensor {
  std::string key;  // what a filter can select it by, in every layer of the slice
  Values values;
  std::vector<std::string> own_names;  // in each source, which its own parameters are matched with
  std::string out_name;                // in the result, which shared ones are matched with
};

// Filters that give each tensor its value: those of the less frequent values, then one for the rest. Empty where no tensor
// has one; nullopt where no filters do it.
std::optional<std::vector<FilteredValue>> FindFilters(const std::vector<SliceTensor>& tensors, size_t column,
                                                      const std::vector<std::string>& names) {
  std::map<double, int> counts;
  bool absent = false;
  for (const SliceTensor& tensor : tensors) {
    absent |= !tensor.values[column];
    if (tensor.values[column]) ++counts[*tensor.values[column]];
  }
  if (counts.empty()) return std::vector<FilteredValue>();
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  const double usual = std::max_element(counts.begin(), counts.end(), by_count)->first;
  for (const bool short_form : {true, false}) {
    std::vector<FilteredValue> values;
    for (const SliceTensor& tensor : tensors) {
      if (!tensor.values[column] || (short_form && !absent && *tensor.values[column] == usual)) continue;
      const FilteredValue one{tensor.key, *tensor.values[column]};
      if (std::find(values.begin(), values.end(), one) == values.end()) values.push_back(one);
    }
    // A name that is part of another one must come after it.
    std::sort(values.begin(), values.end(), [](const FilteredValue& a, const FilteredValue& b) {
      return a.filter.size() != b.filter.size() ? a.filter.size() > b.filter.size() : a.filter < b.filter;
    });
    if (short_form && !absent) values.push_back({"*", usual});
    bool selects = true;
    for (size_t i = 0; i < tensors.size() && selects; ++i) {
      const FilteredValue* match = FirstMatch(values, names[i]);
      selects = (match == nullptr ? std::optional<double>() : match->value) == tensors[i].values[column];
    }
    if (selects) return values;
  }
  return std::nullopt;
}

class Slicer {
 public:
  Slicer(const Recipe& recipe, const std::vector<std::string>& tensor_names, const MergekitFacts& facts)
      : recipe_(recipe), names_(tensor_names), facts_(facts), roles_(TensorRoles::Infer(tensor_names)), path_(recipe.path) {
    if (!path_.empty()) return;
    for (int layer = 0; layer < roles_.Layers(names_); ++layer) path_.push_back({0, layer, 1.0});
  }

  absl::StatusOr<RecipeSlices> Slice() {
    MG_ASSIGN_OR_RETURN(const int embedding, StackNamed(recipe_.embedding_from, "embedding_from"));
    MG_ASSIGN_OR_RETURN(const int head, StackNamed(recipe_.head_from, "head_from"));
    std::set<int> used = {embedding, head};
    for (const Hop& hop : path_) used.insert(hop.stack);
    MG_RETURN_IF_ERROR(FindMethod(used));
    if (!Unsayable(used)) {
      MG_RETURN_IF_ERROR(AddSlices(embedding, head));
    }
    return std::move(result_);
  }

 private:
  absl::StatusOr<int> StackNamed(const std::string& name, absl::string_view field) const {
    if (name.empty()) return 0;
    for (size_t s = 0; s < recipe_.stacks.size(); ++s) {
      if (recipe_.stacks[s].name == name) return static_cast<int>(s);
    }
    return absl::InvalidArgumentError(absl::StrCat(field, ": the recipe has no stack '", name, "'"));
  }

  absl::Status FindMethod(const std::set<int>& used) {
    std::string name;
    for (const int s : used) {
      const Stack& stack = recipe_.stacks[s];
      if (stack.method.empty()) continue;
      MG_RETURN_IF_ERROR(CheckedMethod(stack).status());
      if (!name.empty() && name != stack.method)
        Say(absl::StrCat("slices of mergekit have one method; here are ", name, " and ", stack.method));
      name = stack.method;
    }
    result_.method = FindMethodSpec(name.empty() ? "passthrough" : name);
    return absl::OkStatus();
  }

  void Say(std::string reason) {
    if (result_.reason.empty()) result_.reason = std::move(reason);
  }

  // True where a reason was found.
  bool Unsayable(const std::set<int>& used) {
    const bool passes = result_.method->name == "passthrough";
    bool mergekit_arithmetic = false;
    const Stack* first = nullptr;  // of those that merge
    for (const int s : used) {
      const Stack& stack = recipe_.stacks[s];
      if (stack.method.empty()) {
        // Of one model, linear is a copy; a task vector is subtracted and added again.
        if (!passes && result_.method->name != "linear")
          Say(absl::StrCat("slices of mergekit have one method, and ", result_.method->name, " does not copy stack '",
                           stack.name, "'"));
        continue;
      }
      mergekit_arithmetic |= stack.arithmetic == Arithmetic::kMergekit;
      if (first == nullptr) first = &stack;
      if (stack.arithmetic != first->arithmetic) Say("slices of mergekit have one dtype to compute in");
      if (stack.base.empty() != first->base.empty()) Say("slices of mergekit have a base in all of them or in none");
      for (const MethodParameter& parameter : result_.method->parameters) {
        if (!parameter.in_mergekit && IsGiven(stack, parameter.name))
          Say(absl::StrCat(result_.method->name, " of mergekit has no parameter '", parameter.name, "'"));
      }
    }
    if (path_.empty()) Say("the recipe has no layer");
    for (size_t i = 0; i < path_.size(); ++i) {
      if (path_[i].scale == 1.0) continue;
      const std::string scale = absl::StrCat("path[", i, "].scale: ");
      if (!passes)
        Say(absl::StrCat(scale, "mergekit scales only what passthrough copies, and this is a path of ",
                         result_.method->name));
      if (mergekit_arithmetic)
        Say(absl::StrCat(scale, "mergekit rounds to its dtype before it scales, and the export after"));
      if (i == 0 && facts_.reheaded) Say(absl::StrCat(scale, "mergekit does not untie a head from its embedding"));
      if (i > 0 && facts_.norm_plus_one)
        Say(absl::StrCat(
            scale, "the norm behind the MLP applies 1 + weight, which mergekit's scale of the weight does not multiply"));
      if (i > 0 && facts_.mlp_output.empty())
        Say(absl::StrCat(scale, "the last operation of the MLP is not known for this architecture"));
    }
    for (const std::string& name : names_) {
      if (!roles_.Of(name).part && HasNumber(name)) {
        Say("mergekit takes no slices of a model with layers of two kinds (a vision tower's beside the decoder's)");
        break;
      }
    }
    return !result_.reason.empty();
  }

  static bool IsGiven(const Stack& stack, const std::string& parameter) {
    return std::any_of(stack.settings.begin(), stack.settings.end(), [&](const GroupSettings& group) {
      return group.parameters.count(parameter) > 0 ||
             std::any_of(group.source_parameters.begin(), group.source_parameters.end(),
                         [&](const auto& own) { return own.count(parameter) > 0; });
    });
  }

  // ".12." in it.
  static bool HasNumber(const std::string& name) {
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      const size_t end = name.find_first_not_of("0123456789", dot + 1);
      if (end != std::string::npos && end > dot + 1 && name[end] == '.') return true;
    }
    return false;
  }

  std::vector<const MethodParameter*> Parameters(MethodParameter::Scope scope) const {
    std::vector<const MethodParameter*> found;
    for (const MethodParameter& parameter : result_.method->parameters) {
      if (parameter.scope == scope && parameter.in_mergekit) found.push_back(&parameter);
    }
    return found;
  }

  // The tensor that is called `stack_name` in the stack and `out_name` in the result; `fold` multiplies it.
  absl::StatusOr<SliceTensor> Tensor(int s, const std::string& stack_name, const std::string& out_name, double fold) {
    const Stack& stack = recipe_.stacks[s];
    const TensorRole role = roles_.Of(stack_name);
    SliceTensor tensor;
    tensor.out_name = out_name;
    tensor.key = role.part == ModelPart::kLayers ? std::string(InLayer(stack_name, role.layer)) : stack_name;
    for (const std::string& source : stack.sources) {
      const auto offset = stack.layer_offsets.find(source);
      tensor.own_names.push_back(
          WithLayer(stack_name, role, role.layer + (offset == stack.layer_offsets.end() ? 0 : offset->second)));
    }
    const int group = stack.method.empty() ? -1 : GroupOf(stack, role, stack_name);
    if (group < 0 && !stack.method.empty())
      return absl::InvalidArgumentError(absl::StrCat("stack '", stack.name, "': no group takes tensor '", stack_name, "'"));
    const auto value = [&](const std::map<std::string, double>* given, const MethodParameter& parameter) -> double {
      if (given != nullptr && given->count(parameter.name) > 0) return given->at(parameter.name);
      return parameter.otherwise.value_or(0);
    };
    for (size_t source = 0; source < stack.sources.size(); ++source) {
      for (const MethodParameter* parameter : Parameters(MethodParameter::Scope::kSource)) {
        const bool given = group >= 0 && source < stack.settings[group].source_parameters.size();
        double number = value(given ? &stack.settings[group].source_parameters[source] : nullptr, *parameter);
        std::optional<double>& said = tensor.values.emplace_back();
        if (parameter->name != kScale) {
          said = number;
          continue;
        }
        if (number != 1 && fold != 1)
          Say(absl::StrCat("tensor '", out_name, "' is scaled twice, by passthrough and by a hop, and rounded only once"));
        number *= fold;
        if (number != 1) said = number;
      }
    }
    for (const MethodParameter* parameter : Parameters(MethodParameter::Scope::kMethod))
      tensor.values.push_back(value(group >= 0 ? &stack.settings[group].parameters : nullptr, *parameter));
    return tensor;
  }

  bool IsMlpOutput(absl::string_view in_layer) const {
    return std::any_of(facts_.mlp_output.begin(), facts_.mlp_output.end(),
                       [&](const std::string& pattern) { return MatchesPattern(in_layer, pattern); });
  }

  // Tensors of the path's hop number `hop`.
  absl::StatusOr<std::vector<SliceTensor>> TensorsOf(int hop) {
    std::vector<SliceTensor> tensors;
    const double scale = hop + 1 < static_cast<int>(path_.size()) ? path_[hop + 1].scale : 1.0;
    for (const std::string& name : names_) {
      const TensorRole role = roles_.Of(name);
      if (role.part != ModelPart::kLayers || role.layer != hop) continue;
      const std::string stack_name = WithLayer(name, role, path_[hop].layer);
      const bool scaled = scale != 1 && IsMlpOutput(InLayer(stack_name, path_[hop].layer));
      MG_ASSIGN_OR_RETURN(SliceTensor tensor, Tensor(path_[hop].stack, stack_name, name, scaled ? scale : 1.0));
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  // Tensors outside of layers, which the first slice gives, or the last one.
  absl::StatusOr<std::vector<SliceTensor>> OtherTensors(int stack, bool end) {
    std::vector<SliceTensor> tensors;
    for (const std::string& name : names_) {
      const auto part = roles_.Of(name).part;
      if (part == ModelPart::kLayers || (part == ModelPart::kNorm || part == ModelPart::kHead) != end) continue;
      const double scale = part == ModelPart::kEmbedding ? path_[0].scale : 1.0;
      MG_ASSIGN_OR_RETURN(tensors.emplace_back(), Tensor(stack, name, name, scale));
    }
    return tensors;
  }

  // Adds a layer's tensors to what its slice says of tensors by their keys. False, and nothing is added, if the slice would
  // say two things of one key.
  static bool Join(const std::vector<SliceTensor>& layer, std::map<std::string, Values>& said) {
    for (const SliceTensor& tensor : layer) {
      const auto it = said.find(tensor.key);
      if (it != said.end() && it->second != tensor.values) return false;
    }
    for (const SliceTensor& tensor : layer) said.emplace(tensor.key, tensor.values);
    return true;
  }

  absl::Status AddSlices(int embedding, int head) {
    struct Run {
      RecipeSlice slice;
      std::vector<SliceTensor> tensors;
      std::map<std::string, Values> said;  // of its layers
    };
    std::vector<Run> runs;
    for (size_t i = 0; i < path_.size(); ++i) {
      MG_ASSIGN_OR_RETURN(std::vector<SliceTensor> tensors, TensorsOf(static_cast<int>(i)));
      const Hop& hop = path_[i];
      const bool follows = !runs.empty() && runs.back().slice.stack == hop.stack &&
                           runs.back().slice.first_layer + runs.back().slice.layers == hop.layer;
      if (!follows || !Join(tensors, runs.back().said)) {
        runs.push_back(Run{{hop.stack, hop.layer, 0, {}, {}}, {}, {}});
        Join(tensors, runs.back().said);
      }
      ++runs.back().slice.layers;
      runs.back().tensors.insert(runs.back().tensors.end(), tensors.begin(), tensors.end());
    }
    if (path_[0].stack != embedding) runs.insert(runs.begin(), Run{{embedding, 0, 0, {}, {}}, {}, {}});
    if (path_.back().stack != head) runs.push_back(Run{{head, 0, 0, {}, {}}, {}, {}});
    MG_ASSIGN_OR_RETURN(const std::vector<SliceTensor> begin, OtherTensors(embedding, false));
    MG_ASSIGN_OR_RETURN(const std::vector<SliceTensor> end, OtherTensors(head, true));
    runs.front().tensors.insert(runs.front().tensors.end(), begin.begin(), begin.end());
    runs.back().tensors.insert(runs.back().tensors.end(), end.begin(), end.end());
    // mergekit counts the inputs of norm and head by the first slice.
    if (recipe_.stacks[embedding].sources.size() < recipe_.stacks[head].sources.size())
      Say("mergekit merges no more models for norm and head than in the first slice");
    for (Run& run : runs) {
      AddParameters(run.tensors, run.slice);
      result_.slices.push_back(std::move(run.slice));
    }
    return absl::OkStatus();
  }

  void AddParameters(const std::vector<SliceTensor>& tensors, RecipeSlice& slice) {
    size_t column = 0;
    const auto add = [&](const MethodParameter* parameter, const std::vector<std::string>& names,
                         std::vector<SliceParameter>& to) {
      const auto values = FindFilters(tensors, column++, names);
      if (!values)
        Say(absl::StrCat("no list of filters gives '", parameter->name, "' of layer ", slice.first_layer, " its values"));
      if (values && !values->empty()) to.push_back({parameter, *values});
    };
    for (size_t s = 0; s < recipe_.stacks[slice.stack].sources.size(); ++s) {
      std::vector<std::string> names;
      for (const SliceTensor& tensor : tensors) names.push_back(tensor.own_names[s]);
      slice.sources.emplace_back();
      for (const MethodParameter* parameter : Parameters(MethodParameter::Scope::kSource))
        add(parameter, names, slice.sources.back());
    }
    std::vector<std::string> names;
    for (const SliceTensor& tensor : tensors) names.push_back(tensor.out_name);
    for (const MethodParameter* parameter : Parameters(MethodParameter::Scope::kMethod)) add(parameter, names, slice.shared);
  }

  const Recipe& recipe_;
  const std::vector<std::string>& names_;
  const MergekitFacts& facts_;
  const TensorRoles roles_;
  std::vector<Hop> path_;
  RecipeSlices result_{"", nullptr, {}};
};

}  // namespace

absl::StatusOr<const MergeMethod*> CheckedMethod(const Stack& stack) {
  const MergeMethod* method = FindMergeMethod(stack.method);
  if (method == nullptr) {
    std::vector<std::string> known;
    for (const MergeMethod* m : AllMergeMethods()) known.emplace_back(m->name());
    return absl::InvalidArgumentError(
        absl::StrCat("stack '", stack.name, "': unknown method '", stack.method, "'", DidYouMean(stack.method, known)));
  }
  for (size_t g = 0; g < stack.settings.size(); ++g)
    MG_RETURN_IF_ERROR(ResolveSettings(stack, static_cast<int>(g), *method).status());
  return method;
}

absl::StatusOr<RecipeSlices> SliceRecipe(const Recipe& recipe, const std::vector<std::string>& tensor_names,
                                         const MergekitFacts& facts) {
  return Slicer(recipe, tensor_names, facts).Slice();
}

}  // namespace merganser
