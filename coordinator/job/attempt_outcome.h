// What became of an attempt, turned into the events that the log keeps of it. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_ATTEMPT_OUTCOME_H_
#define MERGANSER_COORDINATOR_JOB_ATTEMPT_OUTCOME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/job/job_state.h"

namespace merganser {

// The objectives' values; those of the cost with a minus sign, so that larger is better. InvalidArgument naming
// "benchmark.metric" (and the known ones) if one is missing or not finite.
absl::StatusOr<std::vector<double>> ComputeFitness(const std::vector<Objective>& objectives, const MetricTable& metrics);

// Adds the metrics of kCostBenchmark that the spec's objectives and constraints name. `num_layers`: of the job's models.
void AddCosts(const JobSpec& spec, const Recipe& recipe, int num_layers, int64_t tokens, MetricTable* metrics);

// What follows from the record of attempt `attempt`: CandidateFinished, succeeded or failed with the reason where the record
// lacks what the candidate's kind needs (an objective's metric, the facts of a prepare candidate); BlockScored where its
// race goes on. DataLoss: the record and what is known of the recipe are not all samples that the candidate is due.
absl::StatusOr<EventBody> FinishFromRecord(const JobState& state, const Candidate& candidate, int attempt,
                                           const RecordSummary& record, const std::string& record_key,
                                           const std::string& record_sha256);

// Whether everything that the candidate, which is not finished, is due is known of equal recipes.
bool IsKnown(const JobState& state, const Candidate& candidate);
// Its end by that: metrics and fitness over the samples that it is due, without an attempt. REQUIRES: IsKnown.
CandidateFinished FinishFromKnown(const JobState& state, const Candidate& candidate);

// Fetches of what a job needs that may fail before its preparation does: 15 s and what they take. Nothing is lost with it,
// and a model's path that is misspelt looks like this.
inline constexpr int kPrepareFetches = 5;

// The live attempt ended without a result: AttemptEnded, and CandidateFinished with it where no attempt may follow: at once
// for kInfeasible; else, once no other attempt of the candidate lives, if max_attempts is used up, if it crashed the
// evaluators of two workers (poison), if two workers had the very same error, or if it is the preparation and
// kPrepareFetches of its attempts were kUnavailable.
std::vector<EventBody> EndAttempt(const JobState& state, int64_t candidate, int attempt, FailureClass failure,
                                  const std::string& message);

// The job ends now: what is queued or running is cancelled, then the terminal phase begins.
std::vector<EventBody> EndJob(const JobState& state, JobPhase phase, const std::string& message);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_ATTEMPT_OUTCOME_H_
