#include "client/results_output.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/message_json.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/score_table.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// "comparison" of the model number `self` on one benchmark.
Json ComparisonJson(const std::vector<PairedDifference>& pairs, int self,
                    const std::vector<std::pair<std::string, std::string>>& results, uint64_t seed) {
  Json models = Json::object();
  for (const PairedDifference& pair : pairs) {
    if (pair.first != self && pair.second != self) continue;
    const bool first = pair.first == self;
    Json entry = {{"difference", first ? pair.difference : 0.0 - pair.difference},
                  {"low", first ? pair.low : 0.0 - pair.high},
                  {"high", first ? pair.high : 0.0 - pair.low},
                  {"p", pair.p}};
    if (pair.p_holm) entry["p_holm"] = *pair.p_holm;
    entry["test"] = pair.mcnemar ? "mcnemar" : "bootstrap";
    models[results[first ? pair.second : pair.first].first][pair.metric] = std::move(entry);
  }
  return {{"seed", seed}, {"resamplings", kComparisonResamplings}, {"models", std::move(models)}};
}

std::string FormatDifference(absl::string_view metric, double value) {
  return absl::StrCat(value < 0 ? "" : "+", FormatMetric(metric, value));
}

std::string FormatP(double p) { return p < 0.0001 ? "<0.0001" : absl::StrFormat("%.4f", p); }

std::string ComparisonTable(const ResultsComparison& comparison,
                            const std::vector<std::pair<std::string, std::string>>& results) {
  const bool holm = results.size() > 2;
  std::vector<std::string> headers = {"benchmark", "metric", "difference of", ">difference", ">95 % interval", ">p"};
  if (holm) headers.emplace_back(">p (Holm)");
  headers.emplace_back("test");
  Table table(headers);
  for (const auto& [benchmark, pairs] : comparison.benchmarks) {
    const bool average = std::any_of(pairs.begin(), pairs.end(), [](const auto& pair) { return pair.metric == "average"; });
    for (const PairedDifference& pair : pairs) {
      if (average && pair.metric != "average") continue;
      std::vector<std::string> row = {
          benchmark,
          pair.metric,
          absl::StrCat(results[pair.first].first, " - ", results[pair.second].first),
          FormatDifference(pair.metric, pair.difference),
          absl::StrCat(FormatDifference(pair.metric, pair.low), " to ", FormatDifference(pair.metric, pair.high)),
          FormatP(pair.p)};
      if (holm) row.push_back(FormatP(pair.p_holm.value_or(1)));
      row.emplace_back(pair.mcnemar ? "McNemar" : "bootstrap");
      table.Add(std::move(row));
    }
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render());
}

}  // namespace

void AddResultsOptions(CLI::App* verb, std::string* output, std::string* format) {
  verb->add_option("--output", *output, "Write metrics and every sample's result to this file (JSON)");
  verb->add_option("-o,--format", *format, "table; json or yaml: what --output gets, on stdout")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->capture_default_str();
}

absl::Status CheckOutput(const std::string& output) {
  if (output.empty()) return absl::OkStatus();
  std::error_code ignored;
  if (std::filesystem::is_directory(output, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("--output: '", output, "' is a folder, not a file"));
  }
  const std::filesystem::path folder = std::filesystem::absolute(output, ignored).parent_path();
  if (access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "--output: cannot write in", folder.string());
}

absl::StatusOr<int> WriteResults(const std::vector<std::pair<std::string, std::string>>& results, const std::string& output,
                                 const std::string& format, const ResultsComparison& comparison) {
  const bool several = results.size() > 1;
  Json all = Json::object();
  Table table(several ? std::vector<std::string>{"model", "benchmark", "metric", ">value", ">95 % interval", ">n"}
                      : std::vector<std::string>{"benchmark", "metric", ">value", ">95 % interval", ">n"});
  for (size_t m = 0; m < results.size(); ++m) {
    const auto& [model, text] = results[m];
    Json json = Json::parse(text);
    for (const auto& [benchmark, entry] : json.items()) {
      for (const auto& [metric, value] : entry["metrics"].items()) {
        if (absl::EndsWith(metric, "_stderr")) continue;  // is in the interval
        std::string interval = "-", n = "-";              // a program's number has none
        if (const auto it = entry["intervals"].find(metric); it != entry["intervals"].end()) {
          if (it->contains("n")) n = FormatCount(it->at("n").get<int64_t>());
          const Score score{.value = value.get<double>(),
                            .interval = std::pair(it->at("low").get<double>(), it->at("high").get<double>())};
          interval = IntervalText(metric, score, /*may_be_negative=*/entry["results"].empty());  // a program's
        }
        std::vector<std::string> row = {benchmark, metric, FormatMetric(metric, value.get<double>()), std::move(interval),
                                        std::move(n)};
        if (several) row.insert(row.begin(), model);
        table.Add(std::move(row));
      }
    }
    for (const auto& [benchmark, pairs] : comparison.benchmarks) {
      json[benchmark]["comparison"] = ComparisonJson(pairs, static_cast<int>(m), results, comparison.seed);
    }
    if (several) {
      all[model] = json;
    } else {
      all = json;
    }
  }
  // Printed first: what took hours is not lost to a disk that is full.
  if (!PrintJson(format, all)) Print(absl::StrCat(table.Render(), ComparisonTable(comparison, results)));
  if (!output.empty()) MG_RETURN_IF_ERROR(WriteFileAtomically(output, DumpJson(all)));
  if (!output.empty()) std::cerr << "written to " << output << std::endl;
  return exit_code::kOk;
}

}  // namespace merganser
