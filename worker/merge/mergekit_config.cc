#include "worker/merge/mergekit_config.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/base/yaml_text.h"
#include "common/domain/merge_method_spec.h"
#include "worker/merge/mergekit_nodes.h"
#include "worker/merge/mergekit_parameters.h"
#include "worker/merge/mergekit_words.h"
#include "worker/merge/named_chat_templates.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {
constexpr int kLayersMax = 1'000'000;
constexpr int kRowsMax = 1 << 30;

class Parser {
 public:
  explicit Parser(MergekitConfig& config) : config_(config), nodes_(config.file) {}

  absl::Status Parse(const YAML::Node& root) {
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(root, "the configuration",
                                        {"merge_method", "models", "slices", "modules", "base_model", "dtype", "out_dtype",
                                         "tokenizer_source", "tokenizer", "chat_template", "parameters"}));
    MG_RETURN_IF_ERROR(ParseMethod(root));
    if (const YAML::Node base = root["base_model"]; IsSet(base)) {
      MG_ASSIGN_OR_RETURN(config_.base_model, nodes_.Model(base, "base_model"));
    }
    if (const YAML::Node node = root["parameters"]; IsSet(node)) {
      MG_RETURN_IF_ERROR(ParseSettings(node, /*of_one_model=*/false, config_.parameters));
    }
    const bool has_out_dtype = IsSet(root["out_dtype"]);
    MG_RETURN_IF_ERROR(ParseDtype(root["dtype"], "dtype", has_out_dtype, config_.dtype));
    MG_RETURN_IF_ERROR(ParseDtype(root["out_dtype"], "out_dtype", has_out_dtype, config_.out_dtype));
    config_.in_float64 = IsSet(root["dtype"]) && config_.dtype.empty();
    config_.types_line = IsSet(root["dtype"]) ? Line(root["dtype"])
                         : has_out_dtype      ? Line(root["out_dtype"])
                                              : config_.method_line;
    MG_RETURN_IF_ERROR(ParseInputs(root));
    MG_RETURN_IF_ERROR(ParseTokenizer(root));
    return ParseChatTemplate(root["chat_template"]);
  }

 private:
  static bool IsSet(const YAML::Node& node) { return MergekitNodes::IsSet(node); }

  absl::Status Error(const YAML::Node& node, absl::string_view what) const { return nodes_.Error(node, what); }

  absl::Status ParseSettings(const YAML::Node& node, bool of_one_model, MergekitSettings& settings) const {
    return ParseMergekitParameters(nodes_, config_.method, node, of_one_model, settings);
  }

  absl::Status ParseMethod(const YAML::Node& root) {
    const YAML::Node node = root["merge_method"];
    if (!IsSet(node)) return Error(root, "merge_method is missing");
    MG_ASSIGN_OR_RETURN(config_.method, nodes_.Text(node, "merge_method"));
    config_.method_line = Line(node);
    std::vector<std::string> known;
    for (const MethodSpec& method : AllMethodSpecs()) known.push_back(method.name);
    if (!Contains(known, config_.method)) {
      return Error(node, absl::StrCat("unknown merge_method '", config_.method, "'", DidYouMean(config_.method, known)));
    }
    return absl::OkStatus();
  }

  absl::Status ParseDtype(const YAML::Node& node, absl::string_view key, bool has_out_dtype, std::string& dtype) const {
    if (!IsSet(node)) return absl::OkStatus();
    MG_ASSIGN_OR_RETURN(std::string text, nodes_.Text(node, key));
    absl::string_view name = text;
    absl::ConsumePrefix(&name, "torch.");
    const std::vector<std::string> known = {"bfloat16", "float16", "float32"};
    // What mergekit computes in float64 we compute in fp32, so the type of the result must be another's word.
    if (name == "float64") {
      if (key == "dtype" && has_out_dtype) return absl::OkStatus();
      return Error(node, absl::StrCat(key, ": results are not stored as float64; write `", key, ": float32`"));
    }
    if (!Contains(known, name)) {
      return Error(node, absl::StrCat(key, ": weights cannot be merged as '", text, "'", DidYouMean(name, known)));
    }
    dtype = std::string(name);
    return absl::OkStatus();
  }

  absl::Status ParseLayerRange(const YAML::Node& node, MergekitSource& source) const {
    if (!node.IsSequence() || node.size() != 2) return Error(node, "layer_range must be [first, end)");
    MG_ASSIGN_OR_RETURN(source.first_layer, nodes_.Int(node[0], "layer_range", 0, kLayersMax));
    MG_ASSIGN_OR_RETURN(source.end_layer, nodes_.Int(node[1], "layer_range", 0, kLayersMax));
    if (source.end_layer < source.first_layer) {
      return Error(node,
                   absl::StrCat("layer_range [", source.first_layer, ", ", source.end_layer, ") ends before it begins"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MergekitSource> ParseSource(const YAML::Node& node, bool with_range) const {
    std::vector<std::string> keys = {"model", "parameters"};
    if (with_range) keys.push_back("layer_range");
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(node, with_range ? "a source" : "a model", keys));
    MergekitSource source;
    if (!IsSet(node["model"])) return Error(node, "model is missing");
    MG_ASSIGN_OR_RETURN(source.model, nodes_.Model(node["model"], "model"));
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
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(node, "a slice", {"sources", "base_model", "residual_weight", "parameters"}));
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
      MG_ASSIGN_OR_RETURN(slice.base_model, nodes_.Model(node["base_model"], "base_model"));
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
    const bool several = node.size() > 1 || node.begin()->first.Scalar() != "default";
    std::set<std::string> seen;
    for (const auto& entry : node) {
      MG_ASSIGN_OR_RETURN(const std::string name, nodes_.Text(entry.first, "a module's name"));
      if (!seen.insert(name).second) return Error(entry.first, absl::StrCat("module '", name, "' is given twice"));
      const YAML::Node module = entry.second;
      MG_RETURN_IF_ERROR(nodes_.CheckKeys(module, absl::StrCat("module '", name, "'"), {"models", "slices", "parameters"}));
      if (several && IsSet(module["slices"])) {
        return absl::UnimplementedError(absl::StrCat(config_.file, ":", Line(module["slices"]), ": slices of module '", name,
                                                     "': of several modules each has its models whole; write models"));
      }
      const size_t first = config_.slices.size();
      MG_RETURN_IF_ERROR(ParseInputs(module));
      // A module's parameters come before the configuration's.
      MergekitSettings own;
      if (IsSet(module["parameters"])) {
        MG_RETURN_IF_ERROR(ParseSettings(module["parameters"], /*of_one_model=*/false, own));
      }
      for (size_t i = first; i < config_.slices.size(); ++i) {
        MergekitSlice& slice = config_.slices[i];
        if (several) slice.module = name;
        for (const auto& [parameter, setting] : own) {
          MergekitSetting& merged = slice.parameters[parameter];
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
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(block, "tokenizer", {"source", "tokens", "pad_to_multiple_of"}));
    config_.tokenizer_source = "union";
    if (IsSet(block["source"])) MG_RETURN_IF_ERROR(ParseTokenizerSource(block["source"]));
    if (IsSet(block["pad_to_multiple_of"])) {
      MG_ASSIGN_OR_RETURN(config_.pad_to_multiple_of,
                          nodes_.Int(block["pad_to_multiple_of"], "pad_to_multiple_of", 1, kRowsMax));
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
    MG_ASSIGN_OR_RETURN(config_.tokenizer_model, nodes_.Model(node, "the tokenizer's source"));
    return absl::OkStatus();
  }

  absl::Status ParseToken(const YAML::Node& name, const YAML::Node& node) {
    MergekitTokenRule token;
    token.line = Line(name);
    MG_ASSIGN_OR_RETURN(token.rule.token, nodes_.Text(name, "a token"));
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(node, absl::StrCat("token '", token.rule.token, "'"), {"source", "force"}));
    if (IsSet(node["force"])) {
      MG_ASSIGN_OR_RETURN(token.rule.force, nodes_.Bool(node["force"], "force"));
    }
    const YAML::Node source = node["source"];
    if (!IsSet(source)) return Error(node, absl::StrCat("token '", token.rule.token, "' has no source"));
    const bool by_kind = source.IsMap() && IsSet(source["kind"]);
    if (!by_kind) {
      MG_ASSIGN_OR_RETURN(token.model, nodes_.Model(source, "a token's source"));
      config_.tokens.push_back(std::move(token));
      return absl::OkStatus();
    }
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(source, "a token's source", {"kind", "model", "token", "token_id"}));
    MG_ASSIGN_OR_RETURN(const std::string kind, nodes_.Text(source["kind"], "kind"));
    if (kind == "zero") {
      token.rule.zero = true;
    } else if (kind == "model_token") {
      if (!IsSet(source["model"])) return Error(source, "kind model_token needs a model");
      MG_ASSIGN_OR_RETURN(token.model, nodes_.Model(source["model"], "model"));
      if (IsSet(source["token"]) == IsSet(source["token_id"])) {
        return Error(source, "kind model_token needs one of token and token_id");
      }
      if (IsSet(source["token"])) {
        MG_ASSIGN_OR_RETURN(token.rule.model_token, nodes_.Text(source["token"], "token"));
      } else {
        MG_ASSIGN_OR_RETURN(token.rule.token_id, nodes_.Int(source["token_id"], "token_id", 0, kRowsMax));
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
    MG_ASSIGN_OR_RETURN(text, nodes_.Text(node, "chat_template"));
    if (text == "auto" || (text.size() >= 20 && absl::StrContains(text, "{"))) return absl::OkStatus();  // mergekit's bound
    const std::string name = std::exchange(text, NamedChatTemplate(text));
    if (!text.empty()) return absl::OkStatus();
    return Error(node, absl::StrCat("unknown chat_template '", name, "'", DidYouMean(name, ChatTemplateNames())));
  }

  MergekitConfig& config_;
  const MergekitNodes nodes_;
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
