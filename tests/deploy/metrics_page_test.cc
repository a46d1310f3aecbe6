// docs/metrics.md says what the binaries export, row for row.
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/exported_metrics.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

// The base unit that the name ends in, or what is counted.
std::string Unit(const std::string& name, const ExportedMetric& metric) {
  for (const char* unit : {"seconds", "bytes", "tokens", "ratio", "celsius"}) {
    if (absl::EndsWith(name, absl::StrCat("_", unit)) || absl::EndsWith(name, absl::StrCat("_", unit, "_total")))
      return unit;
  }
  return metric.type == "histogram" ? "" : "1";
}

std::string Row(const std::string& name, const ExportedMetric& metric) {
  std::set<std::string> labels;
  for (const std::string& label : metric.labels) labels.insert(absl::StrCat("`", label, "`"));
  return absl::StrCat("| `", name, "` | ", metric.type, " | ", Unit(name, metric), " | ", absl::StrJoin(labels, ", "), " | ",
                      absl::StrJoin(metric.binaries, ", "), " | ", metric.help, " |\n");
}

TEST(MetricsPageTest, HasARowForEveryMetricAndNoOther) {
  std::ifstream in(absl::StrCat(MG_SOURCE_DIR, "/docs/metrics.md"));
  const std::string page(std::istreambuf_iterator<char>(in), {});
  std::string want;
  for (const auto& [name, metric] : ExportedMetrics()) absl::StrAppend(&want, Row(name, metric));
  EXPECT_THAT(page, HasSubstr(want));
  size_t rows = 0;
  for (size_t at = page.find("\n| `merganser_"); at != std::string::npos; at = page.find("\n| `merganser_", at + 1)) ++rows;
  EXPECT_EQ(rows, ExportedMetrics().size());
}

TEST(ExportedMetricsTest, NamesEndInTheirUnitAndHelpIsASentence) {
  for (const auto& [name, metric] : ExportedMetrics()) {
    EXPECT_TRUE(absl::StartsWith(name, "merganser_")) << name;
    EXPECT_EQ(metric.type == "counter", absl::EndsWith(name, "_total")) << name;
    EXPECT_TRUE(absl::EndsWith(metric.help, ".")) << name << ": " << metric.help;
    if (metric.type == "histogram") EXPECT_FALSE(Unit(name, metric).empty()) << name;
  }
}

TEST(ExportedMetricsTest, NoLabelIsUnbounded) {
  const std::set<std::string> allowed = {"class",   "code",  "disposition", "job_id", "kind",   "method", "objective", "op",
                                         "outcome", "phase", "rank",        "reason", "result", "state",  "version"};
  for (const auto& [name, metric] : ExportedMetrics()) {
    for (const std::string& label : metric.labels) EXPECT_TRUE(allowed.contains(label)) << name << " " << label;
  }
}

}  // namespace
}  // namespace merganser
