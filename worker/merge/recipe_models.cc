#include "worker/merge/recipe_models.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architectures.h"
#include "worker/checkpoint/evo_mistral.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/checkpoint/tokenizer_vocabulary.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/lora_source.h"
#include "worker/merge/vocabulary.h"

namespace merganser {
namespace {

absl::StatusOr<OpenedModel> OpenModel(const ModelRef& model, const ModelResolver& resolver) {
  const std::string field = absl::StrCat("models.", model.name);
  OpenedModel opened;
  absl::StatusOr<std::string> dir = resolver(model.path);
  if (!dir.ok()) return Annotate(dir.status(), field + ".path");
  opened.dir = *std::move(dir);
  absl::StatusOr<RawConfig> config = RawConfig::Read(opened.dir);
  if (!config.ok()) return Annotate(config.status(), field + ".path");
  opened.config = *std::move(config);
  absl::StatusOr<std::shared_ptr<const WeightFiles>> files = WeightFiles::Open(opened.dir);
  if (!files.ok()) return Annotate(files.status(), field + ".path");
  opened.files = *std::move(files);
  if (!model.lora.empty()) {
    absl::StatusOr<std::string> lora = resolver(model.lora);
    if (!lora.ok()) return Annotate(lora.status(), field + ".lora");
    opened.lora_dir = *std::move(lora);
  }
  return opened;
}

// A model that sees, without what no rule names of its vision tower and projector.
std::shared_ptr<const TensorSource> WithoutUnnamedVision(const std::shared_ptr<const TensorSource>& source,
                                                         const std::map<std::string, std::string>& rename) {
  auto kept = std::make_shared<DerivedSource>(source, source->label());
  for (const TensorHeader& header : source->headers()) {
    const auto names = [&](const auto& rule) { return absl::StartsWith(header.name, rule.first); };
    if (!RoleOf(header.name).part && std::none_of(rename.begin(), rename.end(), names)) kept->Hide(header.name);
  }
  return kept;
}

// The matrix with a row for each token, and the one that a tied checkpoint lacks.
struct EndTensors {
  std::string embedding, head;
};

class Adapter {
 public:
  Adapter(const Recipe& recipe, RecipeModels& models) : recipe_(recipe), models_(models) {}

  absl::Status Adapt() {
    MG_RETURN_IF_ERROR(ChooseDonors());
    MG_RETURN_IF_ERROR(CheckForwardPass());
    FindArchitectureOfMerge();
    MG_RETURN_IF_ERROR(CheckArchitectures());
    MG_RETURN_IF_ERROR(UniteHeads());
    MG_RETURN_IF_ERROR(recipe_.tokenizer.source.empty() ? UniteRows() : UniteTokenizers());
    return ChooseChatTemplate();
  }

 private:
  absl::Status CheckModel(const std::string& field, const std::string& name) const {
    if (models_.opened.count(name) > 0) return absl::OkStatus();
    std::vector<std::string> known;
    for (const auto& [model, opened] : models_.opened) known.push_back(model);
    return absl::InvalidArgumentError(absl::StrCat(field, ": no model '", name, "'", DidYouMean(name, known)));
  }

  // The first model below a stack.
  std::string LeafOf(const std::string& name, size_t depth = 0) const {
    for (const Stack& stack : recipe_.stacks) {
      if (stack.name != name || models_.opened.count(name) > 0 || depth > recipe_.stacks.size()) continue;
      return LeafOf(!stack.base.empty() ? stack.base : stack.sources.empty() ? "" : stack.sources[0], depth + 1);
    }
    return name;
  }

  absl::Status ChooseDonors() {
    models_.donor = recipe_.tokenizer_from;
    if (models_.donor.empty() && !recipe_.stacks.empty()) {
      const Stack& stack = recipe_.stacks[0];
      models_.donor = LeafOf(!stack.base.empty() ? stack.base : stack.sources.empty() ? "" : stack.sources[0]);
    }
    MG_RETURN_IF_ERROR(CheckModel("tokenizer_from", models_.donor));
    models_.config_donor = recipe_.config_from.empty() ? models_.donor : recipe_.config_from;
    MG_RETURN_IF_ERROR(CheckModel("config_from", models_.config_donor));
    const RawConfig& whole = models_.opened.at(models_.donor).config;
    const RawConfig& settings = ConfigDonor().config;
    const auto is_part = [&](const ModelRef& model) { return model.name == models_.config_donor && !model.rename.empty(); };
    const bool part = std::any_of(recipe_.models.begin(), recipe_.models.end(), is_part);
    if (!HasTextConfig(whole) || (HasTextConfig(settings) && !part)) return absl::OkStatus();
    const absl::StatusOr<std::string> patch = ForwardPassConfigPatch(whole, settings);
    if (!patch.ok()) return Annotate(patch.status(), "config_from");
    models_.notes.push_back(
        absl::StrCat("config.json: of '", models_.donor, "', with the forward pass of '", models_.config_donor, "'"));
    models_.config_donor = models_.donor;
    models_.opened.at(models_.donor).config.json = PatchedConfig(whole, *patch);  // what later patches build on
    AddPatch(*patch);
    return absl::OkStatus();
  }

  const OpenedModel& ConfigDonor() const { return models_.opened.at(models_.config_donor); }

  absl::Status CheckForwardPass() const {
    if (!recipe_.config_from.empty()) return absl::OkStatus();
    const OpenedModel& donor = ConfigDonor();
    for (const auto& [name, model] : models_.opened) {
      const auto& want = donor.config.forward_pass;
      const auto& have = model.config.forward_pass;
      std::string field, theirs, ours;
      if (model.config.architecture != donor.config.architecture) {
        field = "architectures", theirs = model.config.architecture, ours = donor.config.architecture;
      }
      for (size_t i = 0; i < std::min(want.size(), have.size()) && field.empty(); ++i) {
        if (want[i] == have[i]) continue;
        field = have[i].first, theirs = have[i].second, ours = want[i].second;
      }
      if (field.empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "models.", name, ".path: '", model.config.path, "': ", field, " is ", theirs, " but ", ours, " in '",
          donor.config.path, "' ('", models_.config_donor,
          "'); a merge has one forward pass: write `config_from: NAME` for the model whose settings it shall have"));
    }
    return absl::OkStatus();
  }

  void FindArchitectureOfMerge() {
    const RawConfig& config = ConfigDonor().config;
    architecture_ = FindArchitecture(config.architecture);
    if (config.architecture == kEvoMistralArchitecture) architecture_ = FindArchitecture("MistralForCausalLM");
    if (architecture_ == nullptr) return;
    for (const absl::string_view pattern : architecture_->mlp_output) models_.mlp_output.emplace_back(pattern);
    models_.norm_plus_one =
        absl::StartsWith(config.architecture, "Gemma2") || absl::StartsWith(config.architecture, "Gemma3");
  }

  absl::Status CheckArchitectures() {
    for (const auto& [name, model] : models_.opened) {
      if (architecture_ == nullptr) {
        models_.notes.push_back(absl::StrCat("architecture '", model.config.architecture,
                                             "' is not in the table: parts are read off the tensors' names"));
        return absl::OkStatus();
      }
      const Architecture* own = FindArchitecture(model.config.architecture);
      if (own == nullptr) continue;
      std::vector<std::string> names;
      for (const TensorView& tensor : model.files->tensors()) names.push_back(tensor.name);
      const absl::Status complete = CheckTensors(*own, model.config.architecture, names, model.dir);
      if (!complete.ok()) return Annotate(complete, absl::StrCat("models.", name, ".path"));
      const std::vector<std::string> unknown = UnknownTensors(*own, names);
      if (!unknown.empty()) {
        models_.notes.push_back(absl::StrCat("'", name, "' has ", unknown.size(), " tensors that ",
                                             model.config.architecture, " does not need (", Printable(unknown[0]),
                                             unknown.size() > 1 ? ", ..." : "", "); they are merged like the others"));
      }
    }
    return absl::OkStatus();
  }

  // By the tensors' roles: the biggest of each part, for architectures that are not in the table.
  EndTensors EndsOf(const std::string& name) const {
    EndTensors ends;
    int64_t embedding_bytes = -1, head_bytes = -1;
    for (const TensorHeader& header : models_.sources.at(name)->headers()) {
      const TensorRole role = RoleOf(header.name);
      if (header.shape.size() != 2) continue;
      if (role.part == ModelPart::kEmbedding && header.NumBytes() > embedding_bytes) {
        ends.embedding = header.name, embedding_bytes = header.NumBytes();
      }
      if (role.part == ModelPart::kHead && header.NumBytes() > head_bytes) {
        ends.head = header.name, head_bytes = header.NumBytes();
      }
    }
    return ends;
  }

  // What a head is called beside this embedding.
  std::string HeadName(const std::string& embedding) const {
    for (const auto& [name, model] : models_.opened) {
      const EndTensors ends = EndsOf(name);
      if (!ends.head.empty()) return ends.head;
    }
    if (architecture_ != nullptr && embedding == architecture_->embedding) return std::string(architecture_->head);
    if (absl::StartsWith(embedding, "gpt_neox.")) return "embed_out.weight";
    return absl::StartsWith(embedding, "language_model.") ? "language_model.lm_head.weight" : "lm_head.weight";
  }

  bool ScalesTheEmbedding() const { return !recipe_.path.empty() && recipe_.path[0].scale != 1.0; }

  absl::Status UniteHeads() {
    std::string tied, untied;  // a model of either kind
    std::map<std::string, EndTensors> ends;
    for (const auto& [name, model] : models_.opened) {
      ends[name] = EndsOf(name);
      if (ends[name].embedding.empty()) continue;  // no language model: nothing to tie
      const bool is_tied = ends[name].head.empty() || model.config.tie_word_embeddings.value_or(false);
      (is_tied ? tied : untied) = name;
    }
    std::string head = recipe_.head;
    if (head.empty() && !tied.empty() && !untied.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "head: '", tied, "' (", models_.opened.at(tied).dir, ") ties its head to the embedding and '", untied, "' (",
          models_.opened.at(untied).dir,
          ") does not; write `head: untied` (the merge gets a head of its own) or `head: tied` (heads are dropped)"));
    }
    if (head.empty() && tied.empty()) return absl::OkStatus();
    if (head.empty()) head = ScalesTheEmbedding() ? "untied" : "tied";
    models_.reheaded = head == "tied" ? !untied.empty() : !tied.empty();
    for (const auto& [name, end] : ends) {
      if (end.embedding.empty()) continue;
      const auto& source = models_.sources.at(name);
      const bool is_tied = end.head.empty() || models_.opened.at(name).config.tie_word_embeddings.value_or(false);
      auto derived = std::make_shared<DerivedSource>(source, source->label());
      if (head == "tied") {
        if (end.head.empty()) continue;
        // A stored head is of no meaning where the config ties it.
        for (const TensorHeader& header : source->headers()) {
          if (RoleOf(header.name).part == ModelPart::kHead) derived->Hide(header.name);
        }
      } else {
        if (!is_tied) continue;
        TensorHeader header = *source->Find(end.embedding);
        header.name = HeadName(end.embedding);
        derived->Replace(
            header,
            [source, embedding = end.embedding, name = header.name]() -> absl::StatusOr<LoadedTensor> {
              MG_ASSIGN_OR_RETURN(LoadedTensor loaded, source->Load(embedding));
              loaded.view.name = name;
              return loaded;
            },
            source->BufferBytes(end.embedding));
      }
      models_.sources[name] = std::move(derived);
    }
    const bool config_tied = ConfigDonor().config.tie_word_embeddings.value_or(untied.empty());
    if (config_tied != (head == "tied") || !recipe_.head.empty() || ScalesTheEmbedding()) {
      AddPatch(TieConfigPatch(ConfigDonor().config, head == "tied"));
    }
    if (!recipe_.head.empty() || (ScalesTheEmbedding() && head == "untied")) {
      models_.notes.push_back(absl::StrCat("head: ", head,
                                           head == "untied" ? "; tied models' heads are copies of their embeddings"
                                                            : "; heads of untied models are dropped"));
    }
    return absl::OkStatus();
  }

  // Tensors with a row for each token: embedding and head matrices, and a head's bias.
  std::vector<std::string> VocabularyTensors(const std::string& name) const {
    const TensorSource& source = *models_.sources.at(name);
    const int64_t rows = RowsOf(name);
    std::vector<std::string> tensors;
    for (const TensorHeader& header : source.headers()) {
      const auto part = RoleOf(header.name).part;
      if (part != ModelPart::kEmbedding && part != ModelPart::kHead) continue;
      if (!header.shape.empty() && header.shape[0] == rows && IsMergeable(header.dtype)) tensors.push_back(header.name);
    }
    return tensors;
  }

  int64_t RowsOf(const std::string& name) const {
    const std::string embedding = EndsOf(name).embedding;
    return embedding.empty() ? 0 : models_.sources.at(name)->Find(embedding)->shape[0];
  }

  absl::Status UniteRows() {
    const std::string& first = models_.donor;
    std::string donor = recipe_.vocabulary_from;
    if (!donor.empty()) MG_RETURN_IF_ERROR(CheckModel("vocabulary_from", donor));
    for (const auto& [name, model] : models_.opened) {
      if (RowsOf(name) == RowsOf(first) || RowsOf(name) == 0 || RowsOf(first) == 0 || !donor.empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "vocabulary_from: '", name, "' (", model.dir, ") has ", RowsOf(name), " embedding rows and '", first, "' (",
          models_.opened.at(first).dir, ") ", RowsOf(first),
          "; write `vocabulary_from: NAME` for the model whose rows the merge shall have (common rows are merged, the rest is "
          "that model's), or a tokenizer block that maps tokens"));
    }
    if (donor.empty()) return absl::OkStatus();
    const int64_t rows = RowsOf(donor);
    bool changed = rows != ConfigDonor().config.vocab_size;
    for (auto& [name, source] : models_.sources) {
      if (RowsOf(name) == rows || RowsOf(name) == 0) continue;
      changed = true;
      auto derived = std::make_shared<DerivedSource>(source, source->label());
      for (const std::string& tensor : VocabularyTensors(name)) {
        const auto own = source, theirs = models_.sources.at(donor);
        TensorHeader header = *own->Find(tensor);
        const TensorHeader* other = theirs->Find(tensor);
        if (other == nullptr || other->shape.size() != header.shape.size() ||
            (header.shape.size() == 2 && other->shape[1] != header.shape[1]) || !IsMergeable(other->dtype)) {
          return absl::InvalidArgumentError(absl::StrCat("vocabulary_from: tensor '", tensor, "' of '", name, "' has shape ",
                                                         ShapeText(header.shape), ", which does not fit that of '", donor,
                                                         "'"));
        }
        header.shape[0] = rows;
        const bool grows = rows > own->Find(tensor)->shape[0];
        derived->Replace(
            header, [own, theirs, header, grows] { return WithRows(*own, *theirs, header, grows); },
            grows ? header.NumBytes() : 0);
      }
      pending_[name] = std::move(derived);
    }
    for (auto& [name, source] : pending_) models_.sources[name] = std::move(source);
    if (changed) AddPatch(VocabularyConfigPatch(ConfigDonor().config, rows));
    models_.notes.push_back(absl::StrCat("vocabulary: ", rows, " rows; rows that a model lacks are those of '", donor, "'"));
    return absl::OkStatus();
  }

  // `own`'s first rows, and `theirs` behind them where it has too few.
  static absl::StatusOr<LoadedTensor> WithRows(const TensorSource& own, const TensorSource& theirs,
                                               const TensorHeader& header, bool grows) {
    MG_ASSIGN_OR_RETURN(LoadedTensor loaded, own.Load(header.name));
    loaded.view.shape = header.shape;
    if (!grows) {
      loaded.view.data = loaded.view.data.first(static_cast<size_t>(header.NumBytes()));
      return loaded;
    }
    MG_ASSIGN_OR_RETURN(const LoadedTensor other, theirs.Load(header.name));
    const auto buffer = NewBuffer(header.NumBytes());
    const size_t have = loaded.view.data.size();
    std::copy(loaded.view.data.begin(), loaded.view.data.end(), buffer.get());
    const int64_t size = SizeOf(header.dtype), first = static_cast<int64_t>(have) / size;
    const int64_t count = header.NumBytes() / size - first;
    if (other.view.dtype == header.dtype) {
      std::copy_n(other.view.data.begin() + static_cast<int64_t>(have), count * size, buffer.get() + have);
    } else {
      std::vector<float> values(static_cast<size_t>(count));
      LoadBlock({other.view.dtype, other.view.data.data(), other.view.NumElements()}, first, count, values.data());
      StoreBlock(header.dtype == DType::kF64 ? DType::kF32 : header.dtype, values.data(), count, buffer.get() + have);
    }
    loaded.view.data = {buffer.get(), static_cast<size_t>(header.NumBytes())};
    loaded.owner = buffer;
    return loaded;
  }

  absl::Status UniteTokenizers() {
    if (!recipe_.vocabulary_from.empty()) {
      return absl::InvalidArgumentError("vocabulary_from: a tokenizer block says already which rows the merge has");
    }
    std::map<std::string, TokenizerVocabulary> vocabularies;
    std::map<std::string, int64_t> rows;
    for (const auto& [name, model] : models_.opened) {
      absl::StatusOr<TokenizerVocabulary> vocabulary = TokenizerVocabulary::Read(model.dir);
      if (!vocabulary.ok()) return Annotate(vocabulary.status(), absl::StrCat("tokenizer: models.", name));
      vocabularies[name] = *std::move(vocabulary);
      rows[name] = RowsOf(name);
      if (rows[name] == 0) return absl::InvalidArgumentError(absl::StrCat("tokenizer: '", name, "' has no embedding"));
    }
    const std::string base = vocabularies.count(recipe_.stacks[0].base) > 0 ? recipe_.stacks[0].base : "";
    MG_ASSIGN_OR_RETURN(MergedVocabulary merged,
                        MergedVocabulary::Create(recipe_.tokenizer, models_.donor, base, vocabularies, rows));
    const auto vocabulary = std::make_shared<const MergedVocabulary>(std::move(merged));
    const std::vector<std::string> tensors = VocabularyTensors(models_.donor);
    for (const auto& [name, source] : models_.sources) {
      for (const std::string& tensor : tensors) {
        const TensorHeader* header = source->Find(tensor);
        const TensorHeader* donors = models_.sources.at(models_.donor)->Find(tensor);
        if (header == nullptr || header->shape.size() != donors->shape.size() || header->shape.back() == 0 ||
            (header->shape.size() == 2 && header->shape[1] != donors->shape[1])) {
          return absl::InvalidArgumentError(
              absl::StrCat("tokenizer: tensor '", tensor, "' of '", name, "' does not fit that of '", models_.donor, "'"));
        }
      }
    }
    models_.sources = WithVocabulary(models_.sources, vocabulary, tensors);
    AddPatch(VocabularyConfigPatch(ConfigDonor().config, vocabulary->rows()));
    models_.text_files["tokenizer.json"] = vocabulary->tokenizer_json();
    if (recipe_.tokenizer.source != models_.donor) {
      // Other forms of the donor's own tokenizer would contradict the merged one.
      models_.dropped_files = {"tokenizer.model", "spiece.model", "added_tokens.json", "vocab.json", "merges.txt"};
    }
    models_.notes.push_back(absl::StrCat("tokenizer: ", recipe_.tokenizer.source, ", ", vocabulary->rows(), " rows"));
    return absl::OkStatus();
  }

  absl::Status ChooseChatTemplate() {
    if (recipe_.chat_template.empty()) return absl::OkStatus();
    std::string chosen = recipe_.chat_template;
    if (chosen == "auto") {
      std::map<std::string, int> counts;
      for (const auto& [name, model] : models_.opened) {
        absl::StatusOr<std::string> text = ReadChatTemplate(model.dir);
        if (!text.ok()) return Annotate(text.status(), absl::StrCat("chat_template: models.", name));
        if (!text->empty()) ++counts[*text];
      }
      const auto best =
          std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
      if (best == counts.end()) return absl::OkStatus();
      chosen = best->first;
    }
    models_.text_files["chat_template.jinja"] = chosen;
    MG_ASSIGN_OR_RETURN(std::string config, TokenizerConfigWithTemplate(models_.opened.at(models_.donor).dir, chosen));
    if (!config.empty()) models_.text_files["tokenizer_config.json"] = std::move(config);
    return absl::OkStatus();
  }

  void AddPatch(const std::string& patch) { models_.config_patch = JoinPatches(models_.config_patch, patch); }

  const Recipe& recipe_;
  RecipeModels& models_;
  const Architecture* architecture_ = nullptr;
  SourceMap pending_;
};

}  // namespace

absl::StatusOr<RecipeModels> OpenRecipeModels(const Recipe& recipe, const ModelResolver& resolver, int threads) {
  if (recipe.models.empty()) return absl::InvalidArgumentError("models: the recipe has none");
  RecipeModels models;
  for (const ModelRef& model : recipe.models) {
    MG_ASSIGN_OR_RETURN(OpenedModel opened, OpenModel(model, resolver));
    std::shared_ptr<const TensorSource> source = FileSource(opened.files);
    if (opened.config.architecture == kEvoMistralArchitecture) {
      // Its path is the recipe's affair, not a tensor's.
      auto weights = std::make_shared<DerivedSource>(source, source->label());
      weights->Hide(std::string(kInputLayersTensor));
      weights->Hide(std::string(kInputScalesTensor));
      source = std::move(weights);
    }
    if (!opened.lora_dir.empty()) {
      absl::StatusOr<std::shared_ptr<const TensorSource>> adapted = LoraSource(source, opened.lora_dir, threads);
      if (!adapted.ok()) return Annotate(adapted.status(), absl::StrCat("models.", model.name, ".lora"));
      source = *std::move(adapted);
    }
    if (!model.rename.empty()) {
      if (HasTextConfig(opened.config)) source = WithoutUnnamedVision(source, model.rename);
      absl::StatusOr<std::shared_ptr<const TensorSource>> renamed = RenamedSource(source, model.rename);
      if (!renamed.ok()) return Annotate(renamed.status(), absl::StrCat("models.", model.name));
      source = *std::move(renamed);
    }
    models.sources[model.name] = std::move(source);
    models.opened[model.name] = std::move(opened);
  }
  MG_RETURN_IF_ERROR(Adapter(recipe, models).Adapt());
  return models;
}

absl::StatusOr<ModelFacts> ReadModelFacts(const ModelRef& model, const ModelResolver& resolver) {
  MG_ASSIGN_OR_RETURN(const OpenedModel opened, OpenModel(model, resolver));
  ModelFacts facts;
  for (const TensorView& tensor : opened.files->tensors()) {
    facts.tensor_names.push_back(tensor.name);
    if (!IsMergeable(tensor.dtype)) continue;
    const std::string dtype(ConfigName(tensor.dtype));
    if (facts.dtype.empty()) facts.dtype = dtype;
    if (facts.dtype != dtype) facts.dtype = "mixed";
  }
  if (facts.dtype == "mixed") facts.dtype.clear();
  if (facts.dtype == "float64") facts.dtype = "float32";  // the widest that is written
  return facts;
}

}  // namespace merganser
