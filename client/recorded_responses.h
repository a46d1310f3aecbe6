// The outcomes that a job's records hold, as a table of recipes by samples.
#ifndef MERGANSER_CLIENT_RECORDED_RESPONSES_H_
#define MERGANSER_CLIENT_RECORDED_RESPONSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/replay/responses.h"

namespace merganser {

struct RecordedOutcomes {
  std::vector<Response> recipes;  // of the search
  std::vector<Response> models;   // as they are, known before the search; no genomes
};

// `store_uri` as StoreUriOf takes it. Of the job's search candidates that succeeded, in order, and of its models, the
// outcomes on the first objective's benchmark: right where the objective's metric is at least one half. One that took the
// result of an equal recipe is left out. Held-out benchmarks are not read. Errors of OpenStore; NotFound for a job; DataLoss
// for a damaged record; those of CheckResponses.
absl::StatusOr<RecordedOutcomes> ReadRecordedOutcomes(const std::string& store_uri, const std::string& job);

// A line each: {"recipe": "candidate 12", "genome": [...], "correct": "0110..."}; of models {"model": "ja", "correct": ...}.
std::string FormatOutcomes(const RecordedOutcomes& outcomes);
// Reads what FormatOutcomes gave. InvalidArgument "FILE:LINE: ...", also for a model of another number of samples; errors of
// ReadFile and CheckResponses.
absl::StatusOr<RecordedOutcomes> ReadOutcomesFile(const std::string& file);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RECORDED_RESPONSES_H_
