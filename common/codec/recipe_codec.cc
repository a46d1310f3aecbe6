#include "common/codec/recipe_codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

absl::StatusOr<ModelPart> ParsePart(const std::string& name, const std::string& field) {
  for (ModelPart part : {ModelPart::kEmbedding, ModelPart::kLayers, ModelPart::kNorm, ModelPart::kHead}) {
    if (ModelPartName(part) == name) return part;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": unknown part '", name, "'", DidYouMean(name, {"embedding", "layers", "norm", "head"})));
}

absl::StatusOr<TensorGroup> FromProto(const v1::TensorGroup& proto, const std::string& field) {
  TensorGroup group;
  group.name = proto.name();
  for (const std::string& name : proto.parts()) {
    MG_ASSIGN_OR_RETURN(const ModelPart part, ParsePart(name, absl::StrCat(field, ".parts")));
    group.parts.push_back(part);
  }
  group.first_layer = proto.first_layer();
  group.end_layer = proto.has_end_layer() ? proto.end_layer() : -1;
  if (group.first_layer < 0 || (proto.has_end_layer() && group.end_layer <= group.first_layer)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": layers [", group.first_layer, ", ", group.end_layer, ") are no range of layers"));
  }
  group.filter = proto.filter();
  return group;
}

v1::TokenizerSpec ToProto(const TokenizerSpec& tokenizer) {
  v1::TokenizerSpec proto;
  proto.set_source(tokenizer.source);
  for (const TokenRule& rule : tokenizer.tokens) {
    v1::TokenRule* r = proto.add_tokens();
    r->set_token(rule.token);
    r->set_model(rule.model);
    r->set_model_token(rule.model_token);
    if (rule.token_id >= 0) r->set_token_id(rule.token_id);
    r->set_zero(rule.zero);
    r->set_force(rule.force);
  }
  proto.set_pad_to_multiple_of(tokenizer.pad_to_multiple_of);
  return proto;
}

absl::StatusOr<TokenizerSpec> FromProto(const v1::TokenizerSpec& proto) {
  TokenizerSpec tokenizer;
  tokenizer.source = proto.source();
  for (int i = 0; i < proto.tokens_size(); ++i) {
    const v1::TokenRule& r = proto.tokens(i);
    const std::string field = absl::StrCat("tokenizer.tokens[", i, "]");
    if (r.token().empty() && (r.model().empty() || !r.model_token().empty() || r.has_token_id() || r.zero() || r.force())) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, ".token: missing; a rule for all tokens that several models know has a model and nothing else"));
    }
    if (r.has_token_id() && r.token_id() < 0) {
      return absl::InvalidArgumentError(absl::StrCat(field, ".token_id: ", r.token_id(), " is negative"));
    }
    tokenizer.tokens.push_back(
        {r.token(), r.model(), r.model_token(), r.has_token_id() ? r.token_id() : -1, r.zero(), r.force()});
  }
  if (proto.pad_to_multiple_of() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.pad_to_multiple_of: ", proto.pad_to_multiple_of(), " is negative"));
  }
  tokenizer.pad_to_multiple_of = proto.pad_to_multiple_of();
  return tokenizer;
}

}  // namespace

v1::Recipe ToProto(const Recipe& recipe) {
  v1::Recipe proto;
  for (const ModelRef& model : recipe.models) {
    v1::Model& m = (*proto.mutable_models())[model.name];
    m.set_path(model.path);
    m.set_lora(model.lora);
    for (const auto& [from, to] : model.rename) (*m.mutable_rename())[from] = to;
  }
  for (const Stack& stack : recipe.stacks) {
    v1::Stack* s = proto.add_stacks();
    s->set_name(stack.name);
    s->set_method(stack.method);
    s->set_base(stack.base);
    for (const std::string& source : stack.sources) s->add_sources(source);
    for (const GroupSettings& settings : stack.settings) {
      v1::GroupSettings* g = s->add_settings();
      g->mutable_group()->set_name(settings.group.name);
      for (ModelPart part : settings.group.parts) g->mutable_group()->add_parts(std::string(ModelPartName(part)));
      g->mutable_group()->set_first_layer(settings.group.first_layer);
      if (settings.group.end_layer >= 0) g->mutable_group()->set_end_layer(settings.group.end_layer);
      g->mutable_group()->set_filter(settings.group.filter);
      for (const auto& parameters : settings.source_parameters) {
        v1::Parameters* p = g->add_sources();
        for (const auto& [key, value] : parameters) (*p->mutable_values())[key] = value;
      }
      for (const auto& [key, value] : settings.parameters) (*g->mutable_parameters())[key] = value;
    }
    if (stack.arithmetic == Arithmetic::kMergekit) s->set_arithmetic("mergekit");
    for (const auto& [name, offset] : stack.layer_offsets) (*s->mutable_layer_offsets())[name] = offset;
  }
  for (const Hop& hop : recipe.path) {
    v1::Hop* h = proto.add_path();
    h->set_stack(hop.stack);
    h->set_layer(hop.layer);
    if (hop.scale != 1.0) h->set_scale(hop.scale);
  }
  proto.set_tokenizer_from(recipe.tokenizer_from);
  proto.set_dtype(recipe.dtype);
  proto.set_mask_seed(recipe.mask_seed);
  proto.set_embedding_from(recipe.embedding_from);
  proto.set_head_from(recipe.head_from);
  proto.set_config_from(recipe.config_from);
  proto.set_head(recipe.head);
  proto.set_vocabulary_from(recipe.vocabulary_from);
  if (recipe.tokenizer != TokenizerSpec{}) *proto.mutable_tokenizer() = ToProto(recipe.tokenizer);
  proto.set_chat_template(recipe.chat_template);
  return proto;
}

absl::StatusOr<Recipe> FromProto(const v1::Recipe& proto) {
  Recipe recipe;
  for (const auto& [name, model] : proto.models())
    recipe.models.push_back({name, model.path(), model.lora(), {model.rename().begin(), model.rename().end()}});
  // A proto map has no order; equal recipes must be equal.
  std::sort(recipe.models.begin(), recipe.models.end(),
            [](const ModelRef& a, const ModelRef& b) { return a.name < b.name; });
  for (int i = 0; i < proto.stacks_size(); ++i) {
    const v1::Stack& s = proto.stacks(i);
    const std::string at = absl::StrCat("stacks[", i, "]");
    Stack stack{s.name(), s.method(), s.base(), {s.sources().begin(), s.sources().end()}, {}};
    if (s.arithmetic() == "mergekit") {
      stack.arithmetic = Arithmetic::kMergekit;
    } else if (!s.arithmetic().empty() && s.arithmetic() != "fp32") {
      return absl::InvalidArgumentError(
          absl::StrCat(at, ".arithmetic: '", s.arithmetic(), "' is neither 'fp32' nor 'mergekit'"));
    }
    for (int j = 0; j < s.settings_size(); ++j) {
      const v1::GroupSettings& g = s.settings(j);
      const std::string field = absl::StrCat(at, ".settings[", j, "]");
      GroupSettings settings;
      MG_ASSIGN_OR_RETURN(settings.group, FromProto(g.group(), absl::StrCat(field, ".group")));
      if (g.sources_size() > static_cast<int>(stack.sources.size())) {
        return absl::InvalidArgumentError(
            absl::StrCat(field, ".sources: ", g.sources_size(), " entries for ", stack.sources.size(), " sources"));
      }
      for (const v1::Parameters& p : g.sources()) {
        settings.source_parameters.emplace_back(p.values().begin(), p.values().end());
      }
      settings.parameters = {g.parameters().begin(), g.parameters().end()};
      stack.settings.push_back(std::move(settings));
    }
    stack.layer_offsets = {s.layer_offsets().begin(), s.layer_offsets().end()};
    recipe.stacks.push_back(std::move(stack));
  }
  for (int i = 0; i < proto.path_size(); ++i) {
    const v1::Hop& h = proto.path(i);
    if (h.stack() < 0 || h.stack() >= proto.stacks_size() || h.layer() < 0) {
      return absl::InvalidArgumentError(absl::StrCat("path[", i, "]: stack ", h.stack(), ", layer ", h.layer(),
                                                     " is not one of ", proto.stacks_size(), " stacks' layers"));
    }
    recipe.path.push_back({h.stack(), h.layer(), h.has_scale() ? h.scale() : 1.0});
  }
  recipe.tokenizer_from = proto.tokenizer_from();
  if (!proto.dtype().empty()) recipe.dtype = proto.dtype();
  recipe.mask_seed = proto.mask_seed();
  recipe.embedding_from = proto.embedding_from();
  recipe.head_from = proto.head_from();
  recipe.config_from = proto.config_from();
  recipe.head = proto.head();
  if (!recipe.head.empty() && recipe.head != "tied" && recipe.head != "untied") {
    return absl::InvalidArgumentError(absl::StrCat("head: '", recipe.head, "' is neither 'tied' nor 'untied'"));
  }
  recipe.vocabulary_from = proto.vocabulary_from();
  MG_ASSIGN_OR_RETURN(recipe.tokenizer, FromProto(proto.tokenizer()));
  recipe.chat_template = proto.chat_template();
  return recipe;
}

}  // namespace merganser
