#include "worker/benchmark/benchmark.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/dataset.h"
#include "worker/benchmark/jp_lmeh.h"
#include "worker/benchmark/rows.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

absl::Status CheckRunnable(const BenchmarkDefinition& definition) {
  const bool generates = definition.output == BenchmarkOutput::kGenerateUntil;
  const char* missing = definition.data.empty()                       ? "data"
                        : generates && definition.prompt.empty()      ? "prompt"
                        : generates && definition.max_new_tokens <= 0 ? "max_new_tokens"
                                                                      : nullptr;
  if (missing == nullptr) return absl::OkStatus();
  std::string message = absl::StrCat("benchmark '", definition.name, "': field '", missing, "' is missing");
  if (definition.data.empty() && !definition.data_source.empty()) {
    absl::StrAppend(&message, "; it is to be had as ", definition.data_source);
  }
  return absl::InvalidArgumentError(message);
}

struct Data {
  std::vector<Row> rows;
  std::vector<Sample> numeric;  // with a number rule: one a row
};

// All of the rows with jp_lmeh, which shuffles them first.
absl::StatusOr<Data> Read(const BenchmarkDefinition& definition) {
  Data data;
  const std::optional<int64_t> limit = definition.jp_lmeh ? std::nullopt : definition.limit;
  if (definition.extract.empty()) {
    RowOptions options;
    options.columns = definition.columns;
    options.tsv_columns = {definition.question_field, definition.answer_field};
    options.limit = limit;
    options.skip = definition.skip;
    MG_ASSIGN_OR_RETURN(data.rows, LoadRows(definition.data, options));
    return data;
  }
  DatasetOptions options;
  options.question_field = definition.question_field;
  options.answer_field = definition.answer_field;
  options.columns = definition.columns;
  options.limit = limit;
  MG_ASSIGN_OR_RETURN(data.numeric, LoadDataset(definition.data, options));
  for (const Sample& sample : data.numeric) {
    MG_ASSIGN_OR_RETURN(nlohmann::ordered_json fields,
                        ParseJsonObject(definition.data, TextLine{sample.line, sample.fields_json}));
    data.rows.push_back({sample.line, std::move(fields)});
  }
  return data;
}

// The samples in JP-LMEH's order, the first `limit` of them.
Data Shuffled(Data data, std::optional<int64_t> limit, PythonRandom& random) {
  Data shuffled;
  for (const uint32_t place : random.Shuffled(static_cast<uint32_t>(data.rows.size()))) {
    if (limit && static_cast<int64_t>(shuffled.rows.size()) == *limit) break;
    shuffled.rows.push_back(std::move(data.rows[place]));
    if (!data.numeric.empty()) shuffled.numeric.push_back(std::move(data.numeric[place]));
  }
  return shuffled;
}

}  // namespace

Benchmark::Benchmark(BenchmarkDefinition definition, std::unique_ptr<const Scorer> scorer)
    : definition_(std::move(definition)), scorer_(std::move(scorer)) {}

absl::StatusOr<std::unique_ptr<Benchmark>> Benchmark::Load(BenchmarkDefinition definition, const ScorerOptions& options) {
  MG_RETURN_IF_ERROR(CheckRunnable(definition));
  const std::filesystem::path folder = std::filesystem::path(definition.data).parent_path();
  MG_ASSIGN_OR_RETURN(std::unique_ptr<Scorer> scorer,
                      Scorer::Create(definition, options, {folder.string(), (folder / "..").lexically_normal().string()}));
  auto data = Read(definition);
  if (!data.ok()) {
    std::string message(data.status().message());
    if (absl::IsNotFound(data.status()) && !definition.data_source.empty()) {
      absl::StrAppend(&message, "; it is to be had as ", definition.data_source);
    }
    return Annotate(absl::Status(data.status().code(), message), absl::StrCat("data of benchmark '", definition.name, "'"));
  }
  SampleBuilderOptions building{options.model, std::nullopt};
  if (definition.jp_lmeh) {
    *data = Shuffled(*std::move(data), definition.limit,
                     building.random.emplace(definition.few_shot.seed.value_or(kJpLmehSeed)));
  }
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<SampleBuilder> builder,
                      SampleBuilder::Create(definition, data->rows, std::move(building)));
  std::unique_ptr<Benchmark> benchmark(new Benchmark(std::move(definition), std::move(scorer)));
  for (size_t i = 0; i < data->rows.size(); ++i) {
    const Row& row = data->rows[i];
    MG_ASSIGN_OR_RETURN(BuiltSample built, builder->Build(row, i, LineName(benchmark->definition_.data, row.line),
                                                          data->numeric.empty() ? nullptr : &data->numeric[i]));
    for (int copy = 1; copy < benchmark->definition_.completions; ++copy) {
      benchmark->samples_.push_back(built.sample);
      benchmark->prompts_.push_back(built.prompt);
      benchmark->images_.push_back(built.images);
    }
    benchmark->samples_.push_back(std::move(built.sample));
    if (built.continuations.empty()) {
      benchmark->prompts_.push_back(std::move(built.prompt));
      benchmark->images_.push_back(std::move(built.images));
    } else {
      benchmark->continuations_.push_back(std::move(built.continuations));
    }
  }
  return benchmark;
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::string> completions) const {
  return scorer_->Score(samples_, completions);
}

absl::Status Benchmark::CheckSamples(absl::Span<const int64_t> samples) const {
  for (const int64_t sample : samples) {
    if (sample < 0 || sample >= static_cast<int64_t>(samples_.size())) {
      return absl::OutOfRangeError(absl::StrCat("benchmark '", definition_.name, "' has no sample ", sample));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::string> completions,
                                                 absl::Span<const int64_t> samples) const {
  MG_RETURN_IF_ERROR(CheckSamples(samples));
  std::vector<Sample> some;
  for (const int64_t sample : samples) some.push_back(samples_[static_cast<size_t>(sample)]);
  return scorer_->Score(some, completions);
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::vector<ContinuationScore>> scores) const {
  std::vector<int64_t> all(samples_.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return Score(scores, all);
}

absl::StatusOr<BenchmarkResult> Benchmark::Score(absl::Span<const std::vector<ContinuationScore>> scores,
                                                 absl::Span<const int64_t> samples) const {
  MG_RETURN_IF_ERROR(CheckSamples(samples));
  bool fits = !scores.empty() && scores.size() == samples.size() && continuations_.size() == samples_.size();
  for (size_t i = 0; fits && i < scores.size(); ++i) {
    fits = scores[i].size() == continuations_[static_cast<size_t>(samples[i])].size();
  }
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("benchmark '", definition_.name, "': scores of ", scores.size(),
                                                   " samples do not fit its ", samples.size()));
  }
  std::vector<SampleOutcome> outcomes;
  outcomes.reserve(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    outcomes.push_back(scorer_->ScoreContinuations(samples_[static_cast<size_t>(samples[i])], scores[i]));
  }
  return scorer_->Aggregated(std::move(outcomes));
}

}  // namespace merganser
