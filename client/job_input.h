// The job file of `run`, `validate`, `submit` and `convert`, which may be a configuration of mergekit-evolve.
#ifndef MERGANSER_CLIENT_JOB_INPUT_H_
#define MERGANSER_CLIENT_JOB_INPUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "common/config/job_file.h"

namespace merganser {

struct JobInput {
  std::string file;
  // Of mergekit-evolve's configurations only.
  std::vector<std::string> task_search_path;  // folders; none: the file's own
  std::optional<int64_t> max_fevals;
};

// The argument JOB.yaml, --task-search-path and --max-fevals. `more` ends what help says of the file.
void AddJobInput(CLI::App* verb, JobInput* input, const std::string& more = "");

// ReadJobFile; tasks of lm-evaluation-harness are looked for by name below the folders, the first that has one. What the
// user should know of a configuration of mergekit-evolve's goes to stderr, a line each. InvalidArgument also for a flag that
// a job has no use for.
absl::StatusOr<JobFile> ReadJobInput(const JobInput& input, PathsAre paths);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_JOB_INPUT_H_
