#include "common/rpc/dispatch_codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/recipe_codec.h"
#include "common/codec/time_codec.h"

namespace merganser {
namespace {

constexpr int kSlotsMax = 64;
constexpr int kLabelsMax = 32;

}  // namespace

v1::RunningAttempt ToProto(const RunningAttempt& attempt) {
  v1::RunningAttempt proto;
  proto.set_job_id(attempt.id.job_id);
  proto.set_candidate(attempt.id.candidate);
  proto.set_attempt(attempt.id.attempt);
  proto.set_token(attempt.token);
  proto.set_phase(attempt.phase);
  return proto;
}

RunningAttempt FromProto(const v1::RunningAttempt& proto) {
  return RunningAttempt{{proto.job_id(), proto.candidate(), proto.attempt()}, proto.token(), proto.phase()};
}

std::vector<RunningAttempt> FromProto(const google::protobuf::RepeatedPtrField<v1::RunningAttempt>& protos) {
  std::vector<RunningAttempt> attempts;
  attempts.reserve(static_cast<size_t>(protos.size()));
  for (const auto& proto : protos) attempts.push_back(FromProto(proto));
  return attempts;
}

v1::Hello ToProto(const WorkerInfo& info, const std::vector<RunningAttempt>& running) {
  v1::Hello proto;
  proto.set_worker_id(info.id);
  proto.set_name(info.name);
  proto.set_version(info.version);
  proto.set_device(info.device);
  proto.set_slots(info.slots);
  proto.set_memory_bytes(info.memory_bytes);
  proto.mutable_labels()->insert(info.labels.begin(), info.labels.end());
  proto.set_without_hub_cache(!info.hub_cache);
  for (const auto& attempt : running) *proto.add_running() = ToProto(attempt);
  return proto;
}

absl::StatusOr<WorkerInfo> FromProto(const v1::Hello& proto) {
  if (proto.worker_id().empty()) return absl::InvalidArgumentError("hello.worker_id: missing");
  if (proto.slots() < 1 || proto.slots() > kSlotsMax) {
    return absl::InvalidArgumentError(absl::StrCat("hello.slots: ", proto.slots(), " is not in [1, ", kSlotsMax, "]"));
  }
  if (proto.labels_size() > kLabelsMax) {
    return absl::InvalidArgumentError(absl::StrCat("hello.labels: ", proto.labels_size(), ", more than ", kLabelsMax));
  }
  return WorkerInfo{proto.worker_id(),
                    proto.name(),
                    proto.version(),
                    proto.device(),
                    proto.slots(),
                    std::max<int64_t>(0, proto.memory_bytes()),
                    {proto.labels().begin(), proto.labels().end()},
                    !proto.without_hub_cache()};
}

v1::Assign ToProto(const Assignment& assignment, bool with_spec) {
  v1::Assign proto;
  proto.set_job_id(assignment.id.job_id);
  proto.set_candidate(assignment.id.candidate);
  proto.set_attempt(assignment.id.attempt);
  proto.set_token(assignment.token);
  proto.set_kind(std::string(ToString(assignment.kind)));
  *proto.mutable_recipe() = ToProto(assignment.recipe);
  for (const auto& benchmark : assignment.benchmarks) proto.add_benchmarks(benchmark);
  if (with_spec && assignment.spec != nullptr) *proto.mutable_spec() = ToProto(*assignment.spec);
  proto.set_record_key(assignment.record_key);
  return proto;
}

absl::StatusOr<Assignment> FromProto(const v1::Assign& proto, std::shared_ptr<const JobSpec> known_spec) {
  Assignment assignment;
  assignment.id = {proto.job_id(), proto.candidate(), proto.attempt()};
  assignment.token = proto.token();
  MG_ASSIGN_OR_RETURN(assignment.kind, ParseCandidateKind(proto.kind()));
  MG_ASSIGN_OR_RETURN(assignment.recipe, FromProto(proto.recipe()));
  assignment.benchmarks.assign(proto.benchmarks().begin(), proto.benchmarks().end());
  if (proto.has_spec()) {
    MG_ASSIGN_OR_RETURN(JobSpec spec, FromProto(proto.spec()));
    assignment.spec = std::make_shared<const JobSpec>(std::move(spec));
  } else if (known_spec != nullptr) {
    assignment.spec = std::move(known_spec);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("assign.spec: missing, and ", proto.job_id(), " is not known"));
  }
  assignment.record_key = proto.record_key();
  return assignment;
}

v1::ReportAttemptRequest ToProto(const AttemptReport& report) {
  v1::ReportAttemptRequest proto;
  proto.set_job_id(report.id.job_id);
  proto.set_candidate(report.id.candidate);
  proto.set_attempt(report.id.attempt);
  proto.set_token(report.token);
  proto.set_worker_id(report.worker_id);
  if (report.failure.has_value()) {
    proto.mutable_failure()->set_failure(std::string(ToString(*report.failure)));
    proto.mutable_failure()->set_message(report.message);
  } else {
    proto.mutable_record()->set_key(report.record_key);
    proto.mutable_record()->set_sha256(report.record_sha256);
  }
  return proto;
}

absl::StatusOr<AttemptReport> FromProto(const v1::ReportAttemptRequest& proto) {
  AttemptReport report;
  report.id = {proto.job_id(), proto.candidate(), proto.attempt()};
  report.token = proto.token();
  report.worker_id = proto.worker_id();
  switch (proto.outcome_case()) {
    case v1::ReportAttemptRequest::kRecord:
      if (proto.record().key().empty()) return absl::InvalidArgumentError("record.key: missing");
      report.record_key = proto.record().key();
      report.record_sha256 = proto.record().sha256();
      return report;
    case v1::ReportAttemptRequest::kFailure: {
      MG_ASSIGN_OR_RETURN(report.failure, ParseFailureClass(proto.failure().failure()));
      report.message = proto.failure().message();
      return report;
    }
    case v1::ReportAttemptRequest::OUTCOME_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("outcome: neither record nor failure is set");
}

absl::StatusOr<Disposition> ParseDisposition(absl::string_view word) {
  for (Disposition d :
       {Disposition::kCommitted, Disposition::kDuplicate, Disposition::kSuperseded, Disposition::kRejected}) {
    if (word == ToString(d)) return d;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("disposition '", word, "' is none of committed, duplicate, superseded, rejected"));
}

v1::Worker ToProto(const WorkerStatus& status) {
  v1::Worker proto;
  proto.set_id(status.info.id);
  proto.set_name(status.info.name);
  proto.set_version(status.info.version);
  proto.set_device(status.info.device);
  proto.set_slots(status.info.slots);
  proto.set_state(status.state);
  for (const auto& attempt : status.running) *proto.add_running() = ToProto(attempt);
  if (status.connect_time > absl::InfinitePast()) {
    *proto.mutable_connect_time() = ToProto(status.connect_time);
    *proto.mutable_last_heartbeat_time() = ToProto(status.last_heartbeat_time);
  }
  proto.set_finished(status.finished);
  proto.set_failed(status.failed);
  proto.set_memory_bytes(status.info.memory_bytes);
  proto.mutable_labels()->insert(status.info.labels.begin(), status.info.labels.end());
  proto.set_quarantine(status.quarantine);
  if (status.quarantine_end_time > absl::UnixEpoch() && status.quarantine_end_time != absl::InfiniteFuture()) {
    *proto.mutable_quarantine_end_time() = ToProto(status.quarantine_end_time);
  }
  return proto;
}

WorkerStatus FromProto(const v1::Worker& proto) {
  WorkerStatus status;
  status.info = {proto.id(),
                 proto.name(),
                 proto.version(),
                 proto.device(),
                 proto.slots(),
                 proto.memory_bytes(),
                 {proto.labels().begin(), proto.labels().end()}};
  status.state = proto.state();
  status.running = FromProto(proto.running());
  status.connect_time = proto.has_connect_time() ? FromProto(proto.connect_time()) : absl::InfinitePast();
  status.last_heartbeat_time =
      proto.has_last_heartbeat_time() ? FromProto(proto.last_heartbeat_time()) : absl::InfinitePast();
  status.finished = proto.finished();
  status.failed = proto.failed();
  status.quarantine = proto.quarantine();
  if (proto.has_quarantine_end_time()) {
    status.quarantine_end_time = FromProto(proto.quarantine_end_time());
  } else if (!proto.quarantine().empty()) {
    status.quarantine_end_time = absl::InfiniteFuture();  // until it is released
  }
  return status;
}

}  // namespace merganser
