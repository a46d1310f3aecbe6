// Paired racing: which candidates of a generation are scored on a further block of its samples. Pure.
//
// A race of a generation of n candidates. All are scored on the first block. Once each of them has been (or has failed),
// those that go on are ranked by their weighted fitness on the samples so far; the reference is the one in place (n + 1)
// / 2. Each behind it is compared to it on the same samples: with d the difference of the weighted fitness of one sample, it
// is stopped if
//   -sum d / sqrt(sum d^2) > z,  Pr(normal <= z) = confidence
// which for outcomes of 0 and 1 is McNemar's test: (worse - better) / sqrt(worse + better). Means of several benchmarks add
// up, and so do their variances; the cost of a recipe is known and has none. The others are scored on one more block, or on
// all that remain once only (n + 1) / 2 are left.
//
// A stopped candidate succeeds with the fitness of its own samples, and the optimizer is told the paired estimate: what it
// is told of the reference, and the difference to it (ToldFitness). It is never the best, and no finalist.
#ifndef MERGANSER_COORDINATOR_JOB_RACE_H_
#define MERGANSER_COORDINATOR_JOB_RACE_H_

#include <cstdint>
#include <vector>

#include "coordinator/job/job_state.h"

namespace merganser {

// A candidate against a reference, on samples that both were scored on.
struct PairedComparison {
  double difference = 0;  // of the weighted fitness; below 0: the candidate is worse
  double z = 0;           // the difference over its standard deviation if there were none; 0 where no sample differs
  int64_t worse = 0;      // samples
  int64_t better = 0;
  int64_t samples = 0;
};
// REQUIRES: both have been scored on what `candidate` is due (candidate_samples.h), and the metrics are means over samples.
PairedComparison ComparePaired(const JobState& state, const Candidate& candidate, const Candidate& reference);

// What follows once every candidate of the newest generation waits or is finished: CandidateFinished of those that are
// stopped, then RaceAdvanced of those that go on. REQUIRES: at least one waits, none is queued or running.
std::vector<EventBody> DecideRace(const JobState& state);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_RACE_H_
