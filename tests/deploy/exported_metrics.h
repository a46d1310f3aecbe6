// What the binaries export, asked of their own registries.
#ifndef MERGANSER_TESTS_DEPLOY_EXPORTED_METRICS_H_
#define MERGANSER_TESTS_DEPLOY_EXPORTED_METRICS_H_

#include <map>
#include <set>
#include <string>

namespace merganser {

struct ExportedMetric {
  std::string type;  // "counter", "gauge", "histogram"
  std::string help;
  std::set<std::string> labels;    // but `le`
  std::set<std::string> binaries;  // "coordinator", "worker"
};

// By name, as in the HELP line of /metrics. Both binaries' metrics are driven through all that they observe, because a
// family without a series is not exported.
std::map<std::string, ExportedMetric> ExportedMetrics();

}  // namespace merganser

#endif  // MERGANSER_TESTS_DEPLOY_EXPORTED_METRICS_H_
