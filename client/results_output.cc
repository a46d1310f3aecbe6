#include "client/results_output.h"

#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/exit_code.h"
#include "client/message_json.h"
#include "client/output.h"
#include "client/print_message.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// Shares as percent; perplexities, bits per byte and log-likelihoods as they are.
std::string FormatMetric(absl::string_view metric, double value) {
  const bool share = !absl::EndsWith(metric, "perplexity") && metric != "bits_per_byte" && metric != "log_likelihood";
  return share ? FormatPercent(value) : FormatFitness(value);
}

}  // namespace

void AddResultsOptions(CLI::App* verb, std::string* output, std::string* format) {
  verb->add_option("--output", *output, "Write metrics and every sample's result to this file (JSON)");
  verb->add_option("-o,--format", *format, "table, or json: what --output gets, on stdout")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

absl::StatusOr<int> WriteResults(const std::vector<std::pair<std::string, std::string>>& results, const std::string& output,
                                 const std::string& format, LocalLibrary& library) {
  const bool several = results.size() > 1;
  Json all = Json::object();
  Table table(several ? std::vector<std::string>{"model", "benchmark", "metric", ">value", ">95 % interval", ">n"}
                      : std::vector<std::string>{"benchmark", "metric", ">value", ">95 % interval", ">n"});
  for (const auto& [model, text] : results) {
    const Json json = Json::parse(text);
    for (const auto& [benchmark, entry] : json.items()) {
      const auto n = static_cast<int64_t>(entry["results"].size());
      for (const auto& [metric, value] : entry["metrics"].items()) {
        if (absl::EndsWith(metric, "_stderr")) continue;  // is in the interval
        const Json& interval = entry["intervals"][metric];
        std::vector<std::string> row = {benchmark, metric, FormatMetric(metric, value.get<double>()),
                                        absl::StrCat(FormatMetric(metric, interval["low"].get<double>()), " to ",
                                                     FormatMetric(metric, interval["high"].get<double>())),
                                        FormatCount(n)};
        if (several) row.insert(row.begin(), model);
        table.Add(std::move(row));
      }
    }
    if (several) {
      all[model] = json;
    } else {
      all = json;
    }
  }
  const std::string file = DumpJson(all);
  if (!output.empty()) MG_RETURN_IF_ERROR(WriteFileAtomically(output, file));
  Print(format == "json" ? file : table.Render());
  if (!output.empty()) std::cerr << "written to " << output << std::endl;
  return exit_code::kOk;
}

}  // namespace merganser
