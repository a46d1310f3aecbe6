// Which of two candidates is better: constraints first, then the weighted sum of the objectives. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_RANKING_H_
#define MERGANSER_COORDINATOR_JOB_RANKING_H_

#include <cstdint>
#include <vector>

#include "common/domain/candidate.h"
#include "common/domain/job_spec.h"

namespace merganser {

// Sum of weight times value over the objectives; what a search of one number learns from, and what names the winner.
double WeightedFitness(const JobSpec& spec, const std::vector<double>& fitness);

// By how much the candidate misses the constraints, summed; 0 if it holds all of them. `candidates` are the job's: baselines
// say what at_least_model asks for (a constraint whose baseline failed asks for nothing).
double Violation(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& candidate);

// Whether `a` ranks before `b`, both succeeded: one that no race stopped first, then less violation, then more weighted
// fitness.
bool RanksBefore(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& a, const Candidate& b);

// The order of a list that is sorted by fitness: those with fitness as RanksBefore says, then those without.
bool FitnessBefore(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& a, const Candidate& b);

// Candidates of the search that no race stopped, that hold every constraint and that no other such one dominates (at least
// as good in every objective and better in one), by number; equal fitness once.
std::vector<int64_t> ParetoFront(const JobSpec& spec, const std::vector<Candidate>& candidates);

// Numbers of each candidate that the optimizer is told: one per objective, or 1 where it learns from their weighted sum.
int ToldNumbers(const JobSpec& spec, const OptimizerSpec& optimizer);

// What the optimizer is told of a succeeded candidate: the weighted objectives one by one if `several`, else their sum. A
// candidate that misses a constraint gets numbers below those of any that does not, by its violation alone. Of one that a
// race stopped, what it is told of the reference plus the paired difference to it (if the reference failed since: its own
// fitness).
std::vector<double> ToldFitness(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& candidate,
                                bool several);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_RANKING_H_
