// Reads a job file, or mergekit-evolve's: YAML to a validated JobSpec whose paths no longer depend on where the file lies.
#ifndef MERGANSER_COMMON_CONFIG_JOB_FILE_H_
#define MERGANSER_COMMON_CONFIG_JOB_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/evolve_file.h"
#include "common/config/yaml_message.h"
#include "common/domain/job_spec.h"

namespace merganser {

struct JobFile {
  JobSpec spec;
  SourceMap source;                // to locate errors found later (a checkpoint that does not fit, say)
  bool evolve = false;             // the file is a configuration of mergekit-evolve's
  std::vector<std::string> notes;  // EvolveJob::notes
};

// Where the models and data of a job are read.
enum class PathsAre {
  kHere,       // by this process or one beside it: what is not there is an error
  kOnWorkers,  // perhaps on other machines only: an absolute path that is not here stays, and a worker says if it lacks it
};

// Model and data paths are taken relative to the file's folder and made absolute. A model path that is no directory there
// but has the form "org/name[@revision]" stays: it is looked up in the Hugging Face cache where it is used; without a
// revision it is refused where "org" is a folder of checkpoints, one of which is meant. Errors: InvalidArgument
// "FILE:LINE: field: ..." for what Validate() or the schema refuses, NotFound likewise for a data file or model that is not
// there. Of a file of mergekit-evolve (IsEvolveText) the job is what ReadEvolveText makes of it with `evolve`.
absl::StatusOr<JobFile> ReadJobFile(const std::string& path, PathsAre paths = PathsAre::kHere,
                                    const EvolveOptions& evolve = {});

// The same for the models and data of another file that people write (a recipe, an evaluation): paths are taken relative to
// the folder of `file`. `section` names the benchmarks in errors.
absl::Status ResolveModelPaths(const std::string& file, std::vector<ModelRef>* models, PathsAre paths = PathsAre::kHere);
absl::Status ResolveDataPaths(const std::string& file, absl::string_view section, std::vector<BenchmarkSpec>* benchmarks,
                              PathsAre paths = PathsAre::kHere);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CONFIG_JOB_FILE_H_
