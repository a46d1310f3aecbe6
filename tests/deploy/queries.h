// The PromQL of deploy/: rules, alerts and dashboards.
#ifndef MERGANSER_TESTS_DEPLOY_QUERIES_H_
#define MERGANSER_TESTS_DEPLOY_QUERIES_H_

#include <map>
#include <set>
#include <string>
#include <vector>

namespace merganser {

struct Query {
  std::string where;  // "search.json: Fitness", "alerts.yml: StoreDown"
  std::string expr;   // with the variables of Grafana replaced
};

// Of deploy/prometheus/{rules,alerts}.yml. `recorded`: the names that rules.yml makes.
std::vector<Query> RuleQueries(std::set<std::string>* recorded);

// File name -> text of deploy/grafana/dashboards/*.json.
std::map<std::string, std::string> Dashboards();

// Of every panel and every variable of a dashboard.
std::vector<Query> DashboardQueries(const std::string& file, const std::string& text);

// The identifiers of `expr` that begin with merganser_ or hold a colon (a recorded name).
std::set<std::string> MetricNames(const std::string& expr);

}  // namespace merganser

#endif  // MERGANSER_TESTS_DEPLOY_QUERIES_H_
