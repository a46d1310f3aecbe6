// Every metric that deploy/ asks for is one that the binaries export, and every dashboard is one that Grafana provisions.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/exported_metrics.h"
#include "tests/deploy/queries.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// The family that exports the series `name`: histograms have three suffixes.
bool Exports(const std::map<std::string, ExportedMetric>& exported, const std::string& name) {
  if (exported.contains(name)) return true;
  for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
    const std::string family(absl::StripSuffix(name, suffix));
    if (const auto it = exported.find(family); family != name && it != exported.end()) return it->second.type == "histogram";
  }
  return false;
}

std::vector<Query> AllQueries(std::set<std::string>* recorded) {
  std::vector<Query> queries = RuleQueries(recorded);
  for (const auto& [file, text] : Dashboards()) {
    for (Query& query : DashboardQueries(file, text)) queries.push_back(std::move(query));
  }
  return queries;
}

TEST(MetricNamesTest, QuotedTextIsNoMetric) {
  EXPECT_THAT(MetricNames(R"(sum(job:merganser_x:sum{job="merganser-worker"}) / rate(merganser_y_total[5m]))"),
              ElementsAre("job:merganser_x:sum", "merganser_y_total"));
}

TEST(DeployMetricsTest, EveryMetricOfAPanelRuleOrAlertIsExported) {
  const auto exported = ExportedMetrics();
  std::set<std::string> recorded;
  const std::vector<Query> queries = AllQueries(&recorded);
  EXPECT_GT(queries.size(), 40u);
  for (const Query& query : queries) {
    for (const std::string& name : MetricNames(query.expr)) {
      const bool known = name.find(':') != std::string::npos ? recorded.contains(name) : Exports(exported, name);
      EXPECT_TRUE(known) << query.where << " asks for " << name << ", which nothing exports";
    }
  }
}

TEST(DeployMetricsTest, EveryExportedMetricIsSeenSomewhere) {
  std::set<std::string> recorded, asked;
  for (const Query& query : AllQueries(&recorded)) asked.merge(MetricNames(query.expr));
  for (const auto& [name, metric] : ExportedMetrics()) {
    EXPECT_TRUE(asked.contains(name) || asked.contains(name + "_bucket") || asked.contains(name + "_sum")) << name;
  }
}

TEST(DashboardsTest, HaveAFixedUidAndAskTheChosenDatasource) {
  const auto dashboards = Dashboards();
  ASSERT_THAT(dashboards, SizeIs(3));
  for (const auto& [file, text] : dashboards) {
    SCOPED_TRACE(file);
    const nlohmann::json dashboard = nlohmann::json::parse(text);
    EXPECT_EQ(dashboard.at("uid"), absl::StrCat("merganser-", absl::StripSuffix(file, ".json")));
    EXPECT_TRUE(dashboard.at("id").is_null());
    EXPECT_EQ(dashboard.at("templating").at("list").at(0).at("name"), "datasource");
    std::set<int> ids;
    for (const auto& panel : dashboard.at("panels")) {
      EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << panel.at("title");
      if (panel.at("type") == "row") continue;
      EXPECT_EQ(panel.at("datasource").at("uid"), "${datasource}") << panel.at("title");
      EXPECT_FALSE(panel.at("description").get<std::string>().empty()) << panel.at("title");
      EXPECT_TRUE(panel.at("fieldConfig").at("defaults").contains("unit")) << panel.at("title");
      for (const auto& target : panel.at("targets")) EXPECT_TRUE(target.contains("refId"));
    }
  }
}

TEST(DashboardsTest, PanelsLieInTheGridWithoutOverlap) {
  for (const auto& [file, text] : Dashboards()) {
    std::set<std::pair<int, int>> cells;
    const nlohmann::json dashboard = nlohmann::json::parse(text);
    for (const auto& panel : dashboard.at("panels")) {
      const auto& at = panel.at("gridPos");
      const int x = at.at("x"), y = at.at("y"), w = at.at("w"), h = at.at("h");
      EXPECT_LE(x + w, 24) << file << ": " << panel.at("title");
      for (int i = x; i < x + w; ++i) {
        for (int j = y; j < y + h; ++j) EXPECT_TRUE(cells.emplace(i, j).second) << file << ": " << panel.at("title");
      }
    }
  }
}

// An XY chart draws columns of joined tables, which Grafana names by the query that they come from.
TEST(DashboardsTest, TheFrontsAxesAreWhatItsQueriesAnswer) {
  int charts = 0;
  for (const auto& [file, text] : Dashboards()) {
    const nlohmann::json dashboard = nlohmann::json::parse(text);
    for (const auto& panel : dashboard.at("panels")) {
      if (panel.at("type") != "xychart") continue;
      ++charts;
      std::set<std::string> columns;
      for (const auto& target : panel.at("targets")) {
        EXPECT_EQ(target.at("format"), "table");
        EXPECT_TRUE(target.at("instant").get<bool>());
        columns.insert(absl::StrCat("Value #", target.at("refId").get<std::string>()));
        const std::string joined = panel.at("transformations").at(0).at("options").at("byField").get<std::string>();
        EXPECT_NE(target.at("expr").get<std::string>().find("\"" + joined + "\""), std::string::npos);
      }
      for (const char* axis : {"x", "y"}) {
        const auto& matcher = panel.at("options").at("series").at(0).at(axis).at("matcher");
        EXPECT_TRUE(columns.contains(matcher.at("options").get<std::string>())) << file << " " << axis;
      }
    }
  }
  EXPECT_EQ(charts, 1);
}

TEST(DashboardsTest, EveryQueryParses) {
  const std::string promtool = MG_PROMTOOL;
  if (promtool.empty()) GTEST_SKIP() << "no promtool (Debian package prometheus)";
  const std::string dir = testing_support::FreshDir("queries");
  std::string rules = "groups:\n- name: panels\n  rules:\n";
  int n = 0;
  for (const auto& [file, text] : Dashboards()) {
    for (const Query& query : DashboardQueries(file, text)) {
      const std::string quoted = absl::StrReplaceAll(query.expr, {{"'", "''"}, {"\n", " "}});
      absl::StrAppend(&rules, "  # ", query.where, "\n  - record: query_", n++, "\n    expr: '", quoted, "'\n");
    }
  }
  std::ofstream(dir + "/panels.yml") << rules;
  const auto checked = testing_support::RunToEnd({promtool, "check", "rules", dir + "/panels.yml"}, dir);
  EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err << rules;
}

}  // namespace
}  // namespace merganser
