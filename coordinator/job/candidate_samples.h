// Which samples a candidate is scored on, and which of them have to be evaluated. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_CANDIDATE_SAMPLES_H_
#define MERGANSER_COORDINATOR_JOB_CANDIDATE_SAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/domain/candidate.h"
#include "common/domain/job_spec.h"
#include "coordinator/job/job_state.h"

namespace merganser {

// Whether the job's log keeps what candidates got sample by sample, so that a sample is evaluated once for equal recipes:
// where candidates have different samples (per_generation, racing), and generated tokens are no cost (they are of whole
// evaluations).
bool KeepsScores(const JobSpec& spec);
// Whose samples are shared: all but held-out ones, which nothing may know.
bool SharesScores(CandidateKind kind);

// Sample evaluations of a candidate of the search that no race stops and of which nothing is known.
int64_t SamplesPerCandidate(const JobSpec& spec, const JobFacts& facts);

// The samples of `requested`, which is one of Candidate::benchmarks; ascending. Empty: it has none to be named (a
// command's).
std::vector<int64_t> SamplesOf(const JobSpec& spec, const JobFacts& facts, const std::string& requested);
// Of these the ones that the candidate is to be scored on by now: in a race, those of its first `blocks` blocks.
std::vector<int64_t> SamplesDue(const JobSpec& spec, const JobFacts& facts, const Candidate& candidate,
                                const std::string& requested);
// Blocks until it is scored on all of its samples; 0 where there is no race.
int64_t BlocksOf(const JobSpec& spec, const JobFacts& facts, const Candidate& candidate);

// The benchmark under whose name scores are shared: the first of the job with the same definition (`use` within the job
// resolved) and data, whatever their limits.
std::string SharedName(const JobSpec& spec, const std::string& benchmark);

// What of the candidate is known of its recipe, of one of its benchmarks by its plain name; nullptr if nothing.
const SampleScores* KnownScores(const JobState& state, const Candidate& candidate, const std::string& benchmark);

// What a worker has to run for the candidate: its benchmarks without the samples that are not due or known. Empty: all is
// known.
std::vector<std::string> BenchmarksToRun(const JobState& state, const Candidate& candidate);

// Whether the metrics that the race compares, or that say how much a sample tells, can be had sample by sample, by what the
// baselines have shown. InvalidArgument names field, benchmark and metric.
absl::Status CheckScores(const JobState& state);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_CANDIDATE_SAMPLES_H_
