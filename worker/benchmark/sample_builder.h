// From rows of data to samples: what the model reads and what is right.
#ifndef MERGANSER_WORKER_BENCHMARK_SAMPLE_BUILDER_H_
#define MERGANSER_WORKER_BENCHMARK_SAMPLE_BUILDER_H_

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/benchmark/definition.h"
#include "worker/benchmark/field_template.h"
#include "worker/benchmark/jp_lmeh.h"
#include "worker/benchmark/model_text.h"
#include "worker/benchmark/python_random.h"
#include "worker/benchmark/rows.h"
#include "worker/benchmark/sample.h"

namespace merganser {

// What is scored: `continuation` behind `context`. An empty context is the beginning of a text.
struct ScoringText {
  std::string context;
  std::string continuation;
};

struct BuiltSample {
  Sample sample;
  std::string prompt;                      // generate_until; few-shots included
  std::vector<ScoringText> continuations;  // the others: one a choice, with acc_mutual_info each again by itself, or one
  // Files of the pictures that stand for the prompt's "<image>"s, in order; none where the prompt has no such mark or the
  // row no field `image`.
  std::vector<std::string> images;
};

// What stands for a picture in a prompt.
inline constexpr char kImageMark[] = "<image>";

// What building needs beside the definition.
struct SampleBuilderOptions {
  std::shared_ptr<const ModelText> model;  // null: prompts are taken to fit
  std::optional<PythonRandom> random;      // jp_lmeh: the generator that has shuffled the rows
};

class SampleBuilder {
 public:
  // For the data's `rows`. Reads the few-shots. InvalidArgument, NotFound: naming benchmark, field, and the file and line of
  // an example.
  static absl::StatusOr<std::unique_ptr<SampleBuilder>> Create(const BenchmarkDefinition& definition,
                                                               absl::Span<const Row> rows,
                                                               SampleBuilderOptions options = {});

  // The sample of `row`, one of `rows`, the `index`-th of the data (all in order, once each, where few_shot.python or
  // jp_lmeh draws); `where` names the row in errors. For a number rule `numeric` has the sample with its answer already.
  // InvalidArgument: a template asks for what the row lacks, prompt or target is a field that is null, a target that is none
  // of the choices, no choices, or what Images finds wrong.
  absl::StatusOr<BuiltSample> Build(const Row& row, size_t index, const std::string& where, const Sample* numeric = nullptr);

 private:
  // The row's pictures for `context`, a prompt with its few-shots. InvalidArgument: a field `image` that is no path and no
  // list of paths, or another number of marks. Unimplemented: a mark in what is scored and not continued.
  absl::StatusOr<std::vector<std::string>> Images(const nlohmann::ordered_json& fields, const std::string& context) const;
  SampleBuilder(const BenchmarkDefinition& definition, SampleBuilderOptions options)
      : definition_(definition), model_(std::move(options.model)), python_(std::move(options.random)) {}
  absl::Status CompileTemplates();
  absl::Status LoadFewShots();
  void KnowFields(absl::Span<const Row> rows);

  nlohmann::ordered_json Context(const nlohmann::ordered_json& fields) const;
  absl::StatusOr<std::vector<std::string>> Choices(const nlohmann::ordered_json& fields, const std::string& json) const;
  absl::Status SetTarget(const nlohmann::ordered_json& fields, const std::string& json, Sample* sample) const;
  // lm-evaluation-harness's other way of saying which choice is right: a prompt of digits alone is the index of the right
  // choice, the choices are contexts, and the target is what is scored behind them.
  bool IsIndex(const std::string& prompt) const;
  absl::Status SetIndexed(const nlohmann::ordered_json& fields, const std::string& json, const std::string& prompt,
                          Sample* sample) const;
  // The beginning of every answer; "" without gen_prefix.
  absl::StatusOr<std::string> GenPrefix(const nlohmann::ordered_json& fields, const std::string& json) const;
  // A prompt and its answer, gen_prefix between them.
  absl::StatusOr<std::string> Answered(const nlohmann::ordered_json& fields, const std::string& json,
                                       const std::string& prompt, const std::string& answer) const;
  // Where choices are the contexts of what is scored, each of them ends with gen_prefix.
  bool ChoicesAreContexts(bool indexed) const { return indexed || continuation_.has_value(); }
  // What is scored of a `sample` with choices, behind `context`; `begun` is its gen_prefix.
  absl::StatusOr<std::vector<ScoringText>> ScoredChoices(const Sample& sample, const std::string& json,
                                                         const std::string& context, const std::string& begun,
                                                         bool indexed) const;
  // Build, whose errors do not say where yet.
  absl::StatusOr<BuiltSample> BuildHere(const Row& row, size_t index, const Sample* numeric);
  // An example with its answer.
  absl::StatusOr<std::string> Example(size_t shot);
  // The targets of all examples, for jp_lmeh.stratified.
  absl::Status Stratify();
  // Places in shots_, more than `count` where the row's own may come up.
  absl::StatusOr<std::vector<size_t>> Drawn(size_t index, int count);
  absl::StatusOr<std::string> Prefix(const Row& row, size_t index, const std::string& json, int count);
  // The prompt that ends in `question`, with as many examples, or as much of its articles, as the model has room for.
  absl::StatusOr<std::string> FittingPrompt(const Row& row, size_t index, const std::string& json, const Sample& sample,
                                            const std::string& question);

  const BenchmarkDefinition definition_;
  const std::shared_ptr<const ModelText> model_;
  std::optional<FieldTemplate> description_, prompt_, target_, continuation_, gen_prefix_;
  std::vector<FieldTemplate> choices_;
  std::vector<Row> shots_;
  std::vector<std::string> examples_;    // rendered once; "" until then
  bool excludes_sample_ = false;         // a sample must not be its own example
  std::optional<PythonRandom> python_;   // few_shot.python, jp_lmeh
  std::optional<ExampleStrata> strata_;  // jp_lmeh.stratified
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SAMPLE_BUILDER_H_
