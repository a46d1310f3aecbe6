#include "worker/benchmark/score_command.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/completions.h"
#include "worker/benchmark/metric_keys.h"

namespace merganser {
namespace {

// Several completions of a problem make pass@k an estimate over problems, whose k there must be of each.
absl::Status CountCompletions(const Completions& completions, BenchmarkDefinition* definition) {
  std::map<int64_t, int> counts;  // by problem
  for (const Sample& sample : completions.samples) ++counts[sample.line];
  for (const auto& [problem, count] : counts) {
    definition->completions = std::max(definition->completions, count);
    for (const MetricSpec& metric : definition->metrics) {
      if (count >= PassK(metric.name)) continue;
      return absl::InvalidArgumentError(absl::StrCat("benchmark '", definition->name, "': ", metric.name, " needs ",
                                                     PassK(metric.name), " completions of each problem; that of line ",
                                                     problem, " has ", count));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ScoredCompletions> ScoreCompletions(const BenchmarkDefinition& definition,
                                                   const std::string& completions_path, const ScorerOptions& options) {
  std::vector<std::string> folders;
  if (!definition.data.empty()) {
    const std::filesystem::path folder = std::filesystem::path(definition.data).parent_path();
    folders = {folder.string(), (folder / "..").lexically_normal().string()};
  }
  folders.push_back(std::filesystem::path(completions_path).parent_path().string());
  if (definition.output != BenchmarkOutput::kGenerateUntil || !definition.average_of.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "benchmark '", definition.name, "': only completions (output generate_until) can be scored without a model"));
  }
  if (definition.completions > 1 && !definition.code) {
    return absl::InvalidArgumentError(absl::StrCat(
        "benchmark '", definition.name, "': completions ", definition.completions,
        ": stored completions do not say which are of one prompt; with `completions: 1` each is scored by itself"));
  }
  BenchmarkDefinition scored_by = definition;
  Completions completions;
  if (definition.code) {
    MG_ASSIGN_OR_RETURN(completions, ReadCodeCompletions(completions_path, definition));
    MG_RETURN_IF_ERROR(CountCompletions(completions, &scored_by));
  } else {
    MG_ASSIGN_OR_RETURN(completions,
                        ReadCompletions(completions_path, definition.limit, /*numbers=*/!definition.extract.empty()));
  }
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<Scorer> scorer, Scorer::Create(scored_by, options, folders));
  ScoredCompletions scored;
  MG_ASSIGN_OR_RETURN(scored.result, scorer->Score(completions.samples, completions.texts));
  scored.extra_fields = std::move(completions.extra_fields);
  return scored;
}

}  // namespace merganser
