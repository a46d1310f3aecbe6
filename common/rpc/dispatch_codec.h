// common/domain/dispatch.h <-> proto, for both ends of WorkerService and FleetService.
#ifndef MERGANSER_COMMON_RPC_DISPATCH_CODEC_H_
#define MERGANSER_COMMON_RPC_DISPATCH_CODEC_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/dispatch.h"
#include "merganser/v1/fleet_service.pb.h"
#include "merganser/v1/worker_service.pb.h"

namespace merganser {

v1::RunningAttempt ToProto(const RunningAttempt& attempt);
RunningAttempt FromProto(const v1::RunningAttempt& proto);
// A repeated field.
std::vector<RunningAttempt> FromProto(const google::protobuf::RepeatedPtrField<v1::RunningAttempt>& protos);

v1::Hello ToProto(const WorkerInfo& info, const std::vector<RunningAttempt>& running);
// InvalidArgument: no worker_id, or slots outside [1, 64].
absl::StatusOr<WorkerInfo> FromProto(const v1::Hello& proto);

// `with_spec`: the job comes along.
v1::Assign ToProto(const Assignment& assignment, bool with_spec);
// `known_spec`: of proto.job_id where the message holds none; may be null. InvalidArgument names the field.
absl::StatusOr<Assignment> FromProto(const v1::Assign& proto, std::shared_ptr<const JobSpec> known_spec);

v1::ReportAttemptRequest ToProto(const AttemptReport& report);
// InvalidArgument: neither a record nor a failure, or an unknown failure.
absl::StatusOr<AttemptReport> FromProto(const v1::ReportAttemptRequest& proto);

absl::StatusOr<Disposition> ParseDisposition(absl::string_view word);

v1::Worker ToProto(const WorkerStatus& status);
WorkerStatus FromProto(const v1::Worker& proto);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_DISPATCH_CODEC_H_
