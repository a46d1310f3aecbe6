// Which samples the candidates of a generation are scored on: the policy of JobSpec::samples. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_SAMPLE_CHOICE_H_
#define MERGANSER_COORDINATOR_JOB_SAMPLE_CHOICE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/job/job_state.h"

namespace merganser {

// The benchmarks of the candidates of `generation`, which is about to be proposed, as Candidate::benchmarks has them: whole
// ("ja_math"), a draw ("ja_math@7"), or, with `choose: information` and once kInformativeAfter candidates of the search have
// known outcomes, a list ("ja_math[0,3-5]"): three quarters are those of most Fisher information about a candidate of the
// mean ability of the last generation, by a two-parameter item response model of the latest kCalibratedOn candidates'
// outcomes in the first objective of the benchmark; the others are from the draw, so that every sample stays known. The log
// has the list, so a replay on another type of processor takes the same samples.
std::vector<std::string> BenchmarksOfGeneration(const JobState& state, int64_t generation);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_SAMPLE_CHOICE_H_
