#include "client/evaluate_file.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/config/job_file.h"
#include "merganser/v1/evaluate.pb.h"

namespace merganser {

absl::StatusOr<EvaluateFile> ReadEvaluateFile(const std::string& path) {
  v1::EvaluateConfig proto;
  EvaluateFile file;
  MG_ASSIGN_OR_RETURN(file.source, ReadYamlFile(path, &proto));
  if (proto.models().empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": models: none is named"));
  if (proto.benchmarks().empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": benchmarks: none is named"));
  // By name, so that the order does not depend on how protobuf hashes.
  std::map<std::string, v1::Model> models(proto.models().begin(), proto.models().end());
  for (const auto& [name, model] : models) file.models.push_back({name, model.path()});
  std::map<std::string, v1::Benchmark> benchmarks(proto.benchmarks().begin(), proto.benchmarks().end());
  for (const auto& [name, benchmark] : benchmarks) file.benchmarks.push_back(FromProto(benchmark, name));
  file.dtype = proto.dtype();
  if (!file.dtype.empty() && file.dtype != "bfloat16" && file.dtype != "float16" && file.dtype != "float32") {
    return file.source.Locate(absl::InvalidArgumentError(
        absl::StrCat("dtype: unknown '", file.dtype, "'; known: bfloat16, float16, float32; or leave it out")));
  }
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveModelPaths(path, &file.models)));
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveDataPaths(path, "benchmarks", &file.benchmarks)));
  return file;
}

}  // namespace merganser
