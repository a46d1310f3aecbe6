#include "worker/merge/mergekit_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/domain/job_spec.h"
#include "common/domain/merge_method_spec.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit_config.h"
#include "worker/merge/mergekit_modules.h"
#include "worker/merge/mergekit_needs.h"
#include "worker/merge/name_filter.h"
#include "worker/merge/setting_groups.h"

namespace merganser {
namespace {

class RecipeBuilder {
 public:
  RecipeBuilder(const MergekitConfig& config, const ModelFactsReader& facts, Arithmetic arithmetic)
      : config_(config), read_facts_(facts), arithmetic_(arithmetic) {}

  absl::StatusOr<Recipe> Build() {
    needs_ = NeedsOf(config_);
    MG_RETURN_IF_ERROR(AddModels());
    MG_RETURN_IF_ERROR(CompleteSlices());
    if (!config_.slices[0].module.empty()) {
      MG_RETURN_IF_ERROR(BuildFromModules());
    } else {
      MG_RETURN_IF_ERROR(OneStackFits() ? BuildOneStack() : BuildStacks());
    }
    MG_RETURN_IF_ERROR(CheckUsed());
    MG_RETURN_IF_ERROR(CheckFilters());
    MG_RETURN_IF_ERROR(SetTypes());
    MG_RETURN_IF_ERROR(SetTokenizer());
    recipe_.chat_template = config_.chat_template;
    return std::move(recipe_);
  }

 private:
  // A slice with the numbers of its models and the layers spelled out.
  struct Slice {
    const MergekitSlice* from;
    std::vector<int> models;        // in the order of the file, the base included where it is one of them
    std::vector<int> first_layers;  // of each
    int layers = 0;
    int base = -1;             // number of the model that the method takes as its base
    std::vector<int> sources;  // positions in `models` of what is merged
    int reference = 0;         // position in `models`: layer numbers of the stack are this model's
  };

  // The model's number; the first mention of a model gives it a name and reads its headers.
  absl::StatusOr<int> AddModel(const MergekitModel& model) {
    for (size_t i = 0; i < written_.size(); ++i) {
      if (written_[i].SameAs(model)) return static_cast<int>(i);
    }
    std::string name = model.path.substr(0, model.path.find('@'));
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    name = name.substr(name.find_last_of('/') + 1);
    if (name.empty() || name == "." || name == "..") name = "model";
    const std::string stem = name;
    for (int n = 2; std::any_of(recipe_.models.begin(), recipe_.models.end(),
                                [&](const ModelRef& other) { return other.name == name; });
         ++n) {
      name = absl::StrCat(stem, "-", n);
    }
    const ModelRef ref{name, model.path, model.lora};
    absl::StatusOr<ModelFacts> facts = read_facts_(ref);
    if (!facts.ok()) return Annotate(facts.status(), absl::StrCat(config_.file, ":", model.line));
    // All models of a merge are of one family; the first that has layers says where.
    if (layers_.empty()) roles_ = TensorRoles::Infer(facts->tensor_names);
    const int layers = roles_.Layers(facts->tensor_names);
    recipe_.models.push_back(ref);
    written_.push_back(model);
    facts_.push_back(*std::move(facts));
    layers_.push_back(layers);
    return static_cast<int>(written_.size()) - 1;
  }

  absl::Status AddModels() {
    for (const MergekitSlice& slice : config_.slices) {
      for (const MergekitSource& source : slice.sources) MG_RETURN_IF_ERROR(AddModel(source.model).status());
    }
    for (const MergekitSlice& slice : config_.slices) {
      if (slice.base_model) MG_RETURN_IF_ERROR(AddModel(*slice.base_model).status());
    }
    if (config_.base_model) MG_RETURN_IF_ERROR(AddModel(*config_.base_model).status());
    if (config_.tokenizer_model) MG_RETURN_IF_ERROR(AddModel(*config_.tokenizer_model).status());
    for (const MergekitTokenRule& token : config_.tokens) {
      if (token.model) MG_RETURN_IF_ERROR(AddModel(*token.model).status());
    }
    return absl::OkStatus();
  }

  absl::Status CompleteSlices() {
    for (const MergekitSlice& from : config_.slices) {
      Slice slice{&from};
      for (const MergekitSource& source : from.sources) {
        MG_ASSIGN_OR_RETURN(const int model, AddModel(source.model));
        const int end = config_.whole_models ? layers_[model] : source.end_layer;
        if (end > layers_[model]) {
          return config_.Error(source.model.line,
                               absl::StrCat("layer_range [", source.first_layer, ", ", end, ") of model '",
                                            source.model.path, "', which has ", layers_[model], " layers"));
        }
        if (!slice.models.empty() && end - source.first_layer != slice.layers) {
          return config_.Error(source.model.line, absl::StrCat("model '", source.model.path, "' has ", end, " layers, and '",
                                                               from.sources.front().model.path, "' ", slice.layers));
        }
        slice.layers = end - source.first_layer;
        slice.models.push_back(model);
        slice.first_layers.push_back(source.first_layer);
      }
      MG_RETURN_IF_ERROR(SetBase(slice));
      slices_.push_back(std::move(slice));
    }
    return absl::OkStatus();
  }

  absl::Status SetBase(Slice& slice) {
    const std::optional<MergekitModel>& written = slice.from->base_model ? slice.from->base_model : config_.base_model;
    if (needs_.base && !written) {
      return config_.Error(config_.method_line, absl::StrCat(config_.method, " needs a base_model"));
    }
    if (written) {
      MG_ASSIGN_OR_RETURN(const int base, AddModel(*written));
      int at = static_cast<int>(std::find(slice.models.begin(), slice.models.end(), base) - slice.models.begin());
      if (at == static_cast<int>(slice.models.size()) && (config_.whole_models || needs_.base)) {
        if (!config_.whole_models) {
          return config_.Error(slice.from->line,
                               absl::StrCat("base_model '", written->path, "' is not among the sources of this slice"));
        }
        if (layers_[base] != slice.layers) {
          return config_.Error(written->line, absl::StrCat("base_model '", written->path, "' has ", layers_[base],
                                                           " layers, and the models have ", slice.layers));
        }
        // A base that is not listed is one more input, without parameters of its own.
        slice.models.push_back(base);
        slice.first_layers.push_back(0);
      }
      if (needs_.base) {
        slice.base = base;
        slice.reference = at;
        if (at < static_cast<int>(slice.from->sources.size()) && !slice.from->sources[at].parameters.empty()) {
          const auto& [name, setting] = *slice.from->sources[at].parameters.begin();
          return config_.Error(setting.line, absl::StrCat("parameter '", name, "' of the base model: ", config_.method,
                                                          " takes none of its base; remove it"));
        }
      }
    }
    for (size_t i = 0; i < slice.models.size(); ++i) {
      if (slice.models[i] != slice.base || !needs_.base) slice.sources.push_back(static_cast<int>(i));
    }
    if (slice.sources.empty()) {
      return config_.Error(slice.from->line, absl::StrCat(config_.method, " has nothing to merge into its base"));
    }
    if (config_.method == "passthrough" && slice.sources.size() != 1) {
      return config_.Error(slice.from->line,
                           absl::StrCat("passthrough takes one model for each layer; here are ", slice.sources.size()));
    }
    if (const MethodSpec* method = FindMethodSpec(config_.method); method != nullptr) {
      const absl::Status counted = method->CheckSourceCount(static_cast<int>(slice.sources.size()));
      if (!counted.ok()) return config_.Error(slice.from->line, counted.message());
    }
    return absl::OkStatus();
  }

  // Slices that only cut whole models into pieces in order, as for other parameters in each.
  bool OneStackFits() const {
    int next = 0;
    for (const Slice& slice : slices_) {
      if (slice.models != slices_[0].models || slice.base != slices_[0].base) return false;
      for (const int first : slice.first_layers) {
        if (first != next) return false;
      }
      next += slice.layers;
    }
    for (const int model : slices_[0].models) {
      if (layers_[model] != next) return false;
    }
    return true;
  }

  // Settings of the tensor called `name` in the reference model's layer `role.layer`, at `t` of the slice; `out` is the
  // layer in the result, whose names parameters of the whole method are matched with.
  absl::StatusOr<TensorSettings> SettingsOf(const Slice& slice, const std::string& name, const TensorRole& role, int out,
                                            double t) const {
    TensorSettings settings;
    for (const int position : slice.sources) {
      const int offset = slice.first_layers[position] - slice.first_layers[slice.reference];
      const std::string own_name = WithLayer(name, role, role.layer + offset);
      const bool listed = position < static_cast<int>(slice.from->sources.size());
      std::vector<const MergekitSettings*> scopes = {&slice.from->parameters, &config_.parameters};
      if (listed) scopes.insert(scopes.begin(), &slice.from->sources[position].parameters);
      std::map<std::string, double> values;
      for (const std::string& parameter : needs_.source_parameters) {
        const std::optional<double> value = FirstValue(parameter, scopes, own_name, t);
        if (value) values[parameter] = *value;
        if (!value && IsRequired(parameter)) return Missing(slice, parameter, position, own_name);
      }
      settings.sources.push_back(std::move(values));
    }
    for (const std::string& parameter : needs_.parameters) {
      const std::optional<double> value =
          FirstValue(parameter, {&slice.from->parameters, &config_.parameters}, WithLayer(name, role, out), t);
      if (value) settings.shared[parameter] = *value;
      if (!value && IsRequired(parameter)) return Missing(slice, parameter, -1, name);
    }
    return settings;
  }

  absl::Status Missing(const Slice& slice, const std::string& parameter, int position, const std::string& tensor) const {
    const bool listed = position >= 0 && position < static_cast<int>(slice.from->sources.size());
    const int line = listed ? slice.from->sources[position].model.line : slice.from->line;
    const std::string of = position < 0 ? "" : absl::StrCat(" of model '", written_[slice.models[position]].path, "'");
    const bool base = config_.base_model && position >= 0 && written_[slice.models[position]].SameAs(*config_.base_model);
    return config_.Error(
        line, absl::StrCat("parameter '", parameter, "'", of, " is missing for tensor '", tensor, "'",
                           base && !listed ? absl::StrCat("; ", config_.method,
                                                          " merges its base_model like the others: list it with a ",
                                                          parameter, ", or leave base_model out")
                                           : ""));
  }

  // The tensors that the slice's models have, once each, by the reference model's names.
  std::vector<std::string> TensorNames(const Slice& slice) const {
    std::set<std::string> names;
    for (size_t i = 0; i < slice.models.size(); ++i) {
      const int offset = slice.first_layers[slice.reference] - slice.first_layers[i];
      for (const std::string& name : facts_[slice.models[i]].tensor_names) {
        const TensorRole role = roles_.Of(name);
        if (role.part == ModelPart::kLayers && role.layer + offset < 0) continue;
        names.insert(WithLayer(name, role, role.layer + offset));
      }
    }
    return {names.begin(), names.end()};
  }

  // Appends what the slice says about its own layers (which begin at `out` in the result).
  absl::Status AddLayerSettings(const Slice& slice, int out, SettingsByTensor& settings) const {
    const int first = slice.first_layers[slice.reference];
    for (const std::string& name : TensorNames(slice)) {
      const TensorRole role = roles_.Of(name);
      if (role.part != ModelPart::kLayers || role.layer < first || role.layer >= first + slice.layers) continue;
      const int index = role.layer - first;
      const double t = slice.layers > 1 ? static_cast<double>(index) / (slice.layers - 1) : 1.0;
      MG_ASSIGN_OR_RETURN(TensorSettings one, SettingsOf(slice, name, role, out + index, t));
      settings.push_back({name, role, std::move(one)});
    }
    return absl::OkStatus();
  }

  // Tensors outside of layers: norm and head where `end`, all others where `begin`. Modules beside the layers (a vision
  // tower) have layers of their own, which whole models run through.
  absl::Status AddOtherSettings(const Slice& slice, bool begin, bool end, SettingsByTensor& settings) const {
    const std::vector<std::string> names = TensorNames(slice);
    const LayersByPrefix layers(config_.whole_models ? names : std::vector<std::string>());
    for (const std::string& name : names) {
      const TensorRole role = roles_.Of(name);
      if (role.part == ModelPart::kLayers) continue;
      const bool at_end = role.part == ModelPart::kNorm || role.part == ModelPart::kHead;
      if (at_end ? !end : !begin) continue;
      MG_ASSIGN_OR_RETURN(TensorSettings one, SettingsOf(slice, name, role, -1, layers.At(name)));
      settings.push_back({name, role, std::move(one)});
    }
    return absl::OkStatus();
  }

  Stack NewStack(const Slice& slice, std::string name) const {
    Stack stack;
    stack.name = std::move(name);
    if (!needs_.copies) {
      stack.method = config_.method;
      stack.arithmetic = arithmetic_;
    }
    if (slice.base >= 0) stack.base = recipe_.models[slice.base].name;
    for (const int position : slice.sources) stack.sources.push_back(recipe_.models[slice.models[position]].name);
    for (size_t i = 0; i < slice.models.size(); ++i) {
      const int offset = slice.first_layers[i] - slice.first_layers[slice.reference];
      if (offset != 0) stack.layer_offsets[recipe_.models[slice.models[i]].name] = offset;
    }
    return stack;
  }

  void Finish(Stack stack, const SettingsByTensor& settings) {
    std::vector<std::string> filters;
    for (const MergekitSlice& slice : config_.slices) {
      for (const std::string& prefix : ModulePrefixes(slice.module)) {
        if (!slice.module.empty() && !prefix.empty()) filters.push_back(prefix);
      }
    }
    for (const MergekitSetting::Entry& entry : FilteredEntries(config_)) filters.push_back(entry.filter);
    if (!stack.method.empty()) stack.settings = GroupTensorSettings(settings, filters);
    recipe_.stacks.push_back(std::move(stack));
  }

  absl::Status BuildOneStack() {
    SettingsByTensor settings;
    int out = 0;
    for (size_t i = 0; i < slices_.size(); ++i) {
      MG_RETURN_IF_ERROR(AddLayerSettings(slices_[i], out, settings));
      MG_RETURN_IF_ERROR(AddOtherSettings(slices_[i], i == 0, i + 1 == slices_.size(), settings));
      out += slices_[i].layers;
    }
    Finish(NewStack(slices_[0], "merge"), settings);
    return absl::OkStatus();
  }

  // One stack whose settings are, tensor by tensor, those of the module that has it.
  absl::Status BuildFromModules() {
    std::vector<std::string> modules;
    for (const Slice& slice : slices_) {
      modules.push_back(slice.from->module);
      if (slice.models != slices_[0].models || slice.base != slices_[0].base) {
        return config_.Error(slice.from->line, absl::StrCat("module '", slice.from->module, "' and module '", modules[0],
                                                            "' must have the same models in the same order"));
      }
    }
    const std::vector<std::string> names = TensorNames(slices_[0]);
    const LayersByPrefix layers(names);
    SettingsByTensor settings;
    std::set<int> used;
    for (const std::string& name : names) {
      const int module = ModuleOf(modules, name);
      if (module < 0) {
        return config_.Error(config_.slices[0].line, absl::StrCat("no module has tensor '", name, "'; add `default`"));
      }
      used.insert(module);
      const TensorRole role = roles_.Of(name);
      MG_ASSIGN_OR_RETURN(TensorSettings one, SettingsOf(slices_[module], name, role, role.layer, layers.At(name)));
      settings.push_back({name, role, std::move(one)});
    }
    for (size_t m = 0; m < modules.size(); ++m) {
      if (used.count(static_cast<int>(m)) == 0)
        return config_.Error(slices_[m].from->line, absl::StrCat("module '", modules[m], "' has no tensor"));
    }
    Finish(NewStack(slices_[0], "merge"), settings);
    return absl::OkStatus();
  }

  // A stack for each slice; copies of one model share theirs.
  absl::Status BuildStacks() {
    std::map<int, int> copy_of;  // model to stack
    int out = 0;
    for (size_t i = 0; i < slices_.size(); ++i) {
      const Slice& slice = slices_[i];
      int stack = static_cast<int>(recipe_.stacks.size());
      const auto known = needs_.copies ? copy_of.find(slice.models[0]) : copy_of.end();
      if (known != copy_of.end()) {
        stack = known->second;
      } else {
        SettingsByTensor settings;
        MG_RETURN_IF_ERROR(AddLayerSettings(slice, out, settings));
        MG_RETURN_IF_ERROR(AddOtherSettings(slice, i == 0, i + 1 == slices_.size(), settings));
        Finish(NewStack(slice, needs_.copies ? recipe_.models[slice.models[0]].name : absl::StrCat("slice-", i + 1)),
               settings);
        if (needs_.copies) copy_of[slice.models[0]] = stack;
      }
      if (i == 0) recipe_.embedding_from = recipe_.stacks[stack].name;
      if (i + 1 == slices_.size()) recipe_.head_from = recipe_.stacks[stack].name;
      for (int layer = 0; layer < slice.layers; ++layer) {
        recipe_.path.push_back({stack, slice.first_layers[slice.reference] + layer, 1.0});
      }
      out += slice.layers;
    }
    if (recipe_.path.empty()) return config_.Error(config_.slices[0].line, "the slices hold no layer");
    return absl::OkStatus();
  }

  absl::Status CheckUsed() const {
    std::set<std::string> used;
    for (const Stack& stack : recipe_.stacks) {
      used.insert(stack.sources.begin(), stack.sources.end());
      used.insert(stack.base);
    }
    for (size_t i = 0; i < written_.size(); ++i) {
      if (used.count(recipe_.models[i].name) > 0) continue;
      const bool base = config_.base_model && written_[i].SameAs(*config_.base_model);
      // A base that the method ignores still gives config and tokenizer.
      if (base) continue;
      return config_.Error(written_[i].line, absl::StrCat("model '", written_[i].path, "' is named but never merged"));
    }
    return absl::OkStatus();
  }

  // mergekit ignores a filter that selects nothing, and so what a misspelt one was to say.
  absl::Status CheckFilters() const {
    std::vector<std::string> names;
    for (const ModelFacts& facts : facts_) names.insert(names.end(), facts.tensor_names.begin(), facts.tensor_names.end());
    int out = 0;
    for (const Slice& slice : slices_) {  // filters of the whole method see the layers' numbers in the result
      for (const std::string& name : TensorNames(slice)) {
        const TensorRole role = roles_.Of(name);
        const int index = role.layer - slice.first_layers[slice.reference];
        if (role.part == ModelPart::kLayers && index >= 0 && index < slice.layers) {
          names.push_back(WithLayer(name, role, out + index));
        }
      }
      out += slice.layers;
    }
    for (const MergekitSetting::Entry& entry : FilteredEntries(config_)) {
      const absl::Status found = CheckFilter(entry.filter, names);
      if (!found.ok()) return config_.Error(entry.line, found.message());
    }
    return absl::OkStatus();
  }

  int Donor() const {
    if (config_.base_model) {
      for (size_t i = 0; i < written_.size(); ++i) {
        if (written_[i].SameAs(*config_.base_model)) return static_cast<int>(i);
      }
    }
    return slices_[0].models[0];
  }

  // The base that is written for the slice, if it is one of its models; else -1.
  int WrittenBase(const Slice& slice) const {
    const std::optional<MergekitModel>& written = slice.from->base_model ? slice.from->base_model : config_.base_model;
    for (const int model : slice.models) {
      if (written && written_[model].SameAs(*written)) return model;
    }
    return -1;
  }

  absl::Status SetTypes() {
    const std::string& own = facts_[Donor()].dtype;
    recipe_.dtype = !config_.out_dtype.empty() ? config_.out_dtype : !config_.dtype.empty() ? config_.dtype : own;
    if (recipe_.dtype.empty()) recipe_.dtype = "bfloat16";
    if (arithmetic_ != Arithmetic::kMergekit) return absl::OkStatus();
    std::vector<std::string> stored;
    for (const ModelFacts& facts : facts_) stored.push_back(facts.dtype);
    return CheckComputesInType(config_, recipe_.dtype, stored);
  }

  absl::Status SetTokenizer() {
    recipe_.tokenizer_from = recipe_.models[Donor()].name;
    if (config_.tokenizer_source.empty()) return absl::OkStatus();
    if (config_.tokenizer_source == "union") {
      recipe_.tokenizer.source = "union";
    } else if (config_.tokenizer_source == "base") {
      if (!config_.base_model)
        return config_.Error(config_.tokenizer_line, "the tokenizer of the base: there is no base_model");
      recipe_.tokenizer.source = recipe_.tokenizer_from;
    } else {
      MG_ASSIGN_OR_RETURN(const int model, AddModel(*config_.tokenizer_model));
      // Its chat template and special tokens come with it.
      recipe_.tokenizer.source = recipe_.tokenizer_from = recipe_.models[model].name;
    }
    for (const MergekitTokenRule& token : config_.tokens) {
      TokenRule rule = token.rule;
      if (token.model) {
        MG_ASSIGN_OR_RETURN(const int model, AddModel(*token.model));
        rule.model = recipe_.models[model].name;
      }
      recipe_.tokenizer.tokens.push_back(std::move(rule));
    }
    // mergekit's base has rows to stand in, whether or not the method takes a base.
    if (const int base = WrittenBase(slices_[0]); base >= 0 && slices_[0].base < 0) {
      TokenRule rule;
      rule.model = recipe_.models[base].name;
      recipe_.tokenizer.tokens.push_back(std::move(rule));
    }
    recipe_.tokenizer.pad_to_multiple_of = config_.pad_to_multiple_of;
    return absl::OkStatus();
  }

  const MergekitConfig& config_;
  const ModelFactsReader& read_facts_;
  const Arithmetic arithmetic_;
  MethodNeeds needs_;
  std::vector<MergekitModel> written_;  // as recipe_.models
  std::vector<ModelFacts> facts_;
  std::vector<int> layers_;
  TensorRoles roles_;
  std::vector<Slice> slices_;
  Recipe recipe_;
};

}  // namespace

absl::StatusOr<Recipe> ReadMergekitYaml(absl::string_view text, const std::string& file, const ModelFactsReader& facts,
                                        Arithmetic arithmetic) {
  MG_ASSIGN_OR_RETURN(const MergekitConfig config, ParseMergekitConfig(text, file));
  return RecipeBuilder(config, facts, arithmetic).Build();
}

}  // namespace merganser
