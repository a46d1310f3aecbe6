#include "tests/deploy/queries.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const fs::path& path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Grafana's own variables, and ours, as they are when everything is selected.
std::string WithoutVariables(const std::string& expr) {
  return absl::StrReplaceAll(
      expr,
      {{"$__rate_interval", "1m"}, {"$__range", "1h"}, {"$job_id", ".+"}, {"$objective_x", ".+"}, {"$objective_y", ".+"}});
}

}  // namespace

std::vector<Query> RuleQueries(std::set<std::string>* recorded) {
  std::vector<Query> queries;
  for (const std::string file : {"rules.yml", "alerts.yml"}) {
    const YAML::Node root = YAML::LoadFile(absl::StrCat(MG_SOURCE_DIR, "/deploy/prometheus/", file));
    for (const YAML::Node& group : root["groups"]) {
      for (const YAML::Node& rule : group["rules"]) {
        const std::string name = rule["record"] ? rule["record"].as<std::string>() : rule["alert"].as<std::string>();
        if (rule["record"]) recorded->insert(name);
        queries.push_back({absl::StrCat(file, ": ", name), rule["expr"].as<std::string>()});
      }
    }
  }
  return queries;
}

std::map<std::string, std::string> Dashboards() {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(absl::StrCat(MG_SOURCE_DIR, "/deploy/grafana/dashboards"))) {
    if (entry.path().extension() == ".json") files[entry.path().filename()] = ReadText(entry.path());
  }
  return files;
}

std::vector<Query> DashboardQueries(const std::string& file, const std::string& text) {
  std::vector<Query> queries;
  const nlohmann::json dashboard = nlohmann::json::parse(text);
  for (const auto& panel : dashboard.at("panels")) {
    if (panel.at("type") == "row") continue;
    for (const auto& target : panel.at("targets")) {
      queries.push_back({absl::StrCat(file, ": ", panel.at("title").get<std::string>()),
                         WithoutVariables(target.at("expr").get<std::string>())});
    }
  }
  // label_values(METRIC, LABEL) is Grafana's own word, not PromQL.
  static const std::regex kLabelValues(R"(label_values\((.*),\s*\w+\))");
  for (const auto& variable : dashboard.at("templating").at("list")) {
    if (variable.at("type") != "query") continue;
    const std::string expr = variable.at("query").at("query").get<std::string>();
    queries.push_back({absl::StrCat(file, ": $", variable.at("name").get<std::string>()),
                       WithoutVariables(std::regex_replace(expr, kLabelValues, "$1"))});
  }
  return queries;
}

std::set<std::string> MetricNames(const std::string& expr) {
  static const std::regex kQuoted(R"("[^"]*")"), kName("[a-zA-Z_:][a-zA-Z0-9_:]*");
  const std::string bare = std::regex_replace(expr, kQuoted, "\"\"");
  std::set<std::string> names;
  for (std::sregex_iterator it(bare.begin(), bare.end(), kName), end; it != end; ++it) {
    const std::string name = it->str();
    if (name.rfind("merganser_", 0) == 0 || name.find(':') != std::string::npos) names.insert(name);
  }
  return names;
}

}  // namespace merganser
