// How many task and group files of lm-evaluation-harness are read, and what keeps the others from it:
//
//   cmake --build build --target lm_eval_coverage && build/bin/lm_eval_coverage SITE_PACKAGES/lm_eval/tasks [FILES.tsv]
//
// FILES.tsv gets each file with "read" or its error.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/text/template.h"

namespace merganser {
namespace {

// Read, resolved as a job would, and its templates compiled; data is not needed.
absl::Status Check(const std::string& file, bool* group) {
  absl::StatusOr<BenchmarkSettings> settings = ReadBenchmarkFile(file);
  if (!settings.ok()) return settings.status();
  *group = settings->average_of.has_value();
  settings->name = std::string(1, 'b');  // as a literal GCC 12 warns of it
  absl::StatusOr<ResolvedBenchmark> resolved = ResolveWithParts(*settings);
  if (!resolved.ok()) return resolved.status();
  for (const BenchmarkDefinition& part : resolved->parts) {
    std::vector<std::string> templates = part.choices;
    templates.insert(templates.end(), {part.prompt, part.target, part.description, part.gen_prefix});
    for (const std::string& source : templates) {
      if (const auto compiled = Template::Compile("template", source); !compiled.ok()) return compiled.status();
    }
  }
  return absl::OkStatus();
}

// "FILE:LINE: metric_list[0].metric: 'ter' is not supported" without the place.
std::string Reason(std::string message) {
  if (absl::StrContains(message, "asks for Python code")) return "!function";
  for (std::smatch place; std::regex_search(message, place, std::regex(":[0-9]+: "));) message = place.suffix();
  std::string reason;
  bool index = false;
  for (const char c : message) {
    index = (index || c == '[') && c != ']';
    if (!index && c != ']') reason.push_back(c == '\n' ? ' ' : c);
  }
  return reason.substr(0, 110);
}

int Main(const std::string& folder, const std::string& list) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  std::ofstream out(list);
  int tasks = 0, groups = 0;
  std::map<std::string, int> reasons;
  for (const std::string& file : files) {
    bool group = false;
    const absl::Status status = Check(file, &group);
    if (status.ok()) {
      ++(group ? groups : tasks);
    } else {
      ++reasons[Reason(std::string(status.message()))];
    }
    out << file << '\t' << (status.ok() ? "read" : absl::StrReplaceAll(status.message(), {{"\n", " "}})) << '\n';
  }
  std::cout << files.size() << " files: " << tasks << " tasks and " << groups << " groups read\n";
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [reason, count] : reasons) sorted.emplace_back(-count, reason);
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [count, reason] : sorted) std::cout << -count << '\t' << reason << '\n';
  return 0;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: lm_eval_coverage FOLDER [FILES.tsv]\n";
    return 2;
  }
  return merganser::Main(argv[1], argc == 3 ? argv[2] : "");
}
