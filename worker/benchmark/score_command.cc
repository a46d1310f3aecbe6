#include "worker/benchmark/score_command.h"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/completions.h"

namespace merganser {

absl::StatusOr<ScoredCompletions> ScoreCompletions(const BenchmarkDefinition& definition,
                                                   const std::string& completions_path,
                                                   const ScorerOptions& options) {
  std::vector<std::string> folders;
  if (!definition.data.empty()) {
    const std::filesystem::path folder = std::filesystem::path(definition.data).parent_path();
    folders = {folder.string(), (folder / "..").lexically_normal().string()};
  }
  folders.push_back(std::filesystem::path(completions_path).parent_path().string());
  if (definition.output != BenchmarkOutput::kGenerateUntil || !definition.average_of.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("benchmark '", definition.name, "': only completions (output generate_until) can be scored without a model"));
  }
  if (definition.code) {
    return absl::InvalidArgumentError(absl::StrCat(
        "benchmark '", definition.name, "': code is run on its samples by `evaluate`; stored completions have no tests"));
  }
  MG_ASSIGN_OR_RETURN(Completions completions,
                      ReadCompletions(completions_path, definition.limit, /*numbers=*/!definition.extract.empty()));
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<Scorer> scorer,
                      Scorer::Create(definition, options, folders));
  ScoredCompletions scored;
  MG_ASSIGN_OR_RETURN(scored.result, scorer->Score(completions.samples, completions.texts));
  scored.extra_fields = std::move(completions.extra_fields);
  return scored;
}

}  // namespace merganser
