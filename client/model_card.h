// README.md and recipe.yaml that lie beside an exported checkpoint.
#ifndef MERGANSER_CLIENT_MODEL_CARD_H_
#define MERGANSER_CLIENT_MODEL_CARD_H_

#include <map>
#include <string>

#include "client/score_table.h"
#include "common/domain/candidate.h"
#include "common/domain/recipe.h"

namespace merganser {

// A recipe as YAML that `merganser merge` reads, with a comment on top.
std::string RecipeYaml(const Recipe& recipe);

// Markdown with Hugging Face's front matter: sources, the recipe's parameters per group, scores,
// how to repeat. `scores` may be empty; `held_out`: they are of benchmarks that the search has not
// seen.
std::string ModelCard(const JobSummary& job, const Candidate& candidate, const ScoreTable& scores, bool held_out);

// {"recipe.yaml", "README.md"} for a merge that no search chose.
std::map<std::string, std::string> MergeTextFiles(const Recipe& recipe, const std::string& title);

// {"recipe.yaml", "README.md"} for an export.
std::map<std::string, std::string> ExportTextFiles(const JobSummary& job, const Candidate& candidate,
                                                   const ScoreTable& scores, bool held_out);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_MODEL_CARD_H_
