#include "worker/command/program_score.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace merganser {

absl::StatusOr<std::map<std::string, double>> ReadProgramScore(absl::string_view output) {
  output = absl::StripAsciiWhitespace(output);
  const absl::string_view line = output.substr(output.find_last_of("\n\r") + 1);
  if (line.empty()) {
    return absl::InvalidArgumentError(
        "the program wrote nothing to its standard output; the last line is its score, as JSON");
  }
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  std::map<std::string, double> metrics;
  if (json.is_number()) {
    metrics["score"] = json.get<double>();
  } else if (json.is_object()) {
    for (const auto& [name, value] : json.items()) {
      if (value.is_number()) metrics[name] = value.get<double>();
    }
  }
  constexpr size_t kShown = 200;
  const auto error = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("the last line of the program's standard output ", what, ": '",
                                                   line.substr(0, kShown), line.size() > kShown ? "..." : "", "'"));
  };
  if (metrics.empty()) return error("is no JSON number and no object with one");
  for (const auto& [name, value] : metrics) {
    if (!std::isfinite(value)) return error(absl::StrCat("has a metric '", name, "' that is not finite"));
  }
  return metrics;
}

}  // namespace merganser
