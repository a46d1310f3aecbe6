// A configuration of mergekit-evolve (mergekit 0.1) as a job. docs/from-mergekit.md says how each of its keys is meant.
#ifndef MERGANSER_COMMON_CONFIG_EVOLVE_FILE_H_
#define MERGANSER_COMMON_CONFIG_EVOLVE_FILE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/yaml_message.h"
#include "common/domain/job_spec.h"

namespace merganser {

// What the name of a task of lm-evaluation-harness stands for.
struct EvolveTask {
  std::string file;                    // of the task or group, absolute
  std::optional<int64_t> num_fewshot;  // as the file has it
  std::string hub_dataset = {};        // the Hub's, which a job has to be given as a file; "": the file names its data
};

// What mergekit-evolve is told on its command line.
struct EvolveOptions {
  // Errors say what is wrong with the name; they come out with the file and line that has it.
  std::function<absl::StatusOr<EvolveTask>(const std::string& name)> find_task;
  int64_t max_fevals = 100;  // candidates of the search, >= 1
};

struct EvolveJob {
  JobSpec spec;                    // model paths as the file has them; named for the file
  SourceMap source;                // also of the job's own fields, so that later errors name a line of this file
  std::vector<std::string> notes;  // what the user should know of how it was read, a sentence each
};

// True for a map with one of mergekit-evolve's keys `genome` and `tasks` and none that only a job has (space, objectives,
// benchmarks). False for what is no YAML.
bool IsEvolveText(absl::string_view text);

// `file` names the job and is named in errors. InvalidArgument "FILE:LINE: key: what": no YAML, an unknown key (with the
// nearest one), a value of the wrong type, what mergekit-evolve itself refuses, and what a job cannot say, with what to
// write instead. What find_task returned keeps its code. The spec is not validated yet (Validate).
absl::StatusOr<EvolveJob> ReadEvolveText(absl::string_view text, const std::string& file, const EvolveOptions& options);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CONFIG_EVOLVE_FILE_H_
