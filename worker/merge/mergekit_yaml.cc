#include "worker/merge/mergekit_yaml.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/domain/merge_method_spec.h"
#include "common/transfer/checkpoint_files.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit_slices.h"

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

// What selects the tensors of one layer, or of one part outside of layers: "model.layers.3.", "model.norm.".
std::string UnitFilter(const std::string& tensor, const TensorRole& role) {
  if (!role.part.has_value()) return tensor;
  if (role.part == ModelPart::kLayers) {
    const std::string number = absl::StrCat(".", role.layer, ".");
    return tensor.substr(0, tensor.find(number) + number.size());
  }
  return tensor.substr(0, tensor.rfind('.') + 1);
}

// The filters that give every tensor its group, in the order in which mergekit is to try them.
struct GroupFilter {
  std::string filter;
  int group;
};

absl::StatusOr<std::vector<GroupFilter>> GroupFilters(const Stack& stack, const std::vector<std::string>& tensor_names) {
  std::vector<Unit> units;
  std::map<std::string, size_t> unit_of;
  const TensorRoles roles = TensorRoles::Infer(tensor_names);
  for (const std::string& name : tensor_names) {
    const TensorRole role = roles.Of(name);
    const int group = GroupOf(stack, role, name);
    if (group < 0) {
      return absl::InvalidArgumentError(absl::StrCat("stack '", stack.name, "': no group takes tensor '", name, "'"));
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
  std::stable_sort(filters.begin(), filters.end(),
                   [](const GroupFilter& a, const GroupFilter& b) { return a.filter.size() > b.filter.size(); });
  return filters;
}

std::vector<FilteredValue> GroupNumbers(const std::vector<GroupFilter>& filters) {
  std::vector<FilteredValue> groups;
  for (const GroupFilter& filter : filters) groups.push_back({filter.filter, static_cast<double>(filter.group)});
  return groups;
}

// The filters of a parameter that has `value_of(group)` in each group; one "*" if that is the same
// in all.
template <typename ValueOf>
std::vector<FilteredValue> Values(const std::vector<GroupFilter>& filters, ValueOf value_of) {
  std::vector<FilteredValue> values;
  for (const GroupFilter& filter : filters) values.push_back({filter.filter, value_of(filter.group)});
  const auto differs = [&](const FilteredValue& v) { return v.value != values[0].value; };
  if (std::none_of(values.begin(), values.end(), differs)) return {{"*", values[0].value}};
  return values;
}

// Appends "indent name: value", or a list of filters.
void AppendParameter(const std::string& indent, absl::string_view name, MethodParameter::Kind kind,
                     const std::vector<FilteredValue>& values, std::string& yaml) {
  const auto text = [&](double value) {
    if (kind == MethodParameter::Kind::kSwitch) return std::string(value != 0 ? "true" : "false");
    return kind == MethodParameter::Kind::kInteger ? absl::StrCat(value) : Number(value);
  };
  if (values.size() == 1 && values[0].filter == "*") {
    absl::StrAppend(&yaml, indent, name, ": ", text(values[0].value), "\n");
    return;
  }
  absl::StrAppend(&yaml, indent, name, ":\n");
  for (const FilteredValue& value : values) {
    absl::StrAppend(&yaml, indent, "  - {filter: ", Quoted(value.filter), ", value: ", text(value.value), "}\n");
  }
}

}  // namespace

const FilteredValue* FirstMatch(const std::vector<FilteredValue>& values, absl::string_view tensor_name) {
  for (const FilteredValue& value : values) {
    if (value.filter == "*" || absl::StrContains(tensor_name, value.filter)) return &value;
  }
  return nullptr;
}

namespace {

double Given(const std::map<std::string, double>& values, const std::string& name, double otherwise) {
  const auto it = values.find(name);
  return it == values.end() ? otherwise : it->second;
}

class Writer {
 public:
  Writer(const Recipe& recipe, const std::vector<std::string>& tensor_names, const MergekitFacts& facts)
      : recipe_(recipe), tensor_names_(tensor_names), facts_(facts) {}

  absl::StatusOr<MergekitYaml> Write() {
    if (recipe_.stacks.empty()) return absl::InvalidArgumentError("the recipe has no stack");
    if (tensor_names_.empty()) return absl::InvalidArgumentError("no tensor names");
    MG_RETURN_IF_ERROR(CheckModels());
    std::string reason = Unsayable();
    if (reason.empty()) reason = ChooseDonor();
    if (!reason.empty()) return MergekitYaml{std::nullopt, reason};
    MG_ASSIGN_OR_RETURN(reason, WholeModels() ? WriteModels() : WriteSlices());
    if (!reason.empty()) return MergekitYaml{std::nullopt, reason};
    WriteTokenizer();
    return MergekitYaml{std::move(yaml_), ""};
  }

 private:
  const ModelRef* Find(const std::string& name) const {
    for (const ModelRef& model : recipe_.models) {
      if (model.name == name) return &model;
    }
    return nullptr;
  }

  bool IsStack(const std::string& name) const {
    return std::any_of(recipe_.stacks.begin(), recipe_.stacks.end(), [&](const Stack& s) { return s.name == name; });
  }

  std::string Reference(const std::string& name) const {
    const ModelRef& model = *Find(name);
    const std::string path = SplitContent(model.path).first;  // the content says nothing to mergekit
    return Quoted(model.lora.empty() ? path : absl::StrCat(path, "+", model.lora));
  }

  const Stack& first() const { return recipe_.stacks[0]; }

  // The layers of one stack, which also gives embedding and head.
  bool WholeModels() const {
    const auto is_first = [&](const std::string& name) { return name.empty() || name == first().name; };
    return recipe_.path.empty() && first().layer_offsets.empty() && is_first(recipe_.embedding_from) &&
           is_first(recipe_.head_from);
  }

  absl::Status CheckModels() const {
    std::vector<std::string> used;
    for (const Stack& stack : recipe_.stacks) {
      used.insert(used.end(), stack.sources.begin(), stack.sources.end());
      if (!stack.base.empty()) used.push_back(stack.base);
      if (stack.method.empty() && stack.sources.size() != 1)
        return absl::InvalidArgumentError("a stack without a method is a copy of one source");
    }
    if (!recipe_.tokenizer_from.empty()) used.push_back(recipe_.tokenizer_from);
    for (const std::string& name : used) {
      if (Find(name) == nullptr && !IsStack(name))
        return absl::InvalidArgumentError(absl::StrCat("the recipe has no model '", name, "'"));
    }
    return absl::OkStatus();
  }

  // Why mergekit has no words for the recipe; "" if it may have.
  std::string Unsayable() const {
    for (const Hop& hop : recipe_.path) {
      if (hop.stack < 0 || hop.stack >= static_cast<int>(recipe_.stacks.size()))
        return "the path names a stack that is not there";
    }
    for (const Stack& stack : recipe_.stacks) {
      for (const std::string& source : stack.sources) {
        if (Find(source) == nullptr) return "a merge of a merge has no form in mergekit";
      }
      if (!stack.base.empty() && Find(stack.base) == nullptr) return "a merge of a merge has no form in mergekit";
    }
    if (!recipe_.vocabulary_from.empty()) return "vocabulary_from has no form in mergekit; a tokenizer block has";
    if (!recipe_.head.empty() && facts_.reheaded) return "mergekit does not choose between tied and untied heads";
    if (!recipe_.config_from.empty() && recipe_.config_from != recipe_.tokenizer_from)
      return "a config of another model than the tokenizer's has no form in mergekit";
    for (const ModelRef& model : recipe_.models) {
      if (!model.rename.empty()) return "mergekit does not rename tensors";
      if (absl::StrContains(model.path, "+") || absl::StrContains(model.lora, "+"))
        return absl::StrCat("the path '", model.path, "' holds a '+', which mergekit takes for an adapter");
    }
    return "";
  }

  // mergekit copies the tokenizer of its base_model.
  std::string ChooseDonor() {
    const Stack& stack = recipe_.stacks[recipe_.path.empty() ? 0 : recipe_.path[0].stack];
    const std::string& wanted = recipe_.tokenizer_from;
    bool merged = false;
    for (const Stack& one : recipe_.stacks)
      merged |= std::find(one.sources.begin(), one.sources.end(), wanted) != one.sources.end();
    donor_ = stack.base;
    if (donor_.empty()) donor_ = merged ? wanted : stack.sources.empty() ? "" : stack.sources[0];
    if (!recipe_.tokenizer.source.empty()) {
      if (std::string reason = ChooseRows(stack); !reason.empty()) return reason;
    }
    other_tokenizer_ = !wanted.empty() && wanted != donor_;
    if (other_tokenizer_ && !merged) {
      return absl::StrCat("the tokenizer comes from '", wanted,
                          "', which is not merged; mergekit takes it from a merged model only");
    }
    return "";
  }

  // Where several of mergekit's models know a token, the rows of its base_model stand in, and without one the mean.
  std::string ChooseRows(const Stack& stack) {
    std::string wanted = stack.base;
    for (const TokenRule& rule : recipe_.tokenizer.tokens) {
      if (rule.token.empty()) wanted = rule.model;
    }
    const MethodSpec* method = FindMethodSpec(stack.method);
    const bool takes_base = method != nullptr && method->base != MethodSpec::Base::kNone;
    const bool merged = std::find(stack.sources.begin(), stack.sources.end(), wanted) != stack.sources.end();
    if (!wanted.empty() && wanted != stack.base && (takes_base || !merged)) {
      return absl::StrCat("the rows of '", wanted, "' stand in for tokens; those of mergekit's base_model do");
    }
    if (!wanted.empty()) donor_ = wanted;
    means_ = wanted.empty() && stack.sources.size() > 2;  // of two that know a token none is left that lacks it
    return "";
  }

  // mergekit computes in `dtype`.
  std::string Types(const Stack& stack) const {
    if (stack.arithmetic == Arithmetic::kMergekit) return absl::StrCat("dtype: ", recipe_.dtype, "\n");
    return absl::StrCat("dtype: float32\nout_dtype: ", recipe_.dtype, "\n");
  }

  static bool IsGiven(const Stack& stack, const std::string& parameter) {
    return std::any_of(stack.settings.begin(), stack.settings.end(), [&](const GroupSettings& group) {
      return group.parameters.count(parameter) > 0 ||
             std::any_of(group.source_parameters.begin(), group.source_parameters.end(),
                         [&](const auto& own) { return own.count(parameter) > 0; });
    });
  }

  // mergekit comes to a layer when it has loaded the last of its sources' by name. False: layers wait for the same one, and
  // which of them is first depends on Python's hash tables.
  bool HasOneOrder() const {
    std::set<std::string> turns;
    const auto has_own_turn = [&](const Hop& hop) {
      const Stack& stack = recipe_.stacks[hop.stack];
      std::string last = absl::StrCat(hop.layer, ".");
      for (const auto& [source, offset] : stack.layer_offsets) last = std::max(last, absl::StrCat(hop.layer + offset, "."));
      return turns.insert(last).second;
    };
    return !recipe_.path.empty() && std::all_of(recipe_.path.begin(), recipe_.path.end(), has_own_turn);
  }

  // `same`: the masks are mergekit's.
  void WriteSeed(const MethodSpec& spec, bool same) {
    const MergeMethod* method = FindMergeMethod(spec.name);
    if (method == nullptr || !method->random()) return;
    if (same) {
      absl::StrAppend(&yaml_, "# The weights of this recipe are those of mergekit run with --random-seed ",
                      recipe_.mask_seed, ".\n");
    } else {
      yaml_ = "# mergekit draws random masks of its own: alike in distribution, not equal weights.\n";
    }
  }

  absl::StatusOr<std::string> WriteModels() {
    const Stack& stack = first();
    if (stack.method.empty()) {
      absl::StrAppend(&yaml_, "merge_method: passthrough\n", Types(stack),
                      "models:\n  - model: ", Reference(stack.sources[0]), "\n");
      return "";
    }
    MG_ASSIGN_OR_RETURN(const MergeMethod* const method, CheckedMethod(stack));
    const MethodSpec& spec = method->spec();
    for (const MethodParameter& parameter : spec.parameters) {
      if (!parameter.in_mergekit && IsGiven(stack, parameter.name))
        return absl::StrCat(spec.name, " of mergekit has no parameter '", parameter.name, "'");
    }
    MG_ASSIGN_OR_RETURN(const std::vector<GroupFilter> filters, GroupFilters(stack, tensor_names_));
    // Substrings may catch more than they are meant to (a vision tower with layers of the same
    // names).
    const std::vector<FilteredValue> groups = GroupNumbers(filters);
    const TensorRoles roles = TensorRoles::Infer(tensor_names_);
    for (const std::string& name : tensor_names_) {
      const FilteredValue* match = FirstMatch(groups, name);
      if (match == nullptr || match->value != GroupOf(stack, roles.Of(name), name))
        return absl::StrCat("no list of filters selects tensor '", name, "' alone");
    }
    WriteSeed(spec, stack.arithmetic == Arithmetic::kMergekit);
    absl::StrAppend(&yaml_, "merge_method: ", stack.method, "\n");
    WriteBase(stack, spec);
    absl::StrAppend(&yaml_, Types(stack), "models:\n");
    for (size_t s = 0; s < stack.sources.size(); ++s) {
      absl::StrAppend(&yaml_, "  - model: ", Reference(stack.sources[s]), "\n");
      std::string parameters;
      for (const MethodParameter& parameter : spec.parameters) {
        if (parameter.scope != MethodParameter::Scope::kSource || !parameter.in_mergekit) continue;
        AppendParameter("      ", parameter.name, parameter.kind,
                        Values(filters,
                               [&](int g) {
                                 return Given(stack.settings[g].source_parameters[s], parameter.name,
                                              parameter.otherwise.value_or(0));
                               }),
                        parameters);
      }
      if (!parameters.empty()) absl::StrAppend(&yaml_, "    parameters:\n", parameters);
    }
    std::string shared;
    for (const MethodParameter& parameter : spec.parameters) {
      if (parameter.scope != MethodParameter::Scope::kMethod || !parameter.in_mergekit) continue;
      AppendParameter("  ", parameter.name, parameter.kind,
                      Values(filters,
                             [&](int g) {
                               return Given(stack.settings[g].parameters, parameter.name, parameter.otherwise.value_or(0));
                             }),
                      shared);
    }
    if (!shared.empty()) absl::StrAppend(&yaml_, "parameters:\n", shared);
    return "";
  }

  // Without a base of its own the donor of config and tokenizer is named there; but not where a base would change the merge.
  void WriteBase(const Stack& stack, const MethodSpec& spec) {
    if (means_ || (stack.base.empty() && spec.base == MethodSpec::Base::kOptional)) {
      other_tokenizer_ = true;
    } else {
      absl::StrAppend(&yaml_, "base_model: ", Reference(donor_), "\n");
    }
  }

  absl::StatusOr<std::string> WriteSlices() {
    MG_ASSIGN_OR_RETURN(const RecipeSlices said, SliceRecipe(recipe_, tensor_names_, facts_));
    if (!said.reason.empty()) return said.reason;
    const Stack* merge = &recipe_.stacks[said.slices[0].stack];  // where there is one: all merge by the same rules
    for (const RecipeSlice& slice : said.slices) {
      if (merge->method.empty()) merge = &recipe_.stacks[slice.stack];
    }
    WriteSeed(*said.method, HasOneOrder() && merge->arithmetic == Arithmetic::kMergekit);
    absl::StrAppend(&yaml_, "merge_method: ", said.method->name, "\n");
    WriteBase(*merge, *said.method);
    yaml_ += merge->method.empty() ? absl::StrCat("dtype: float32\nout_dtype: ", recipe_.dtype, "\n") : Types(*merge);
    // What all slices say alike stands once, for the whole file.
    const auto everywhere = [&](const SliceParameter& one) {
      return one.values[0].filter == "*" &&
             std::all_of(said.slices.begin(), said.slices.end(), [&](const RecipeSlice& slice) {
               return std::any_of(slice.shared.begin(), slice.shared.end(), [&](const SliceParameter& other) {
                 return other.parameter == one.parameter && other.values == one.values;
               });
             });
    };
    std::string common;
    for (const SliceParameter& one : said.slices[0].shared) {
      if (everywhere(one)) AppendParameter("  ", one.parameter->name, one.parameter->kind, one.values, common);
    }
    if (!common.empty()) absl::StrAppend(&yaml_, "parameters:\n", common);
    yaml_ += "slices:\n";
    for (const RecipeSlice& slice : said.slices) {
      const Stack& stack = recipe_.stacks[slice.stack];
      yaml_ += "  - sources:\n";
      if (!stack.base.empty()) WriteSource(stack, stack.base, slice, {});
      for (size_t s = 0; s < stack.sources.size(); ++s) WriteSource(stack, stack.sources[s], slice, slice.sources[s]);
      if (!stack.base.empty() && stack.base != donor_)
        absl::StrAppend(&yaml_, "    base_model: ", Reference(stack.base), "\n");
      std::string shared;
      for (const SliceParameter& one : slice.shared) {
        if (!everywhere(one)) AppendParameter("      ", one.parameter->name, one.parameter->kind, one.values, shared);
      }
      if (!shared.empty()) absl::StrAppend(&yaml_, "    parameters:\n", shared);
    }
    return "";
  }

  void WriteSource(const Stack& stack, const std::string& model, const RecipeSlice& slice,
                   const std::vector<SliceParameter>& own) {
    const auto offset = stack.layer_offsets.find(model);
    const int first_layer =
        slice.layers == 0 ? 0 : slice.first_layer + (offset == stack.layer_offsets.end() ? 0 : offset->second);
    absl::StrAppend(&yaml_, "      - model: ", Reference(model), "\n        layer_range: [", first_layer, ", ",
                    first_layer + slice.layers, "]\n");
    if (!own.empty()) yaml_ += "        parameters:\n";
    for (const SliceParameter& one : own)
      AppendParameter("          ", one.parameter->name, one.parameter->kind, one.values, yaml_);
  }

  void WriteTokenizer() {
    const TokenizerSpec& spec = recipe_.tokenizer;
    if (spec.source.empty()) {
      const std::string& from = recipe_.tokenizer_from.empty() ? donor_ : recipe_.tokenizer_from;
      if (other_tokenizer_) absl::StrAppend(&yaml_, "tokenizer_source: ", Reference(from), "\n");
    } else {
      absl::StrAppend(&yaml_, "tokenizer:\n  source: ", spec.source == "union" ? "union" : Reference(spec.source), "\n");
      const auto is_named = [](const TokenRule& rule) { return !rule.token.empty(); };
      if (std::any_of(spec.tokens.begin(), spec.tokens.end(), is_named)) absl::StrAppend(&yaml_, "  tokens:\n");
      for (const TokenRule& rule : spec.tokens) {
        if (!is_named(rule)) continue;
        absl::StrAppend(&yaml_, "    ", Quoted(rule.token), ":\n      source: ");
        if (rule.zero) {
          yaml_ += "{kind: zero}";
        } else if (rule.token_id >= 0) {
          absl::StrAppend(&yaml_, "{kind: model_token, model: ", Reference(rule.model), ", token_id: ", rule.token_id, "}");
        } else if (!rule.model_token.empty()) {
          absl::StrAppend(&yaml_, "{kind: model_token, model: ", Reference(rule.model),
                          ", token: ", Quoted(rule.model_token), "}");
        } else {
          yaml_ += Reference(rule.model);
        }
        absl::StrAppend(&yaml_, "\n", rule.force ? "      force: true\n" : "");
      }
      if (spec.pad_to_multiple_of > 0) absl::StrAppend(&yaml_, "  pad_to_multiple_of: ", spec.pad_to_multiple_of, "\n");
    }
    if (!recipe_.chat_template.empty()) absl::StrAppend(&yaml_, "chat_template: ", Quoted(recipe_.chat_template), "\n");
  }

  const Recipe& recipe_;
  const std::vector<std::string>& tensor_names_;
  const MergekitFacts& facts_;
  std::string donor_;             // mergekit's base_model
  bool other_tokenizer_ = false;  // than the donor's
  bool means_ = false;            // of rows stand in for tokens, so that there must be no base_model
  std::string yaml_;
};

}  // namespace

absl::StatusOr<MergekitYaml> WriteMergekitYaml(const Recipe& recipe, const std::vector<std::string>& tensor_names,
                                               const MergekitFacts& facts) {
  return Writer(recipe, tensor_names, facts).Write();
}

}  // namespace merganser
