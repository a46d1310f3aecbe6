// replay: optimizers against what a job has recorded, without a model.
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/offline_verbs.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/recorded_responses.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "coordinator/replay/replay.h"

namespace merganser {
namespace {

struct ReplayCommandOptions {
  std::string job, store, responses, save, by = "surrogate", samples = "fixed", format = "table";
  std::vector<std::string> optimizers;
  std::vector<int64_t> budgets = {20000};
  double held_out = 0.4;
  int each = 0, seeds = 11, finalists = 0;
  bool skip_error = false;
};

// "cma_es" or "cma_es: {population: 12, preset: published}": a name, and options as YAML's flow form has them; also in the
// braces that a job file has around them.
absl::StatusOr<OptimizerSpec> ParseOptimizer(const std::string& text) {
  OptimizerSpec spec;
  absl::string_view inner = absl::StripAsciiWhitespace(text);
  if (absl::ConsumePrefix(&inner, "{")) absl::ConsumeSuffix(&inner, "}");
  const std::pair<std::string, std::string> parts = absl::StrSplit(inner, absl::MaxSplits(':', 1));
  spec.name = std::string(absl::StripAsciiWhitespace(parts.first));
  absl::string_view body = absl::StripAsciiWhitespace(parts.second);
  const auto bad = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("--optimizer '", text, "': ", what, "; write 'NAME' or 'NAME: {key: value, ...}'"));
  };
  if (spec.name.empty()) return bad("names no optimizer");
  if (body.empty()) return spec;
  if (body.size() < 2 || body.front() != '{' || body.back() != '}') return bad("options are not in braces");
  for (const absl::string_view entry : absl::StrSplit(body.substr(1, body.size() - 2), ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> option = absl::StrSplit(entry, absl::MaxSplits(':', 1));
    const std::string key(absl::StripAsciiWhitespace(option.first)), value(absl::StripAsciiWhitespace(option.second));
    if (key.empty() || value.empty()) return bad(absl::StrCat("'", entry, "' is not 'key: value'"));
    double number = 0;
    if (absl::SimpleAtod(value, &number)) {
      spec.numbers[key] = number;
    } else {
      spec.words[key] = value;
    }
  }
  return spec;
}

ReplayOptions::Samples ToSamples(const std::string& word) {
  if (word == "fresh") return ReplayOptions::Samples::kFresh;
  if (word == "race") return ReplayOptions::Samples::kRace;
  if (word == "fisher") return ReplayOptions::Samples::kFisher;
  if (word == "estimated") return ReplayOptions::Samples::kEstimated;
  return ReplayOptions::Samples::kFixed;
}

// What the searches of one optimizer have at one budget.
struct Line {
  std::string optimizer;
  int64_t budget = 0;
  std::vector<double> best, mean, answer, flattery, candidates, spent;  // a number per seed
};

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

std::string Spread(const std::vector<double>& values) {
  return absl::StrCat(FormatPercent(Quantile(values, 0.5)), " (", FormatPercent(Quantile(values, 0.1)), " to ",
                      FormatPercent(Quantile(values, 0.9)), ")");
}

// Plays every optimizer with every seed; a line for each optimizer and budget, in order.
absl::StatusOr<std::vector<Line>> PlayAll(const ReplayCommandOptions& options, const std::vector<OptimizerSpec>& specs,
                                          const std::vector<std::vector<bool>>& known, const ResponseModel& model) {
  std::vector<Line> lines;
  for (size_t i = 0; i < specs.size(); ++i) {
    const size_t first = lines.size();
    for (const int64_t budget : options.budgets) lines.push_back({options.optimizers[i], budget, {}, {}, {}, {}, {}, {}});
    for (int seed = 1; seed <= options.seeds; ++seed) {
      ReplayOptions run;
      run.sample_evaluations = options.budgets;
      run.samples_per_candidate = options.each;
      run.samples = ToSamples(options.samples);
      run.held_out = options.held_out;
      run.finalists = options.finalists;
      run.known = known;
      run.seed = static_cast<uint64_t>(seed);
      MG_ASSIGN_OR_RETURN(const std::vector<ReplayResult> results, Replay(specs[i], model, run));
      for (size_t j = 0; j < results.size(); ++j) {
        const ReplayResult& result = results[j];
        Line& line = lines[first + j];
        line.best.push_back(result.best_held_out);
        line.mean.push_back(result.mean_held_out);
        line.answer.push_back(result.answer_held_out);
        line.flattery.push_back(result.best_measured - result.best_held_out);
        line.candidates.push_back(static_cast<double>(result.candidates));
        line.spent.push_back(static_cast<double>(result.sample_evaluations));
      }
    }
  }
  return lines;
}

Json LinesJson(const std::vector<Line>& lines) {
  Json all = Json::array();
  for (const Line& line : lines) {
    all.push_back({{"optimizer", line.optimizer},
                   {"budget", line.budget},
                   {"candidates", line.candidates},
                   {"sample_evaluations", line.spent},
                   {"best_held_out", line.best},
                   {"mean_held_out", line.mean},
                   {"answer_held_out", line.answer},
                   {"measured_minus_held_out", line.flattery}});
  }
  return all;
}

std::string LinesTable(const std::vector<Line>& lines, bool with_finalists) {
  std::vector<std::string> headers = {
      "optimizer", ">budget", ">candidates", ">held out: best measured", ">held out: mean", ">measured too high by"};
  if (with_finalists) headers.insert(headers.end() - 1, ">held out: best finalist");
  Table table(headers);
  for (const Line& line : lines) {
    std::vector<std::string> row = {
        line.optimizer,    FormatCount(line.budget), FormatCount(static_cast<int64_t>(Quantile(line.candidates, 0.5))),
        Spread(line.best), Spread(line.mean),        FormatPercent(Quantile(line.flattery, 0.5))};
    if (with_finalists) row.insert(row.end() - 1, Spread(line.answer));
    table.Add(row);
  }
  return table.Render();
}

absl::StatusOr<int> ReplayJob(const ReplayCommandOptions& options) {
  if (options.responses.empty() == options.job.empty()) {
    return absl::InvalidArgumentError("give a JOB with --store, or --responses FILE");
  }
  if (!options.job.empty() && options.store.empty()) {
    return absl::InvalidArgumentError("replay reads a job's records: --store is missing, such as sqlite:out/ja-math/run.db");
  }
  if (options.seeds < 1) return absl::InvalidArgumentError(absl::StrCat("--seeds ", options.seeds, " is below 1"));
  std::vector<OptimizerSpec> specs;
  for (const std::string& text : options.optimizers) {
    MG_ASSIGN_OR_RETURN(specs.emplace_back(), ParseOptimizer(text));
  }
  MG_ASSIGN_OR_RETURN(const RecordedOutcomes outcomes, options.responses.empty()
                                                           ? ReadRecordedOutcomes(options.store, options.job)
                                                           : ReadOutcomesFile(options.responses));
  const std::vector<Response>& responses = outcomes.recipes;
  std::vector<std::vector<bool>> known;
  for (const Response& of_a_model : outcomes.models) known.push_back(of_a_model.correct);
  if (options.samples == "estimated" && known.empty()) {
    return absl::FailedPreconditionError(
        "--samples estimated needs to know what the sources get right, and the record has no line {\"model\": name, "
        "\"correct\": ...}; --save of a job writes them");
  }
  if (!options.save.empty()) {
    MG_RETURN_IF_ERROR(WriteFileAtomically(options.save, FormatOutcomes(outcomes)));
    std::cerr << responses.size() << " recipes written to " << options.save << std::endl;
  }
  const auto model = options.by == "surrogate" ? MakeSurrogateModel(responses) : MakeNearestModel(responses);
  std::cerr << responses.size() << " recipes of " << model->dimension() << " genes, " << model->samples() << " samples"
            << std::endl;
  const bool with_error = options.by == "surrogate" && !options.skip_error;
  const SurrogateError error = with_error ? LeftOutError(responses) : SurrogateError();

  MG_ASSIGN_OR_RETURN(const std::vector<Line> lines, PlayAll(options, specs, known, *model));
  if (options.format != "table") {
    Json all = {
        {"recipes", responses.size()}, {"samples", model->samples()}, {"by", options.by}, {"lines", LinesJson(lines)}};
    if (with_error) {
      all["left_out_error"] = {{"rmse", error.rmse}, {"spread", error.spread}, {"correlation", error.correlation}};
    }
    PrintJson(options.format, all);
    return exit_code::kOk;
  }
  Print(LinesTable(lines, options.finalists > 0));
  if (with_error) {
    Print(absl::StrCat("\nsurrogate on recipes that it has not seen: off by ", FormatPercent(error.rmse),
                       " (root mean square; a constant: ", FormatPercent(error.spread), "), correlation ",
                       FormatFitness(error.correlation), "\n"));
  }
  return exit_code::kOk;
}

}  // namespace

void AddReplayCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ReplayCommandOptions>();
  options->optimizers = {"cma_es", "cma_es: {preset: published}", "random"};
  CLI::App* verb =
      AddVerb(app, "replay", "Plays optimizers against what a job recorded, without a model",
              "  merganser replay ja-math --store sqlite:out/ja-math/run.db\n"
              "  merganser replay ja-math --store sqlite:out/ja-math/run.db --optimizer 'cma_es: {population: 20}' \\\n"
              "      --optimizer gp --budget 5000 --each 50 --samples fresh --save responses.jsonl\n"
              "  merganser replay --responses responses.jsonl --by nearest\n\n"
              "Two fifths of the samples are held out: the table tells how the best measured candidate, the\n"
              "distribution's mean and the best finalist score there, median (10 % to 90 %) over seeds.",
              options, &ReplayJob, chosen);
  verb->add_option("JOB", options->job, "Id or name");
  verb->add_option("--store", options->store,
                   "Where the job's records are: a run's folder, sqlite:FILE or redis://HOST:PORT");
  verb->add_option("--responses", options->responses, "What --save wrote, in place of a job");
  verb->add_option("--save", options->save, "Write the recorded outcomes to this file, a recipe a line");
  verb->add_option("--optimizer", options->optimizers, "NAME or 'NAME: {key: value}'; again for more")
      ->capture_default_str();
  verb->add_option("--by", options->by,
                   "surrogate: a Gaussian process fitted to the records; nearest: the nearest recorded recipe")
      ->check(CLI::IsMember({"surrogate", "nearest"}))
      ->capture_default_str();
  verb->add_option("--budget", options->budgets,
                   "Sample evaluations: candidates times samples; again, ascending, for more stops of the same searches")
      ->capture_default_str();
  verb->add_option("--each", options->each, "Samples per candidate; 0: all that are not held out")->capture_default_str();
  verb->add_option(
          "--samples", options->samples,
          "fixed: the same for all candidates; fresh: drawn anew for each generation; race: fresh, in blocks of 16, "
          "losers are stopped; fisher: fresh, most of them those that tell most about such candidates; "
          "estimated: fixed, and the score on all is estimated from them by item response, as MERGE3 does")
      ->check(CLI::IsMember({"fixed", "fresh", "race", "fisher", "estimated"}))
      ->capture_default_str();
  verb->add_option("--finalists", options->finalists,
                   "So many of the best, and the mean, are scored once more on all samples that are not held out")
      ->capture_default_str();
  verb->add_option("--held-out", options->held_out, "Share of the samples that no search sees")->capture_default_str();
  verb->add_flag("--skip-error", options->skip_error, "Leave out how far the surrogate is off, which takes ten fits");
  verb->add_option("--seeds", options->seeds, "Searches per optimizer")->capture_default_str();
  AddFormatOption(verb, &options->format);
}

}  // namespace merganser
