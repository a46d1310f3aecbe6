#include "worker/merge/mergekit_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/base/yaml_text.h"
#include "common/domain/job_spec.h"
#include "common/domain/merge_method_spec.h"
#include "worker/merge/mergekit_words.h"
#include "worker/merge/named_chat_templates.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {
constexpr int kLayersMax = 1'000'000;
constexpr int kRowsMax = 1 << 30;

class Parser {
 public:
  explicit Parser(MergekitConfig& config) : config_(config) {}

  absl::Status Parse(const YAML::Node& root) {
    MG_RETURN_IF_ERROR(CheckKeys(root, "the configuration",
                                 {"merge_method", "models", "slices", "modules", "base_model", "dtype", "out_dtype",
                                  "tokenizer_source", "tokenizer", "chat_template", "parameters"}));
    MG_RETURN_IF_ERROR(ParseMethod(root));
    if (const YAML::Node base = root["base_model"]; IsSet(base)) {
      MG_ASSIGN_OR_RETURN(config_.base_model, ParseModel(base, "base_model"));
    }
    if (const YAML::Node node = root["parameters"]; IsSet(node)) {
      MG_RETURN_IF_ERROR(ParseSettings(node, /*of_one_model=*/false, config_.parameters));
    }
    MG_RETURN_IF_ERROR(ParseDtype(root["dtype"], "dtype", config_.dtype));
    MG_RETURN_IF_ERROR(ParseDtype(root["out_dtype"], "out_dtype", config_.out_dtype));
    MG_RETURN_IF_ERROR(ParseInputs(root));
    MG_RETURN_IF_ERROR(ParseTokenizer(root));
    return ParseChatTemplate(root["chat_template"]);
  }

 private:
  absl::Status Error(const YAML::Node& node, absl::string_view what) const { return config_.Error(Line(node), what); }

  // `key:` without a value counts as absent, as in mergekit.
  static bool IsSet(const YAML::Node& node) { return node.IsDefined() && !node.IsNull(); }

  absl::Status CheckKeys(const YAML::Node& node, absl::string_view where, const std::vector<std::string>& known) const {
    if (!node.IsMap()) return Error(node, absl::StrCat(where, " must be a map, not ", KindOf(node)));
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Error(entry.first, absl::StrCat(where, " has a key that is ", KindOf(entry.first)));
      const std::string key = entry.first.Scalar();
      if (!seen.insert(key).second) return Error(entry.first, absl::StrCat("key '", key, "' of ", where, " is given twice"));
      if (!Contains(known, key)) {
        return Error(entry.first, absl::StrCat("unknown key '", key, "' of ", where, DidYouMean(key, known)));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Text(const YAML::Node& node, absl::string_view what) const {
    if (!node.IsScalar()) return Error(node, absl::StrCat(what, " must be a single value, not ", KindOf(node)));
    if (node.Scalar().empty()) return Error(node, absl::StrCat(what, " is empty"));
    return node.Scalar();
  }

  absl::StatusOr<int> Int(const YAML::Node& node, absl::string_view what, int low, int high) const {
    int value = 0;
    if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &value) || value < low || value > high) {
      return Error(node, absl::StrCat(what, " ", node.IsScalar() ? absl::StrCat("'", node.Scalar(), "'") : KindOf(node),
                                      " is not a whole number in [", low, ", ", high, "]"));
    }
    return value;
  }

  absl::StatusOr<bool> Bool(const YAML::Node& node, absl::string_view what) const {
    bool value = false;
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value)) {
      return Error(node, absl::StrCat(what, " is neither true nor false"));
    }
    return value;
  }

  absl::Status ParseMethod(const YAML::Node& root) {
    const YAML::Node node = root["merge_method"];
    if (!IsSet(node)) return Error(root, "merge_method is missing");
    MG_ASSIGN_OR_RETURN(config_.method, Text(node, "merge_method"));
    config_.method_line = Line(node);
    std::vector<std::string> known;
    for (const MethodSpec& method : AllMethodSpecs()) known.push_back(method.name);
    if (!Contains(known, config_.method)) {
      return Error(node, absl::StrCat("unknown merge_method '", config_.method, "'", DidYouMean(config_.method, known)));
    }
    return absl::OkStatus();
  }

  absl::Status ParseDtype(const YAML::Node& node, absl::string_view key, std::string& dtype) const {
    if (!IsSet(node)) return absl::OkStatus();
    MG_ASSIGN_OR_RETURN(std::string text, Text(node, key));
    absl::string_view name = text;
    absl::ConsumePrefix(&name, "torch.");
    const std::vector<std::string> known = {"bfloat16", "float16", "float32"};
    if (!Contains(known, name)) {
      return Error(node, absl::StrCat(key, ": weights cannot be merged as '", text, "'", DidYouMean(name, known)));
    }
    dtype = std::string(name);
    return absl::OkStatus();
  }

  // "name" or "name@revision"; `what` is for messages.
  absl::Status CheckReference(const YAML::Node& node, absl::string_view text, absl::string_view what) const {
    if (text.empty()) return Error(node, absl::StrCat(what, " has an empty name"));
    if (std::count(text.begin(), text.end(), '@') > 1) {
      return Error(node, absl::StrCat(what, " '", text, "' has more than one '@'"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ParsePath(const YAML::Node& node, absl::string_view what) const {
    if (node.IsScalar()) return Text(node, what);
    MG_RETURN_IF_ERROR(CheckKeys(node, what, {"path", "revision"}));
    if (!IsSet(node["path"])) return Error(node, absl::StrCat(what, " has no path"));
    MG_ASSIGN_OR_RETURN(std::string path, Text(node["path"], "path"));
    if (!IsSet(node["revision"])) return path;
    MG_ASSIGN_OR_RETURN(const std::string revision, Text(node["revision"], "revision"));
    return absl::StrCat(path, "@", revision);
  }

  absl::StatusOr<MergekitModel> ParseModel(const YAML::Node& node, absl::string_view what) const {
    MergekitModel model;
    model.line = Line(node);
    if (node.IsScalar()) {
      MG_ASSIGN_OR_RETURN(const std::string text, Text(node, what));
      const size_t plus = text.find('+');
      model.path = text.substr(0, plus);
      if (plus != std::string::npos) {
        model.lora = text.substr(plus + 1);
        if (absl::StrContains(model.lora, "+"))
          return Error(node, absl::StrCat(what, " '", text, "' has more than one '+'"));
        MG_RETURN_IF_ERROR(CheckReference(node, model.lora, what));
      }
    } else {
      MG_RETURN_IF_ERROR(CheckKeys(node, what, {"model", "lora", "override_architecture"}));
      if (IsSet(node["override_architecture"])) {
        return absl::UnimplementedError(
            absl::StrCat(config_.file, ":", Line(node["override_architecture"]),
                         ": override_architecture: architectures are read off the checkpoints here; leave it out"));
      }
      if (!IsSet(node["model"])) return Error(node, absl::StrCat(what, " has no model"));
      MG_ASSIGN_OR_RETURN(model.path, ParsePath(node["model"], "model"));
      if (IsSet(node["lora"])) {
        MG_ASSIGN_OR_RETURN(model.lora, ParsePath(node["lora"], "lora"));
        MG_RETURN_IF_ERROR(CheckReference(node["lora"], model.lora, "lora"));
      }
    }
    MG_RETURN_IF_ERROR(CheckReference(node, model.path, what));
    return model;
  }

  // One number within the parameter's bounds; booleans are 0 and 1.
  absl::StatusOr<double> Number(const YAML::Node& node, absl::string_view parameter, bool& is_boolean) const {
    is_boolean = false;
    if (!node.IsScalar()) return Error(node, absl::StrCat(parameter, ": expected a number, not ", KindOf(node)));
    double value = 0;
    bool boolean = false;
    if (absl::SimpleAtod(node.Scalar(), &value)) {
      if (!std::isfinite(value)) return Error(node, absl::StrCat(parameter, ": ", node.Scalar(), " is not finite"));
      const MethodParameter* known = FindMethodSpec(config_.method)->Find(parameter);
      const absl::Status checked = known == nullptr ? absl::OkStatus() : CheckValue(*known, value);
      return checked.ok() ? absl::StatusOr<double>(value) : Error(node, checked.message());
    }
    if (YAML::convert<bool>::decode(node, boolean)) {
      is_boolean = true;
      return boolean ? 1.0 : 0.0;
    }
    return Error(node, absl::StrCat(parameter, ": '", node.Scalar(), "' is neither a number nor true or false"));
  }

  absl::Status ParseValues(const YAML::Node& node, absl::string_view parameter, MergekitSetting::Entry& entry) const {
    if (!node.IsSequence()) {
      MG_ASSIGN_OR_RETURN(const double value, Number(node, parameter, entry.steps));
      entry.values = {value};
      return absl::OkStatus();
    }
    if (node.size() == 0) return Error(node, absl::StrCat(parameter, ": an empty list"));
    for (const YAML::Node& item : node) {
      bool is_boolean = false;
      MG_ASSIGN_OR_RETURN(const double value, Number(item, parameter, is_boolean));
      if (!entry.values.empty() && is_boolean != entry.steps) {
        return Error(item, absl::StrCat(parameter, ": numbers and booleans in one list"));
      }
      entry.values.push_back(value);
      entry.steps = is_boolean;
    }
    return absl::OkStatus();
  }

  absl::Status ParseFiltered(const YAML::Node& node, const std::string& parameter, MergekitSetting& setting) const {
    MG_RETURN_IF_ERROR(CheckKeys(node, parameter, {"filter", "value"}));
    MergekitSetting::Entry entry{.line = Line(node)};
    if (IsSet(node["filter"])) {
      MG_ASSIGN_OR_RETURN(entry.filter, Text(node["filter"], "filter"));
      if (entry.filter == "*") entry.filter.clear();
    }
    if (!IsSet(node["value"])) return Error(node, absl::StrCat(parameter, ": a filter without a value"));
    if (!setting.entries.empty() && setting.entries.back().filter.empty()) {
      return Error(node, absl::StrCat(parameter, ": no tensor gets here, because the entry before takes all"));
    }
    MG_RETURN_IF_ERROR(ParseValues(node["value"], parameter, entry));
    setting.entries.push_back(std::move(entry));
    return absl::OkStatus();
  }

  absl::Status ParseSetting(const YAML::Node& node, const std::string& parameter, MergekitSetting& setting) const {
    setting.line = Line(node);
    if (node.IsMap()) return ParseFiltered(node, parameter, setting);
    const bool filtered = node.IsSequence() && node.size() > 0 && node[0].IsMap();
    if (!filtered) {
      MergekitSetting::Entry entry;
      MG_RETURN_IF_ERROR(ParseValues(node, parameter, entry));
      setting.entries.push_back(std::move(entry));
      return absl::OkStatus();
    }
    for (const YAML::Node& item : node) {
      if (item.IsMap()) {
        MG_RETURN_IF_ERROR(ParseFiltered(item, parameter, setting));
        continue;
      }
      // mergekit also takes a bare value as the last entry.
      MergekitSetting::Entry entry;
      MG_RETURN_IF_ERROR(ParseValues(item, parameter, entry));
      setting.entries.push_back(std::move(entry));
    }
    return absl::OkStatus();
  }

  // `of_one_model`: in the parameters of a model, where only what the method takes per model has a meaning.
  absl::Status ParseSettings(const YAML::Node& node, bool of_one_model, MergekitSettings& settings) const {
    if (!node.IsMap()) return Error(node, absl::StrCat("parameters must be a map, not ", KindOf(node)));
    const MethodSignature* method = FindMethod(config_.method);
    std::vector<std::string> known;
    if (method != nullptr) {
      known = method->source_parameters;
      if (!of_one_model) known.insert(known.end(), method->parameters.begin(), method->parameters.end());
    }
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Error(entry.first, "a parameter's name must be a single value");
      const std::string name = entry.first.Scalar();
      if (settings.count(name) > 0) return Error(entry.first, absl::StrCat("parameter '", name, "' is given twice"));
      if (HasNoEffect(config_.method, name)) continue;
      if (!Contains(known, name)) {
        if (of_one_model && method != nullptr && Contains(method->parameters, name)) {
          return Error(entry.first, absl::StrCat("parameter '", name, "' of ", config_.method,
                                                 " is one of the merge, not of a model; move it to the outer parameters"));
        }
        if (known.empty()) return Error(entry.first, absl::StrCat(config_.method, " takes no parameter '", name, "'"));
        return Error(entry.first, absl::StrCat(config_.method, " takes no parameter '", name, "'", DidYouMean(name, known)));
      }
      if (!IsSet(entry.second)) return Error(entry.first, absl::StrCat("parameter '", name, "' has no value"));
      MG_RETURN_IF_ERROR(ParseSetting(entry.second, name, settings[name]));
    }
    return absl::OkStatus();
  }

  absl::Status ParseLayerRange(const YAML::Node& node, MergekitSource& source) const {
    if (!node.IsSequence() || node.size() != 2) return Error(node, "layer_range must be [first, end)");
    MG_ASSIGN_OR_RETURN(source.first_layer, Int(node[0], "layer_range", 0, kLayersMax));
    MG_ASSIGN_OR_RETURN(source.end_layer, Int(node[1], "layer_range", 0, kLayersMax));
    if (source.end_layer < source.first_layer) {
      return Error(node,
                   absl::StrCat("layer_range [", source.first_layer, ", ", source.end_layer, ") ends before it begins"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MergekitSource> ParseSource(const YAML::Node& node, bool with_range) const {
    std::vector<std::string> keys = {"model", "parameters"};
    if (with_range) keys.push_back("layer_range");
    MG_RETURN_IF_ERROR(CheckKeys(node, with_range ? "a source" : "a model", keys));
    MergekitSource source;
    if (!IsSet(node["model"])) return Error(node, "model is missing");
    MG_ASSIGN_OR_RETURN(source.model, ParseModel(node["model"], "model"));
    if (IsSet(node["parameters"])) {
      MG_RETURN_IF_ERROR(ParseSettings(node["parameters"], /*of_one_model=*/true, source.parameters));
    }
    if (with_range) {
      if (!IsSet(node["layer_range"])) return Error(node, "layer_range is missing");
      MG_RETURN_IF_ERROR(ParseLayerRange(node["layer_range"], source));
    }
    return source;
  }

  // The items of a list of models or sources.
  absl::Status ParseSources(const YAML::Node& node, absl::string_view key, bool with_range,
                            std::vector<MergekitSource>& sources) const {
    if (!node.IsSequence()) return Error(node, absl::StrCat(key, " must be a list, not ", KindOf(node)));
    if (node.size() == 0) return Error(node, absl::StrCat(key, " is empty"));
    for (const YAML::Node& item : node) {
      MG_ASSIGN_OR_RETURN(MergekitSource source, ParseSource(item, with_range));
      for (const MergekitSource& other : sources) {
        if (other.model.SameAs(source.model)) {
          return Error(item,
                       absl::StrCat("model '", source.model.path, "' is listed twice, first in line ", other.model.line));
        }
      }
      sources.push_back(std::move(source));
    }
    return absl::OkStatus();
  }

  absl::Status ParseSlice(const YAML::Node& node) {
    MG_RETURN_IF_ERROR(CheckKeys(node, "a slice", {"sources", "base_model", "residual_weight", "parameters"}));
    MergekitSlice slice;
    slice.line = Line(node);
    if (IsSet(node["residual_weight"])) {
      return Error(node["residual_weight"], "residual_weight has no effect in mergekit; leave it out");
    }
    if (!IsSet(node["sources"])) return Error(node, "a slice without sources");
    MG_RETURN_IF_ERROR(ParseSources(node["sources"], "sources", /*with_range=*/true, slice.sources));
    const MergekitSource& first = slice.sources.front();
    for (const MergekitSource& source : slice.sources) {
      if (source.end_layer - source.first_layer != first.end_layer - first.first_layer) {
        return config_.Error(source.model.line,
                             absl::StrCat("layer_range [", source.first_layer, ", ", source.end_layer, ") has ",
                                          source.end_layer - source.first_layer, " layers; the slice's first source has ",
                                          first.end_layer - first.first_layer));
      }
    }
    if (IsSet(node["base_model"])) {
      MG_ASSIGN_OR_RETURN(slice.base_model, ParseModel(node["base_model"], "base_model"));
    }
    if (IsSet(node["parameters"])) {
      MG_RETURN_IF_ERROR(ParseSettings(node["parameters"], /*of_one_model=*/false, slice.parameters));
    }
    config_.slices.push_back(std::move(slice));
    return absl::OkStatus();
  }

  // `models` or `slices` of the configuration or of its one module.
  absl::Status ParseInputs(const YAML::Node& node) {
    const bool models = IsSet(node["models"]), slices = IsSet(node["slices"]), modules = IsSet(node["modules"]);
    if (models + slices + modules != 1) {
      return Error(
          node, absl::StrCat("exactly one of models, slices and modules is needed; given are ", models + slices + modules));
    }
    if (modules) return ParseModules(node["modules"]);
    if (models) {
      config_.whole_models = true;
      MergekitSlice slice;
      slice.line = Line(node["models"]);
      MG_RETURN_IF_ERROR(ParseSources(node["models"], "models", /*with_range=*/false, slice.sources));
      config_.slices.push_back(std::move(slice));
      return absl::OkStatus();
    }
    const YAML::Node list = node["slices"];
    if (!list.IsSequence() || list.size() == 0) return Error(list, "slices must be a list of at least one slice");
    for (const YAML::Node& item : list) MG_RETURN_IF_ERROR(ParseSlice(item));
    return absl::OkStatus();
  }

  absl::Status ParseModules(const YAML::Node& node) {
    if (!node.IsMap() || node.size() == 0) return Error(node, "modules must be a map of module name to its models");
    for (const auto& entry : node) {
      if (entry.first.Scalar() != "default" || node.size() > 1) {
        return absl::UnimplementedError(absl::StrCat(
            config_.file, ":", Line(entry.first), ": module '", entry.first.Scalar(),
            "': modules of their own are not read; write the models once, with filters by the modules' name prefixes"));
      }
      const YAML::Node module = entry.second;
      MG_RETURN_IF_ERROR(CheckKeys(module, "module 'default'", {"models", "slices", "parameters"}));
      MG_RETURN_IF_ERROR(ParseInputs(module));
      if (!IsSet(module["parameters"])) continue;
      // A module's parameters come before the configuration's.
      MergekitSettings own;
      MG_RETURN_IF_ERROR(ParseSettings(module["parameters"], /*of_one_model=*/false, own));
      for (MergekitSlice& slice : config_.slices) {
        for (const auto& [name, setting] : own) {
          MergekitSetting& merged = slice.parameters[name];
          merged.entries.insert(merged.entries.end(), setting.entries.begin(), setting.entries.end());
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status ParseTokenizer(const YAML::Node& root) {
    const YAML::Node source = root["tokenizer_source"], block = root["tokenizer"];
    if (IsSet(source) && IsSet(block)) return Error(block, "tokenizer_source and tokenizer exclude each other");
    if (IsSet(source)) {
      config_.tokenizer_line = Line(source);
      return ParseTokenizerSource(source);
    }
    if (!IsSet(block)) return absl::OkStatus();
    config_.tokenizer_line = Line(block);
    MG_RETURN_IF_ERROR(CheckKeys(block, "tokenizer", {"source", "tokens", "pad_to_multiple_of"}));
    config_.tokenizer_source = "union";
    if (IsSet(block["source"])) MG_RETURN_IF_ERROR(ParseTokenizerSource(block["source"]));
    if (IsSet(block["pad_to_multiple_of"])) {
      MG_ASSIGN_OR_RETURN(config_.pad_to_multiple_of, Int(block["pad_to_multiple_of"], "pad_to_multiple_of", 1, kRowsMax));
    }
    const YAML::Node tokens = block["tokens"];
    if (!IsSet(tokens)) return absl::OkStatus();
    if (!tokens.IsMap()) return Error(tokens, absl::StrCat("tokens must be a map, not ", KindOf(tokens)));
    std::set<std::string> seen;
    for (const auto& entry : tokens) {
      if (!seen.insert(entry.first.Scalar()).second) {
        return Error(entry.first, absl::StrCat("token '", entry.first.Scalar(), "' is given twice"));
      }
      MG_RETURN_IF_ERROR(ParseToken(entry.first, entry.second));
    }
    return absl::OkStatus();
  }

  absl::Status ParseTokenizerSource(const YAML::Node& node) {
    if (node.IsScalar() && (node.Scalar() == "union" || node.Scalar() == "base")) {
      config_.tokenizer_source = node.Scalar();
      return absl::OkStatus();
    }
    config_.tokenizer_source = "model";
    MG_ASSIGN_OR_RETURN(config_.tokenizer_model, ParseModel(node, "the tokenizer's source"));
    return absl::OkStatus();
  }

  absl::Status ParseToken(const YAML::Node& name, const YAML::Node& node) {
    MergekitTokenRule token;
    token.line = Line(name);
    MG_ASSIGN_OR_RETURN(token.rule.token, Text(name, "a token"));
    MG_RETURN_IF_ERROR(CheckKeys(node, absl::StrCat("token '", token.rule.token, "'"), {"source", "force"}));
    if (IsSet(node["force"])) {
      MG_ASSIGN_OR_RETURN(token.rule.force, Bool(node["force"], "force"));
    }
    const YAML::Node source = node["source"];
    if (!IsSet(source)) return Error(node, absl::StrCat("token '", token.rule.token, "' has no source"));
    const bool by_kind = source.IsMap() && IsSet(source["kind"]);
    if (!by_kind) {
      MG_ASSIGN_OR_RETURN(token.model, ParseModel(source, "a token's source"));
      config_.tokens.push_back(std::move(token));
      return absl::OkStatus();
    }
    MG_RETURN_IF_ERROR(CheckKeys(source, "a token's source", {"kind", "model", "token", "token_id"}));
    MG_ASSIGN_OR_RETURN(const std::string kind, Text(source["kind"], "kind"));
    if (kind == "zero") {
      token.rule.zero = true;
    } else if (kind == "model_token") {
      if (!IsSet(source["model"])) return Error(source, "kind model_token needs a model");
      MG_ASSIGN_OR_RETURN(token.model, ParseModel(source["model"], "model"));
      if (IsSet(source["token"]) == IsSet(source["token_id"])) {
        return Error(source, "kind model_token needs one of token and token_id");
      }
      if (IsSet(source["token"])) {
        MG_ASSIGN_OR_RETURN(token.rule.model_token, Text(source["token"], "token"));
      } else {
        MG_ASSIGN_OR_RETURN(token.rule.token_id, Int(source["token_id"], "token_id", 0, kRowsMax));
      }
    } else {
      return Error(source["kind"], absl::StrCat("unknown kind '", kind, "'", DidYouMean(kind, {"zero", "model_token"})));
    }
    config_.tokens.push_back(std::move(token));
    return absl::OkStatus();
  }

  absl::Status ParseChatTemplate(const YAML::Node& node) {
    if (!IsSet(node)) return absl::OkStatus();
    std::string& text = config_.chat_template;
    MG_ASSIGN_OR_RETURN(text, Text(node, "chat_template"));
    if (text == "auto" || (text.size() >= 20 && absl::StrContains(text, "{"))) return absl::OkStatus();  // mergekit's bound
    const std::string name = std::exchange(text, NamedChatTemplate(text));
    if (!text.empty()) return absl::OkStatus();
    return Error(node, absl::StrCat("unknown chat_template '", name, "'", DidYouMean(name, ChatTemplateNames())));
  }

  MergekitConfig& config_;
};

}  // namespace

absl::StatusOr<MergekitConfig> ParseMergekitConfig(absl::string_view text, const std::string& file) {
  MergekitConfig config;
  config.file = file;
  MG_RETURN_IF_ERROR(CheckUtf8(text, file));
  MG_RETURN_IF_ERROR(CheckYamlText(text, file));
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return config.Error(1, absl::StrCat("the file must hold a map, not ", KindOf(root)));
    MG_RETURN_IF_ERROR(Parser(config).Parse(root));
  } catch (const YAML::Exception& e) {
    return config.Error(e.mark.line + 1, absl::StrCat("not valid YAML: ", e.msg));
  }
  return config;
}

}  // namespace merganser
