#include "client/model_card.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/output.h"
#include "client/run_files.h"
#include "common/base/version.h"
#include "common/codec/recipe_codec.h"
#include "common/config/yaml_message.h"
#include "common/transfer/checkpoint_files.h"

namespace merganser {
namespace {

// A cell of a Markdown table.
std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}}); }

void AppendRow(const std::vector<std::string>& cells, std::string* text) {
  absl::StrAppend(text, "| ", absl::StrJoin(cells, " | "), " |\n");
}

void AppendHeader(const std::vector<std::string>& cells, std::string* text) {
  AppendRow(cells, text);
  AppendRow(std::vector<std::string>(cells.size(), "---"), text);
}

// One row per group, one column per source and parameter.
void AppendStack(const Stack& stack, std::string* text) {
  if (stack.method.empty()) {
    absl::StrAppend(text, "Stack `", stack.name, "`: `", absl::StrJoin(stack.sources, "`, `"), "` as it is.\n\n");
    return;
  }
  absl::StrAppend(text, "Stack `", stack.name, "`: method `", stack.method, "`",
                  stack.base.empty() ? "" : absl::StrCat(", base `", stack.base, "`"), ", sources `",
                  absl::StrJoin(stack.sources, "`, `"), "`.\n\n");
  if (stack.settings.empty()) return;
  std::set<std::string> own, whole;
  for (const GroupSettings& g : stack.settings) {
    for (const auto& parameters : g.source_parameters) {
      for (const auto& [name, value] : parameters) own.insert(name);
    }
    for (const auto& [name, value] : g.parameters) whole.insert(name);
  }
  std::vector<std::string> header = {"group"};
  for (const std::string& source : stack.sources) {
    for (const std::string& name : own) header.push_back(Cell(absl::StrCat(name, " of ", source)));
  }
  header.insert(header.end(), whole.begin(), whole.end());
  AppendHeader(header, text);
  const auto value_of = [](const std::map<std::string, double>& values, const std::string& name) {
    const auto it = values.find(name);
    return it == values.end() ? std::string("default") : absl::StrFormat("%.4f", it->second);
  };
  for (const GroupSettings& g : stack.settings) {
    std::vector<std::string> row = {Cell(g.group.name)};
    for (size_t s = 0; s < stack.sources.size(); ++s) {
      for (const std::string& name : own) {
        row.push_back(s < g.source_parameters.size() ? value_of(g.source_parameters[s], name) : "default");
      }
    }
    for (const std::string& name : whole) row.push_back(value_of(g.parameters, name));
    AppendRow(row, text);
  }
  absl::StrAppend(text, "\n");  // or what follows is a row of the table
}

// A path of this machine means nothing on a Hub page.
bool IsHubId(const std::string& path) {
  std::error_code error;
  return !std::filesystem::path(path).is_absolute() && !std::filesystem::is_directory(path, error);
}

// What a merge is made of. Recipes may list more: a search's have the whole pool, whatever their path takes of it.
struct Parts {
  std::vector<const Stack*> stacks;
  std::vector<const ModelRef*> models;
};

Parts PartsOf(const Recipe& recipe) {
  std::vector<bool> used(recipe.stacks.size());
  const auto use = [&](size_t stack) {
    if (stack < used.size()) used[stack] = true;
  };
  if (recipe.path.empty()) use(0);
  for (const Hop& hop : recipe.path) use(static_cast<size_t>(hop.stack));
  for (const std::string& end : {recipe.embedding_from, recipe.head_from}) {
    if (end.empty()) use(0);
    for (size_t s = 0; s < recipe.stacks.size() && !end.empty(); ++s) {
      if (recipe.stacks[s].name == end) use(s);
    }
  }
  std::set<std::string> merged;  // models, and stacks that stand earlier
  Parts parts;
  for (size_t s = recipe.stacks.size(); s-- > 0;) {
    const Stack& stack = recipe.stacks[s];
    if (!used[s] && merged.count(stack.name) == 0) continue;
    merged.insert(stack.sources.begin(), stack.sources.end());
    merged.insert(stack.base);
    parts.stacks.insert(parts.stacks.begin(), &stack);
  }
  merged.insert({recipe.tokenizer_from, recipe.config_from, recipe.vocabulary_from, recipe.tokenizer.source});
  for (const TokenRule& rule : recipe.tokenizer.tokens) merged.insert(rule.model);
  const bool all = recipe.tokenizer.source == "union" || recipe.chat_template == "auto";  // they ask every model
  for (const ModelRef& model : recipe.models) {
    if (all || merged.count(model.name) > 0) parts.models.push_back(&model);
  }
  return parts;
}

// "2 models".
std::string Models(const Recipe& recipe) {
  const size_t count = PartsOf(recipe).models.size();
  return absl::StrCat(count, count == 1 ? " model" : " models");
}

// Hugging Face's front matter and the title.
std::string CardHead(const Recipe& recipe, const std::string& title) {
  std::string text = "---\nlibrary_name: transformers\ntags:\n- merge\n- merganser\n", hub_ids;
  for (const ModelRef* model : PartsOf(recipe).models) {
    if (IsHubId(SplitContent(model->path).first))
      absl::StrAppend(&hub_ids, "- ", model->path.substr(0, model->path.find('@')), "\n");
  }
  if (!hub_ids.empty()) absl::StrAppend(&text, "base_model:\n", hub_ids);
  return absl::StrCat(text, "---\n\n# ", title, "\n\n");
}

void AppendRecipe(const Recipe& recipe, std::string* text) {
  absl::StrAppend(text, "\n## Sources\n\n");
  AppendHeader({"name", "checkpoint"}, text);
  const Parts parts = PartsOf(recipe);
  for (const ModelRef* model : parts.models) {
    const std::string adapter = model->lora.empty() ? "" : absl::StrCat(" with adapter `", model->lora, "`");
    AppendRow({Cell(model->name), Cell(absl::StrCat("`", SplitContent(model->path).first, "`", adapter))}, text);
  }
  if (!recipe.tokenizer_from.empty()) absl::StrAppend(text, "\nTokenizer and config: `", recipe.tokenizer_from, "`.");
  absl::StrAppend(text, recipe.tokenizer_from.empty() ? "\n" : " ", "Weights: ", recipe.dtype,
                  ". The licences of the sources apply to this merge.\n\n## Recipe\n\n");
  for (const Stack* stack : parts.stacks) AppendStack(*stack, text);
  const std::string path = PathText(recipe);
  if (!path.empty()) absl::StrAppend(text, "Path: ", path, ".\n\n");
  absl::StrAppend(text, "`recipe.yaml` holds it in full.\n");
}

constexpr char kRepeat[] =
    "\n## Repeat it\n\n    merganser merge recipe.yaml OUT_DIR\n\nmakes the same weights again, where the sources are at "
    "the paths above.";

}  // namespace

std::string RecipeYaml(const Recipe& recipe) {
  return absl::StrCat("# A merge recipe of merganser ", kVersion,
                      ". The same weights again: merganser merge THIS_FILE OUT_DIR\n", WriteYaml(ToProto(recipe)));
}

std::string ModelCard(const JobSummary& job, const Candidate& candidate, const ScoreTable& scores, bool held_out) {
  const Recipe& recipe = candidate.recipe;
  std::string text = CardHead(recipe, job.spec.name);
  absl::StrAppend(&text, "A merge of ", Models(recipe), ", found by evolution with merganser ", kVersion, ": candidate ",
                  candidate.number, " of job ", job.spec.name, " (", job.id, "), ", FormatCount(job.search_finished),
                  " candidates tried. Nothing was trained.\n");
  AppendRecipe(recipe, &text);
  if (!candidate.fitness.empty()) {
    absl::StrAppend(&text, "\n## Fitness\n\n");
    AppendHeader({"objective", "value"}, &text);
    const std::vector<std::string> names = FitnessNames(job.spec, candidate);
    for (size_t i = 0; i < candidate.fitness.size() && i < names.size(); ++i) {
      AppendRow({Cell(names[i]), FormatFitness(candidate.fitness[i])}, &text);
    }
    absl::StrAppend(&text, "\nThe search chose by this number, so it flatters the winner.\n");
  }
  if (!scores.empty()) {
    absl::StrAppend(
        &text, "\n## Scores\n\n", held_out ? "On samples that the search never saw." : "On the samples of the search.",
        " Intervals are 95 %: Wilson's for shares of samples, 1.96 standard errors to each side for other metrics.\n");
    for (const auto& [benchmark, models] : scores) {
      absl::StrAppend(&text, "\n### ", benchmark, "\n\n");
      AppendHeader({"model", "metric", "value", "95 % interval", "samples"}, &text);
      for (const std::string& model : ModelsInOrder(job, models)) {
        for (const auto& [metric, s] : models.at(model)) {
          AppendRow({Cell(model), Cell(metric), FormatMetric(metric, s.value), IntervalText(metric, s), ItemsText(s)},
                    &text);
        }
      }
    }
  }
  absl::StrAppend(&text, kRepeat, " Seed of the search: ", job.spec.seed, ".\n");
  return text;
}

std::map<std::string, std::string> MergeTextFiles(const Recipe& recipe, const std::string& title) {
  std::string card = CardHead(recipe, title);
  absl::StrAppend(&card, "A merge of ", Models(recipe), " with merganser ", kVersion, ". Nothing was trained.\n");
  AppendRecipe(recipe, &card);
  absl::StrAppend(&card, kRepeat, "\n");
  return {{"recipe.yaml", RecipeYaml(recipe)}, {"README.md", std::move(card)}};
}

std::map<std::string, std::string> ExportTextFiles(const JobSummary& job, const Candidate& candidate,
                                                   const ScoreTable& scores, bool held_out) {
  return {{"recipe.yaml", RecipeYaml(candidate.recipe)}, {"README.md", ModelCard(job, candidate, scores, held_out)}};
}

}  // namespace merganser
