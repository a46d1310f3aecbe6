// Candidates, evaluations, records and events <-> proto, and JobCodec over them.
#ifndef MERGANSER_COMMON_CODEC_JOB_CODEC_H_
#define MERGANSER_COMMON_CODEC_JOB_CODEC_H_

#include "absl/status/statusor.h"
#include "common/domain/candidate.h"
#include "common/domain/evaluation.h"
#include "common/domain/events.h"
#include "merganser/v1/job.pb.h"
#include "merganser/v1/record.pb.h"

namespace merganser {

// FromProto: InvalidArgument naming the field for an unknown word.
v1::Candidate ToProto(const Candidate& candidate);
absl::StatusOr<Candidate> FromProto(const v1::Candidate& proto);
v1::Job ToProto(const JobSummary& job);
absl::StatusOr<JobSummary> FromProto(const v1::Job& proto);
v1::RaceStop ToProto(const RaceStop& stop);
RaceStop FromProto(const v1::RaceStop& proto);
v1::JobFacts ToProto(const JobFacts& facts);
JobFacts FromProto(const v1::JobFacts& proto);
v1::PhaseTimings ToProto(const PhaseTimings& timings);
PhaseTimings FromProto(const v1::PhaseTimings& proto);
v1::Evaluation ToProto(const Evaluation& evaluation);
Evaluation FromProto(const v1::Evaluation& proto);
v1::JobEvent ToProto(const JobEvent& event);
absl::StatusOr<JobEvent> FromProto(const v1::JobEvent& proto);

// The word's value, or InvalidArgument that lists the known words.
absl::StatusOr<CandidateKind> ParseCandidateKind(absl::string_view word);
absl::StatusOr<CandidateState> ParseCandidateState(absl::string_view word);
absl::StatusOr<FailureClass> ParseFailureClass(absl::string_view word);
absl::StatusOr<JobPhase> ParseJobPhase(absl::string_view word);
absl::StatusOr<ActionKind> ParseActionKind(absl::string_view word);

// What the record's evaluation says of each sample, by benchmark; a benchmark or metric of which that is not known is
// missing.
ScoresByBenchmark ScoresOf(const v1::Evaluation& evaluation);

// Sums the metrics of an evaluation: {benchmark: {metric: value}}.
MetricTable Metrics(const Evaluation& evaluation);

// Stateless; any thread.
const JobCodec& ProtoJobCodec();

// Bytes that are equal for equal messages: map entries in key order.
std::string SerializeDeterministic(const google::protobuf::Message& message);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CODEC_JOB_CODEC_H_
