// pool: which sources complement each other, before a search starts.
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/offline_verbs.h"
#include "client/output.h"
#include "client/print_message.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "coordinator/replay/pool_selection.h"

namespace merganser {
namespace {

struct PoolOptions {
  std::vector<std::string> results;
  std::string benchmark, format = "table";
  int size_max = kPoolSizeMax;
  int choices = 3;
};

// {benchmark: {"metrics", "results": [{"correct", ...}]}} to outcomes, the benchmarks by name one after the other.
absl::StatusOr<PoolModel> ReadModel(const std::string& file, const std::string& name, const Json& benchmarks,
                                    const std::string& wanted, std::vector<std::string>* names) {
  PoolModel model{name, {}};
  std::map<std::string, const Json*> chosen;
  std::vector<std::string> known;
  for (const auto& [benchmark, entry] : benchmarks.items()) {
    known.push_back(benchmark);
    if (wanted.empty() || benchmark == wanted) chosen[benchmark] = &entry;
  }
  if (chosen.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": model '", name, "' has no results of benchmark '", wanted, "'", DidYouMean(wanted, known)));
  }
  std::vector<std::string> used;
  for (const auto& [benchmark, entry] : chosen) {
    used.push_back(benchmark);
    for (const Json& result : (*entry)["results"]) {
      if (!result.is_object() || !result.contains("correct") || !result["correct"].is_boolean()) {
        return absl::InvalidArgumentError(
            absl::StrCat(file, ": ", benchmark, ": a result of model '", name, "' has no `correct` of true or false"));
      }
      model.correct.push_back(result["correct"].get<bool>());
    }
  }
  if (names->empty()) *names = used;
  if (used != *names) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": model '", name, "' was scored on ", absl::StrJoin(used, ", "),
                                                   " where others were on ", absl::StrJoin(*names, ", "),
                                                   "; name one with --benchmark"));
  }
  return model;
}

// "FILE" with {model: {benchmark: ...}}, or "NAME=FILE" with {benchmark: ...}.
absl::Status ReadResults(const std::string& argument, const std::string& benchmark, std::vector<PoolModel>* models,
                         std::vector<std::string>* names) {
  const size_t equals = argument.find('=');
  const std::string file = equals == std::string::npos ? argument : argument.substr(equals + 1);
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto is_benchmark = [](const Json& entry) {
    return entry.is_object() && entry.contains("results") && entry["results"].is_array();
  };
  const auto holds_benchmarks = [&](const Json& entry) {
    return entry.is_object() && !entry.empty() && std::all_of(entry.begin(), entry.end(), is_benchmark);
  };
  if (equals != std::string::npos && holds_benchmarks(json)) {
    MG_ASSIGN_OR_RETURN(models->emplace_back(), ReadModel(file, argument.substr(0, equals), json, benchmark, names));
    return absl::OkStatus();
  }
  if (equals == std::string::npos && json.is_object() && !json.empty() &&
      std::all_of(json.begin(), json.end(), holds_benchmarks)) {
    for (const auto& [name, benchmarks] : json.items()) {
      MG_ASSIGN_OR_RETURN(models->emplace_back(), ReadModel(file, name, benchmarks, benchmark, names));
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      file, ": is not what `merganser evaluate --output` writes",
      equals == std::string::npos ? " for several models; give the results of one model as NAME=FILE" : " for one model"));
}

std::vector<std::string> Names(const std::vector<PoolModel>& models, const PoolChoice& choice) {
  std::vector<std::string> names;
  for (const int model : choice.models) names.push_back(models[model].name);
  return names;
}

std::string RenderTable(const std::vector<PoolModel>& models, const PoolSuggestion& suggestion) {
  Table table({"models", ">covered", ">best alone", ">only by each", ">gain", ">95 % interval"});
  for (const auto& choices : suggestion.choices) {
    for (const PoolChoice& choice : choices) {
      std::vector<std::string> only;
      for (const double share : choice.only) only.push_back(FormatPercent(share));
      table.Add({absl::StrJoin(Names(models, choice), " + "), FormatPercent(choice.coverage),
                 FormatPercent(choice.best_alone), absl::StrJoin(only, ", "), FormatPercent(choice.gain),
                 absl::StrCat(FormatPercent(choice.gain_low), " to ", FormatPercent(choice.gain_high))});
    }
  }
  const PoolChoice& best = suggestion.choices[suggestion.suggested_size - 2][0];
  return absl::StrCat(table.Render(), "\nsuggested: ", absl::StrJoin(Names(models, best), ", "),
                      best.gain_low > 0 ? "" : " (what it adds to the best model alone may be chance)", "\n");
}

Json RenderJson(const std::vector<PoolModel>& models, const PoolSuggestion& suggestion) {
  Json choices = Json::array();
  for (const auto& of_size : suggestion.choices) {
    for (const PoolChoice& choice : of_size) {
      choices.push_back({{"models", Names(models, choice)},
                         {"coverage", choice.coverage},
                         {"best_alone", choice.best_alone},
                         {"only", choice.only},
                         {"gain", choice.gain},
                         {"gain_low", choice.gain_low},
                         {"gain_high", choice.gain_high}});
    }
  }
  return {{"samples", models[0].correct.size()},
          {"suggested", Names(models, suggestion.choices[suggestion.suggested_size - 2][0])},
          {"choices", std::move(choices)}};
}

absl::StatusOr<int> SuggestSources(const PoolOptions& options) {
  std::vector<PoolModel> models;
  std::vector<std::string> benchmarks;
  for (const std::string& argument : options.results) {
    MG_RETURN_IF_ERROR(ReadResults(argument, options.benchmark, &models, &benchmarks));
  }
  MG_ASSIGN_OR_RETURN(const PoolSuggestion suggestion, SuggestPool(models, options.size_max, options.choices));
  if (PrintJson(options.format, RenderJson(models, suggestion))) return exit_code::kOk;
  Print(RenderTable(models, suggestion));
  std::cerr << models.size() << " models, " << FormatCount(static_cast<int64_t>(models[0].correct.size())) << " samples of "
            << absl::StrJoin(benchmarks, ", ") << std::endl;
  return exit_code::kOk;
}

}  // namespace

void AddPoolCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<PoolOptions>();
  CLI::App* verb = AddVerb(app, "pool", "Suggests which models to merge: those that are right where the others are wrong",
                           "  merganser evaluate models.yaml --output results.json\n"
                           "  merganser pool results.json\n"
                           "  merganser pool ja=ja.json math=math.json code=code.json --benchmark gsm8k\n\n"
                           "covered: share of the samples that at least one of the models gets right by itself, which is\n"
                           "what a merge that loses nothing would reach. gain: over the best choice of one model fewer.",
                           options, &SuggestSources, chosen);
  verb->add_option("RESULTS.json", options->results, "What `evaluate --output` wrote: several models, or NAME=FILE for one")
      ->required();
  verb->add_option("--benchmark", options->benchmark, "Only this benchmark; default: all, one after the other");
  verb->add_option("--size", options->size_max, "Largest pool, 2 to 4")->capture_default_str();
  verb->add_option("--choices", options->choices, "Pools of each size to show")->capture_default_str();
  AddFormatOption(verb, &options->format);
}

}  // namespace merganser
