// The outcomes that a job's records hold, as a table of recipes by samples.
#ifndef MERGANSER_CLIENT_RECORDED_RESPONSES_H_
#define MERGANSER_CLIENT_RECORDED_RESPONSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/replay/responses.h"

namespace merganser {

// Of the job's search candidates that succeeded, in order, the outcomes on the first objective's
// benchmark: right where the objective's metric is at least one half. One that took the result of an
// equal recipe is left out. Held-out benchmarks are not read. Errors of OpenStore; NotFound for a job;
// DataLoss for a damaged record; those of CheckResponses.
absl::StatusOr<std::vector<Response>> RecordedResponses(const std::string& store_uri, const std::string& job);

// A line each: {"recipe": "candidate 12", "genome": [...], "correct": "0110..."}.
std::string FormatResponses(const std::vector<Response>& responses);
// Reads what FormatResponses gave. InvalidArgument "FILE:LINE: ..."; errors of ReadFile and
// CheckResponses.
absl::StatusOr<std::vector<Response>> ReadResponses(const std::string& file);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RECORDED_RESPONSES_H_
