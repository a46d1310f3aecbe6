#include "worker/benchmark/benchmark.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/dataset.h"
#include "worker/benchmark/text_lines.h"
#include "worker/text/template.h"

namespace merganser {
namespace {

absl::Status CheckRunnable(const BenchmarkDefinition& definition) {
  const char* missing = definition.data.empty()          ? "data"
                        : definition.prompt.empty()      ? "prompt"
                        : definition.max_new_tokens <= 0 ? "max_new_tokens"
                                                         : nullptr;
  if (missing == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("benchmark '", definition.name, "': field '", missing, "' is missing"));
}

// What the template sees of a sample.
absl::StatusOr<std::string> PromptContext(const Sample& sample,
                                          const BenchmarkDefinition& definition) {
  if (definition.question_field == "question") return sample.fields_json;
  MG_ASSIGN_OR_RETURN(nlohmann::ordered_json fields,
                      ParseJsonObject(definition.data, TextLine{sample.line, sample.fields_json}));
  if (!fields.contains("question")) fields["question"] = sample.question;
  return fields.dump();
}

absl::StatusOr<std::vector<std::string>> RenderPrompts(const std::vector<Sample>& samples,
                                                       const BenchmarkDefinition& definition) {
  MG_ASSIGN_OR_RETURN(const Template prompt,
                      Template::Compile(absl::StrCat("prompt of benchmark '", definition.name, "'"),
                                        definition.prompt));
  std::vector<std::string> prompts;
  prompts.reserve(samples.size());
  for (const Sample& sample : samples) {
    MG_ASSIGN_OR_RETURN(const std::string context, PromptContext(sample, definition));
    auto rendered = prompt.Render(context);
    if (!rendered.ok()) return Annotate(rendered.status(), LineName(definition.data, sample.line));
    prompts.push_back(*std::move(rendered));
  }
  return prompts;
}

}  // namespace

Benchmark::Benchmark(BenchmarkDefinition definition, std::vector<Sample> samples,
                     std::vector<std::string> prompts, std::unique_ptr<const Scorer> scorer)
    : definition_(std::move(definition)),
      samples_(std::move(samples)),
      prompts_(std::move(prompts)),
      scorer_(std::move(scorer)) {}

absl::StatusOr<std::unique_ptr<Benchmark>> Benchmark::Load(BenchmarkDefinition definition,
                                                           const ScorerOptions& options) {
  MG_RETURN_IF_ERROR(CheckRunnable(definition));
  const std::filesystem::path folder = std::filesystem::path(definition.data).parent_path();
  MG_ASSIGN_OR_RETURN(
      std::unique_ptr<Scorer> scorer,
      Scorer::Create(definition, options,
                     {folder.string(), (folder / "..").lexically_normal().string()}));
  DatasetOptions dataset;
  dataset.question_field = definition.question_field;
  dataset.answer_field = definition.answer_field;
  dataset.limit = definition.limit;
  auto samples = LoadDataset(definition.data, dataset);
  if (!samples.ok()) {
    return Annotate(samples.status(), absl::StrCat("data of benchmark '", definition.name, "'"));
  }
  MG_ASSIGN_OR_RETURN(std::vector<std::string> prompts, RenderPrompts(*samples, definition));
  return std::unique_ptr<Benchmark>(new Benchmark(std::move(definition), *std::move(samples),
                                                  std::move(prompts), std::move(scorer)));
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::string> completions) const {
  return scorer_->Score(samples_, completions);
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::string> completions,
                                                 absl::Span<const int64_t> samples) const {
  if (samples.size() == samples_.size()) return Score(completions);
  std::vector<Sample> some;
  for (const int64_t sample : samples) {
    if (sample < 0 || sample >= static_cast<int64_t>(samples_.size())) {
      return absl::OutOfRangeError(absl::StrCat("benchmark '", definition_.name, "' has no sample ", sample));
    }
    some.push_back(samples_[static_cast<size_t>(sample)]);
  }
  return scorer_->Score(some, completions);
}

}  // namespace merganser
