// JobSpec <-> proto. FromProto accepts what a client sent: InvalidArgument starts with the field's path. It does not call
// Validate(), which every user of the result does first.
#ifndef MERGANSER_COMMON_CODEC_JOB_SPEC_CODEC_H_
#define MERGANSER_COMMON_CODEC_JOB_SPEC_CODEC_H_

#include "absl/status/statusor.h"
#include "common/domain/job_spec.h"
#include "merganser/v1/job.pb.h"

namespace merganser {

v1::JobSpec ToProto(const JobSpec& spec);
absl::StatusOr<JobSpec> FromProto(const v1::JobSpec& proto);

v1::Budget ToProto(const Budget& budget);
absl::StatusOr<Budget> FromProto(const v1::Budget& proto);

v1::Benchmark ToProto(const BenchmarkSpec& spec);
// `name`: its key in the job.
BenchmarkSpec FromProto(const v1::Benchmark& proto, const std::string& name);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CODEC_JOB_SPEC_CODEC_H_
