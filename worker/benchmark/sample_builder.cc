#include "worker/benchmark/sample_builder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_forms.h"
#include "worker/benchmark/text_lines.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kImageField[] = "image";
constexpr uint64_t kHarnessSeed = 1234;  // lm-evaluation-harness's --seed

bool IsWholeNumber(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

// As lm-evaluation-harness joins texts: `delimiter` between them unless one of them is empty or white space is there.
std::string Joint(absl::string_view left, absl::string_view right, absl::string_view delimiter) {
  const bool joined = left.empty() || right.empty() || StripTrailingWhitespace(left).size() != left.size() ||
                      StripWhitespace(right).data() != right.data();
  return absl::StrCat(left, joined ? "" : delimiter, right);
}

// Where the `shot`-th example, `row`, stands.
std::string ExampleName(const FewShots& few, const Row& row, size_t shot) {
  return few.samples.empty() ? LineName(few.data, row.line) : absl::StrCat("few_shot.samples[", shot, "]");
}

}  // namespace

absl::StatusOr<std::unique_ptr<SampleBuilder>> SampleBuilder::Create(const BenchmarkDefinition& definition,
                                                                     absl::Span<const Row> rows,
                                                                     SampleBuilderOptions options) {
  std::unique_ptr<SampleBuilder> builder(new SampleBuilder(definition, std::move(options)));
  MG_RETURN_IF_ERROR(builder->CompileTemplates());
  MG_RETURN_IF_ERROR(builder->LoadFewShots());
  builder->KnowFields(rows);
  builder->KnowFields(builder->shots_);
  MG_RETURN_IF_ERROR(builder->Stratify());
  return builder;
}

void SampleBuilder::KnowFields(absl::Span<const Row> rows) {
  for (const Row& row : rows) {
    prompt_->Know(row.fields);
    if (target_) target_->Know(row.fields);
    for (FieldTemplate& choice : choices_) choice.Know(row.fields);
  }
}

absl::Status SampleBuilder::CompileTemplates() {
  const auto compile = [&](absl::string_view field, const std::string& source, std::optional<FieldTemplate>* out) {
    auto compiled = FieldTemplate::Compile(absl::StrCat(field, " of benchmark '", definition_.name, "'"), source);
    if (compiled.ok()) out->emplace(*std::move(compiled));
    return compiled.status();
  };
  MG_RETURN_IF_ERROR(compile("prompt", definition_.prompt, &prompt_));
  if (!definition_.description.empty()) MG_RETURN_IF_ERROR(compile("description", definition_.description, &description_));
  if (!definition_.target.empty()) MG_RETURN_IF_ERROR(compile("target", definition_.target, &target_));
  if (!definition_.gen_prefix.empty()) MG_RETURN_IF_ERROR(compile("gen_prefix", definition_.gen_prefix, &gen_prefix_));
  if (definition_.continuation) MG_RETURN_IF_ERROR(compile("continuation", *definition_.continuation, &continuation_));
  for (size_t i = 0; i < definition_.choices.size(); ++i) {
    std::optional<FieldTemplate> choice;
    MG_RETURN_IF_ERROR(compile(absl::StrCat("choices[", i, "]"), definition_.choices[i], &choice));
    choices_.push_back(*std::move(choice));
  }
  return absl::OkStatus();
}

absl::Status SampleBuilder::LoadFewShots() {
  const FewShots& few = definition_.few_shot;
  const std::string where = absl::StrCat("few_shot of benchmark '", definition_.name, "'");
  if (few.count == 0) return absl::OkStatus();
  for (const std::string& sample : few.samples) {
    Json fields = Json::parse(sample, nullptr, /*allow_exceptions=*/false);
    if (!fields.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": samples[", shots_.size(), "] is no map of a sample's fields"));
    }
    shots_.push_back({static_cast<int64_t>(shots_.size()), std::move(fields)});
  }
  if (few.samples.empty()) {
    if (few.data.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": ", few.count, " examples, but neither data nor samples"));
    }
    RowOptions options;
    options.columns = definition_.columns;
    options.tsv_columns = {definition_.question_field, definition_.answer_field};
    if (!few.seed && !few.python && !definition_.jp_lmeh && !few.excludes_sample) options.limit = few.count;
    auto rows = LoadRows(few.data, options);
    if (!rows.ok()) {
      std::string message(rows.status().message());
      if (absl::IsNotFound(rows.status())) {
        absl::StrAppend(&message, "; give few_shot: {data: FILE}, or {count: 0} for none",
                        definition_.data_source.empty() ? "" : "; the benchmark's data comes from ",
                        definition_.data_source);
      }
      return Annotate(absl::Status(rows.status().code(), message), where);
    }
    shots_ = *std::move(rows);
  }
  excludes_sample_ = few.excludes_sample;
  // One of them may be the sample itself; the harness draws one more in any case.
  const bool draws = few.python || definition_.jp_lmeh;
  const bool one_more = excludes_sample_ && (draws || (few.samples.empty() && few.data == definition_.data));
  const auto available = static_cast<int>(shots_.size()) - (one_more ? 1 : 0);
  if (available < few.count) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": count ", few.count, ", but there are ", available, " examples"));
  }
  examples_.resize(shots_.size());
  if (few.python && !definition_.jp_lmeh) python_.emplace(few.seed.value_or(kHarnessSeed));
  return absl::OkStatus();
}

Json SampleBuilder::Context(const Json& fields) const {
  Json context = fields;
  // The template's `question`, whatever the field is called.
  if (!context.contains("question") && context.contains(definition_.question_field)) {
    context["question"] = context[definition_.question_field];
  }
  return context;
}

absl::StatusOr<std::vector<std::string>> SampleBuilder::Choices(const Json& fields, const std::string& json) const {
  std::vector<std::string> choices;
  if (choices_.size() == 1) {
    MG_ASSIGN_OR_RETURN(FieldTemplate::Value value, choices_[0].Render(fields, json));
    if (!value.is_list) return absl::InvalidArgumentError(absl::StrCat("choices: '", Shortened(value.text), "' is no list"));
    choices = std::move(value.elements);
  } else {
    for (const FieldTemplate& choice : choices_) {
      MG_ASSIGN_OR_RETURN(std::string text, choice.RenderText(json));
      choices.push_back(std::move(text));
    }
  }
  if (choices.empty()) return absl::InvalidArgumentError("choices: there are none");
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].empty()) return absl::InvalidArgumentError(absl::StrCat("choices[", i, "] is empty"));
  }
  return choices;
}

absl::Status SampleBuilder::SetTarget(const Json& fields, const std::string& json, Sample* sample) const {
  FieldTemplate::Value value;
  if (target_) {
    MG_ASSIGN_OR_RETURN(value, target_->Render(fields, json));
  } else if (definition_.code) {
    value.text = "";  // a test says what is right
  } else {
    const auto answer = fields.find(definition_.answer_field);
    if (answer == fields.end()) {
      return absl::InvalidArgumentError(absl::StrCat("field '", definition_.answer_field, "' is missing"));
    }
    value = FieldTemplate::OfField(definition_.answer_field, *answer);
  }
  MG_RETURN_IF_ERROR(CheckNoNull(value));
  if (!value.is_list) value.elements = {value.text};
  if (value.elements.empty()) return absl::InvalidArgumentError("target: an empty list");
  if (sample->choices.empty()) {
    sample->references = std::move(value.elements);
    sample->answer = sample->references.front();
    return absl::OkStatus();
  }
  for (const std::string& element : value.elements) {
    int index = -1;
    const auto at = std::find(sample->choices.begin(), sample->choices.end(), element);
    if (IsWholeNumber(element) && absl::SimpleAtoi(element, &index)) {
      // An index, even if a choice is spelt like one.
    } else if (at != sample->choices.end()) {
      index = static_cast<int>(at - sample->choices.begin());
    }
    if (index < 0 || index >= static_cast<int>(sample->choices.size())) {
      return absl::InvalidArgumentError(absl::StrCat("target '", Shortened(element), "' is none of the ",
                                                     sample->choices.size(), " choices, and no index of one"));
    }
    sample->gold.push_back(index);
  }
  sample->answer = sample->choices[sample->gold.front()];
  if (definition_.output == BenchmarkOutput::kGenerateUntil) sample->references = {sample->answer};
  return absl::OkStatus();
}

bool SampleBuilder::IsIndex(const std::string& prompt) const {
  return definition_.output == BenchmarkOutput::kMultipleChoice && !continuation_ && IsWholeNumber(prompt);
}

absl::Status SampleBuilder::SetIndexed(const Json& fields, const std::string& json, const std::string& prompt,
                                       Sample* sample) const {
  int index = -1;
  if (!absl::SimpleAtoi(prompt, &index) || index >= static_cast<int>(sample->choices.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt '", Shortened(prompt), "' is an index, but there are ", sample->choices.size(), " choices"));
  }
  MG_ASSIGN_OR_RETURN(const FieldTemplate::Value target, target_->Render(fields, json));
  MG_RETURN_IF_ERROR(CheckNoNull(target));
  sample->gold = {index};
  sample->answer = sample->choices[index];
  sample->references = {target.text};
  return absl::OkStatus();
}

absl::StatusOr<std::string> SampleBuilder::GenPrefix(const Json& fields, const std::string& json) const {
  if (!gen_prefix_) return "";
  MG_ASSIGN_OR_RETURN(const FieldTemplate::Value value, gen_prefix_->Render(fields, json));
  return value.null_field.empty() ? value.text : "";
}

absl::StatusOr<std::string> SampleBuilder::Answered(const Json& fields, const std::string& json, const std::string& prompt,
                                                    const std::string& answer) const {
  MG_ASSIGN_OR_RETURN(const std::string begun, GenPrefix(fields, json));
  if (begun.empty()) return absl::StrCat(prompt, definition_.target_delimiter, answer, definition_.few_shot.delimiter);
  return absl::StrCat(Joint(prompt, begun, definition_.target_delimiter), Joint(begun, answer, " ").substr(begun.size()),
                      definition_.few_shot.delimiter);
}

absl::StatusOr<std::string> SampleBuilder::Example(size_t shot) {
  if (!examples_[shot].empty()) return examples_[shot];
  const Json fields = Context(shots_[shot].fields);
  const std::string json = fields.dump();
  const auto render = [&]() -> absl::StatusOr<std::string> {
    MG_ASSIGN_OR_RETURN(const FieldTemplate::Value prompt, prompt_->Render(fields, json));
    Sample sample;
    if (!choices_.empty()) {
      MG_ASSIGN_OR_RETURN(sample.choices, Choices(fields, json));
    }
    if (IsIndex(prompt.text)) {
      MG_RETURN_IF_ERROR(SetIndexed(fields, json, prompt.text, &sample));
      return Answered(fields, json, sample.answer, sample.references.front());
    }
    MG_RETURN_IF_ERROR(SetTarget(fields, json, &sample));
    if (!continuation_) return Answered(fields, json, prompt.text, sample.answer);
    MG_ASSIGN_OR_RETURN(const std::string continuation, continuation_->RenderText(json));
    return Answered(fields, json, prompt.text + sample.answer, continuation);
  };
  auto text = render();
  if (!text.ok()) return Annotate(text.status(), ExampleName(definition_.few_shot, shots_[shot], shot));
  return examples_[shot] = *std::move(text);
}

absl::Status SampleBuilder::Stratify() {
  if (!definition_.jp_lmeh || !definition_.jp_lmeh->stratified || shots_.empty()) return absl::OkStatus();
  std::vector<std::string> targets;
  for (size_t i = 0; i < shots_.size(); ++i) {
    const Json fields = Context(shots_[i].fields);
    const std::string json = fields.dump();
    Sample sample;
    const auto target = [&]() -> absl::Status {
      if (!choices_.empty()) {
        MG_ASSIGN_OR_RETURN(sample.choices, Choices(fields, json));
      }
      return SetTarget(fields, json, &sample);
    };
    MG_RETURN_IF_ERROR(Annotate(target(), ExampleName(definition_.few_shot, shots_[i], i)));
    targets.push_back(std::move(sample.answer));
  }
  strata_.emplace(targets);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<size_t>> SampleBuilder::Drawn(size_t index, int count) {
  const FewShots& few = definition_.few_shot;
  std::vector<size_t> pool(shots_.size());
  for (size_t i = 0; i < pool.size(); ++i) pool[i] = i;
  if (python_) {
    // As the harnesses: one more where the sample itself may come up, in case it does.
    const auto wanted = count + (excludes_sample_ ? 1 : 0);
    if (strata_) return strata_->Draw(wanted, *python_);
    const std::vector<uint32_t> drawn = python_->Sample(static_cast<uint32_t>(pool.size()), static_cast<uint32_t>(wanted));
    pool.assign(drawn.begin(), drawn.end());
  } else if (few.seed) {
    Rng rng(*few.seed, index);
    for (size_t i = 0; i + 1 < pool.size() && i <= static_cast<size_t>(count); ++i) {
      std::swap(pool[i], pool[i + static_cast<size_t>(rng.Uniform() * static_cast<double>(pool.size() - i))]);
    }
  }
  return pool;
}

absl::StatusOr<std::string> SampleBuilder::Prefix(const Row& row, size_t index, const std::string& json, int count) {
  std::string prefix;
  if (description_) {
    MG_ASSIGN_OR_RETURN(prefix, description_->RenderText(json));
  }
  if (count == 0) return prefix;
  MG_ASSIGN_OR_RETURN(const std::vector<size_t> pool, Drawn(index, count));
  int taken = 0;
  for (size_t i = 0; i < pool.size() && taken < count; ++i) {
    if (excludes_sample_ && shots_[pool[i]].fields == row.fields) continue;
    MG_ASSIGN_OR_RETURN(const std::string example, Example(pool[i]));
    absl::StrAppend(&prefix, example);
    ++taken;
  }
  return prefix;
}

absl::StatusOr<std::string> SampleBuilder::FittingPrompt(const Row& row, size_t index, const std::string& json,
                                                         const Sample& sample, const std::string& question) {
  using TooLong = JpLmehSettings::TooLong;
  const TooLong too_long = definition_.jp_lmeh->too_long;
  int64_t room = 0;
  if (model_ != nullptr) {
    int64_t new_tokens = definition_.max_new_tokens;
    if (definition_.answer_tokens) {
      int64_t longest = 0;
      for (const std::string& reference : sample.references) {
        MG_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, model_->encode(reference));
        longest = std::max(longest, static_cast<int64_t>(tokens.size()));
      }
      new_tokens = std::min(new_tokens, longest + *definition_.answer_tokens);
    }
    room = model_->max_context - new_tokens;
  }
  for (int count = definition_.few_shot.count;; --count) {
    MG_ASSIGN_OR_RETURN(std::string prompt, Prefix(row, index, json, count));
    prompt += question;
    if (model_ == nullptr || too_long == TooLong::kCut) return prompt;
    if (too_long == TooLong::kShorterArticles) return WithShorterArticles(prompt, *definition_.jp_lmeh, room, *model_);
    MG_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, model_->encode(prompt));
    if (static_cast<int64_t>(tokens.size()) <= room) return prompt;
    if (count == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt is ", tokens.size(), " tokens even without examples; the model has room for ", room));
    }
  }
}

absl::StatusOr<std::vector<std::string>> SampleBuilder::Images(const Json& fields, const std::string& context) const {
  std::vector<std::string> images;
  const auto field = fields.find(kImageField);
  size_t marks = 0;
  for (size_t at = context.find(kImageMark); at != std::string::npos; at = context.find(kImageMark, at + 1)) ++marks;
  if (field == fields.end() || marks == 0) return images;
  if (definition_.output != BenchmarkOutput::kGenerateUntil) {
    return absl::UnimplementedError("pictures stand in prompts of `output: generate_until` only");
  }
  const Json list = field->is_array() ? *field : Json::array({*field});
  for (const Json& path : list) {
    if (!path.is_string() || path.get_ref<const std::string&>().empty()) {
      return absl::InvalidArgumentError(absl::StrCat("field '", kImageField, "' is ", Shortened(field->dump()),
                                                     ", not the path of a picture or a list of paths"));
    }
    // An absolute path stays as it is.
    images.push_back(
        (std::filesystem::path(definition_.data).parent_path() / path.get<std::string>()).lexically_normal().string());
  }
  if (images.size() == marks) return images;
  return absl::InvalidArgumentError(
      absl::StrCat("field '", kImageField, "' names ", images.size(), " pictures, but the prompt has ", marks, " ",
                   kImageMark, " marks", definition_.few_shot.count > 0 ? ", those of its examples among them" : ""));
}

absl::StatusOr<std::vector<ScoringText>> SampleBuilder::ScoredChoices(const Sample& sample, const std::string& json,
                                                                      const std::string& context, const std::string& begun,
                                                                      bool indexed) const {
  std::string continuation = indexed ? sample.references.front() : "";
  if (continuation_ && !indexed) {
    MG_ASSIGN_OR_RETURN(continuation, continuation_->RenderText(json));
  }
  const std::string& delimiter = definition_.target_delimiter;
  std::vector<ScoringText> scored;
  for (const std::string& choice : sample.choices) {
    scored.push_back(ChoicesAreContexts(indexed) ? ScoringText{context + choice + begun, delimiter + continuation}
                                                 : ScoringText{context, delimiter + choice});
  }
  if (std::find(definition_.metrics.begin(), definition_.metrics.end(), MetricSpec{"acc_mutual_info"}) !=
      definition_.metrics.end()) {
    for (const std::string& choice : sample.choices) scored.push_back({"", delimiter + choice});
  }
  return scored;
}

absl::StatusOr<BuiltSample> SampleBuilder::BuildHere(const Row& row, size_t index, const Sample* numeric) {
  const Json fields = Context(row.fields);
  const std::string json = fields.dump();
  BuiltSample built;
  Sample& sample = built.sample;
  bool indexed = false;
  MG_ASSIGN_OR_RETURN(const FieldTemplate::Value prompt, prompt_->Render(fields, json));
  MG_RETURN_IF_ERROR(CheckNoNull(prompt));
  if (numeric != nullptr) {
    sample = *numeric;
  } else {
    sample.line = row.line;
    sample.fields_json = json;
    const auto question = fields.find(definition_.question_field);
    sample.question = question != fields.end() ? TextOf(*question) : prompt.text;
    if (!choices_.empty()) {
      MG_ASSIGN_OR_RETURN(sample.choices, Choices(fields, json));
    }
    indexed = IsIndex(prompt.text);
    MG_RETURN_IF_ERROR(indexed ? SetIndexed(fields, json, prompt.text, &sample) : SetTarget(fields, json, &sample));
  }
  const bool fits = definition_.jp_lmeh && definition_.output == BenchmarkOutput::kGenerateUntil;
  std::string context;
  if (!fits) {
    MG_ASSIGN_OR_RETURN(context, Prefix(row, index, json, definition_.few_shot.count));
  }
  MG_ASSIGN_OR_RETURN(const std::string begun, GenPrefix(fields, json));
  if (!indexed) {
    context += ChoicesAreContexts(indexed) ? prompt.text : Joint(prompt.text, begun, definition_.target_delimiter);
  }
  if (fits) {
    MG_ASSIGN_OR_RETURN(context, FittingPrompt(row, index, json, sample, context));
  }
  MG_ASSIGN_OR_RETURN(built.images, Images(fields, context));
  switch (definition_.output) {
    case BenchmarkOutput::kGenerateUntil:
      built.prompt = context;
      break;
    case BenchmarkOutput::kMultipleChoice: {
      MG_ASSIGN_OR_RETURN(built.continuations, ScoredChoices(sample, json, context, begun, indexed));
      break;
    }
    case BenchmarkOutput::kLogLikelihood:
      built.continuations.push_back(
          {context, (definition_.bare_target ? "" : definition_.target_delimiter) + sample.references.front()});
      break;
    case BenchmarkOutput::kRollingLogLikelihood:
      built.continuations.push_back({"", sample.references.front()});
      break;
  }
  for (const ScoringText& text : built.continuations) {
    if (text.continuation.empty()) return absl::InvalidArgumentError("what is to be scored is empty");
  }
  return built;
}

absl::StatusOr<BuiltSample> SampleBuilder::Build(const Row& row, size_t index, const std::string& where,
                                                 const Sample* numeric) {
  auto built = BuildHere(row, index, numeric);
  if (!built.ok()) return Annotate(built.status(), where);
  return built;
}

}  // namespace merganser
