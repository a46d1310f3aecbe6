#include "worker/merge/mergekit_yaml.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/domain/job_spec.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"

namespace merganser {
namespace {

// Shortest decimal that reads back as `value`, with a point: YAML 1.1 takes "1e-05" for a string.
std::string Number(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (absl::StrContains(text, '.')) return text;
  const size_t exponent = text.find('e');
  return exponent == std::string::npos ? text + ".0" : text.insert(exponent, ".0");
}

std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const unsigned char c : text) {
    if (c == '"' || c == '\\')
      absl::StrAppend(&quoted, "\\", std::string(1, c));
    else if (c < 0x20)
      absl::StrAppend(&quoted, "\\x", absl::Hex(c, absl::kZeroPad2));
    else
      quoted += static_cast<char>(c);
  }
  return quoted + "\"";
}

// A set of tensors that one filter can select, and the group that all of them are in (-1: several).
struct Unit {
  std::string filter;
  int group;
  std::vector<std::pair<std::string, int>> tensors;  // name and group
};

std::string UnitFilter(absl::string_view tensor, const TensorRole& role) {
  if (!role.part.has_value()) return std::string(tensor);
  switch (*role.part) {
    case ModelPart::kLayers:
      return absl::StrCat("model.layers.", role.layer, ".");
    case ModelPart::kEmbedding:
      return "model.embed_tokens.";
    case ModelPart::kNorm:
      return "model.norm.";
    case ModelPart::kHead:
      return "lm_head.";
  }
  return std::string(tensor);
}

// The filters that give every tensor its group, in the order in which mergekit is to try them.
struct GroupFilter {
  std::string filter;
  int group;
};

absl::StatusOr<std::vector<GroupFilter>> GroupFilters(
    const Stack& stack, const std::vector<std::string>& tensor_names) {
  std::vector<Unit> units;
  std::map<std::string, size_t> unit_of;
  for (const std::string& name : tensor_names) {
    const TensorRole role = RoleOf(name);
    const int group = GroupOf(stack, role, name);
    if (group < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("stack '", stack.name, "': no group takes tensor '", name, "'"));
    }
    const auto [it, added] = unit_of.emplace(UnitFilter(name, role), units.size());
    if (added) units.push_back({it->first, group, {}});
    Unit& unit = units[it->second];
    if (unit.group != group) unit.group = -1;
    unit.tensors.emplace_back(name, group);
  }
  std::vector<GroupFilter> filters;
  for (const Unit& unit : units) {
    if (unit.group >= 0) {
      filters.push_back({unit.filter, unit.group});
      continue;
    }
    for (const auto& [name, group] : unit.tensors) filters.push_back({name, group});
  }
  // A name that is part of another one must come after it.
  std::stable_sort(filters.begin(), filters.end(), [](const GroupFilter& a, const GroupFilter& b) {
    return a.filter.size() > b.filter.size();
  });
  return filters;
}

std::vector<FilteredValue> GroupNumbers(const std::vector<GroupFilter>& filters) {
  std::vector<FilteredValue> groups;
  for (const GroupFilter& filter : filters)
    groups.push_back({filter.filter, static_cast<double>(filter.group)});
  return groups;
}

// The filters of a parameter that has `value_of(group)` in each group; one "*" if that is the same
// in all.
template <typename ValueOf>
std::vector<FilteredValue> Values(const std::vector<GroupFilter>& filters, ValueOf value_of) {
  std::vector<FilteredValue> values;
  for (const GroupFilter& filter : filters)
    values.push_back({filter.filter, value_of(filter.group)});
  const auto differs = [&](const FilteredValue& v) { return v.value != values[0].value; };
  if (std::none_of(values.begin(), values.end(), differs)) return {{"*", values[0].value}};
  return values;
}

// Appends "indent name: value", or a list of filters.
void AppendParameter(const std::string& indent, absl::string_view name, bool is_switch,
                     const std::vector<FilteredValue>& values, std::string& yaml) {
  const auto text = [&](double value) {
    return is_switch ? (value != 0 ? "true" : "false") : Number(value);
  };
  if (values.size() == 1) {
    absl::StrAppend(&yaml, indent, name, ": ", text(values[0].value), "\n");
    return;
  }
  absl::StrAppend(&yaml, indent, name, ":\n");
  for (const FilteredValue& value : values) {
    absl::StrAppend(&yaml, indent, "  - {filter: ", Quoted(value.filter),
                    ", value: ", text(value.value), "}\n");
  }
}

}  // namespace

const FilteredValue* FirstMatch(const std::vector<FilteredValue>& values,
                                absl::string_view tensor_name) {
  for (const FilteredValue& value : values) {
    if (value.filter == "*" || absl::StrContains(tensor_name, value.filter)) return &value;
  }
  return nullptr;
}

absl::StatusOr<MergekitYaml> WriteMergekitYaml(const Recipe& recipe,
                                               const std::vector<std::string>& tensor_names) {
  if (!recipe.path.empty())
    return MergekitYaml{std::nullopt, "a path of hops with scales has no form in mergekit"};
  if (recipe.stacks.empty()) return absl::InvalidArgumentError("the recipe has no stack");
  if (tensor_names.empty()) return absl::InvalidArgumentError("no tensor names");
  const Stack& stack = recipe.stacks[0];
  const auto path_of = [&](const std::string& name) -> std::string {
    for (const ModelRef& model : recipe.models) {
      if (model.name == name) return Quoted(model.path);
    }
    return "";
  };
  std::vector<std::string> used = stack.sources;
  if (!stack.base.empty()) used.push_back(stack.base);
  if (!recipe.tokenizer_from.empty()) used.push_back(recipe.tokenizer_from);
  for (const std::string& name : used) {
    if (path_of(name).empty())
      return absl::InvalidArgumentError(absl::StrCat("the recipe has no model '", name, "'"));
  }
  // mergekit copies the tokenizer of its base_model.
  std::string donor = stack.base;
  const bool donor_is_source = std::find(stack.sources.begin(), stack.sources.end(),
                                         recipe.tokenizer_from) != stack.sources.end();
  if (donor.empty())
    donor = donor_is_source ? recipe.tokenizer_from : stack.sources.empty() ? "" : stack.sources[0];
  const bool other_tokenizer = !recipe.tokenizer_from.empty() && recipe.tokenizer_from != donor;
  if (other_tokenizer && !donor_is_source) {
    return MergekitYaml{
        std::nullopt,
        absl::StrCat("the tokenizer comes from '", recipe.tokenizer_from,
                     "', which is not merged; mergekit takes it from a merged model only")};
  }

  const std::string dtypes = absl::StrCat("dtype: float32\nout_dtype: ", recipe.dtype, "\n");
  const std::string tokenizer =
      other_tokenizer ? absl::StrCat("tokenizer_source: ", path_of(recipe.tokenizer_from), "\n")
                      : "";
  if (stack.method.empty()) {
    if (stack.sources.size() != 1)
      return absl::InvalidArgumentError("a stack without a method is a copy of one source");
    return MergekitYaml{absl::StrCat("merge_method: passthrough\n", dtypes,
                                     "models:\n  - model: ", path_of(stack.sources[0]), "\n"),
                        ""};
  }
  const MergeMethod* method = FindMergeMethod(stack.method);
  const MethodSignature* signature = FindMethod(stack.method);
  if (method == nullptr || signature == nullptr) {
    std::vector<std::string> known;
    for (const MergeMethod* m : AllMergeMethods()) known.emplace_back(m->name());
    return absl::InvalidArgumentError(absl::StrCat("stack '", stack.name, "': unknown method '",
                                                   stack.method, "'",
                                                   DidYouMean(stack.method, known)));
  }
  std::vector<MergeSettings> settings;
  for (size_t g = 0; g < stack.settings.size(); ++g) {
    MG_ASSIGN_OR_RETURN(MergeSettings one, ResolveSettings(stack, static_cast<int>(g), *method));
    settings.push_back(std::move(one));
  }
  MG_ASSIGN_OR_RETURN(const std::vector<GroupFilter> filters, GroupFilters(stack, tensor_names));
  // Substrings may catch more than they are meant to (a vision tower with layers of the same
  // names).
  const std::vector<FilteredValue> groups = GroupNumbers(filters);
  for (const std::string& name : tensor_names) {
    const FilteredValue* match = FirstMatch(groups, name);
    if (match == nullptr || match->value != GroupOf(stack, RoleOf(name), name)) {
      return MergekitYaml{std::nullopt,
                          absl::StrCat("no list of filters selects tensor '", name, "' alone")};
    }
  }
  const auto takes = [](const std::vector<std::string>& names, absl::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };

  std::string yaml;
  if (method->statistic() == MergeMethod::Statistic::kRandomMask) {
    yaml = "# mergekit draws random masks of its own: alike in distribution, not equal weights.\n";
  }
  absl::StrAppend(&yaml, "merge_method: ", stack.method, "\nbase_model: ", path_of(donor), "\n",
                  dtypes, tokenizer, "models:\n");
  for (size_t s = 0; s < stack.sources.size(); ++s) {
    absl::StrAppend(&yaml, "  - model: ", path_of(stack.sources[s]), "\n    parameters:\n");
    AppendParameter("      ", "weight", false,
                    Values(filters, [&](int g) { return settings[g].weights[s]; }), yaml);
    if (takes(signature->source_parameters, "density")) {
      AppendParameter("      ", "density", false,
                      Values(filters, [&](int g) { return settings[g].densities[s]; }), yaml);
    }
  }
  std::string shared;
  if (takes(signature->parameters, "lambda")) {
    AppendParameter("  ", "lambda", false,
                    Values(filters, [&](int g) { return settings[g].lambda; }), shared);
  }
  if (takes(signature->parameters, "normalize")) {
    AppendParameter("  ", "normalize", true,
                    Values(filters, [&](int g) { return double(settings[g].normalize); }), shared);
  }
  if (takes(signature->parameters, "rescale")) {
    AppendParameter("  ", "rescale", true,
                    Values(filters, [&](int g) { return double(settings[g].rescale); }), shared);
  }
  if (!shared.empty()) absl::StrAppend(&yaml, "parameters:\n", shared);
  return MergekitYaml{yaml, ""};
}

}  // namespace merganser
