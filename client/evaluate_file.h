// The file of `merganser evaluate`: checkpoints, and the benchmarks to score each of them on (merganser.v1.EvaluateConfig as
// YAML).
#ifndef MERGANSER_CLIENT_EVALUATE_FILE_H_
#define MERGANSER_CLIENT_EVALUATE_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config/yaml_message.h"
#include "common/domain/job_spec.h"

namespace merganser {

struct EvaluateFile {
  SourceMap source;
  std::vector<ModelRef> models;           // by name
  std::vector<BenchmarkSpec> benchmarks;  // by name
  std::string dtype;                      // "" unless given: as each model is stored
};

// Paths are taken relative to the file's folder. InvalidArgument "FILE:LINE: field: ..." for what the schema refuses, no
// models, no benchmarks, an unknown dtype; NotFound for a model (unless it is spelt like a Hub id) or data that is not there.
absl::StatusOr<EvaluateFile> ReadEvaluateFile(const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_EVALUATE_FILE_H_
