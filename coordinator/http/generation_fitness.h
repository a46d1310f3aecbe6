// Best, mean and spread of the fitness within one generation of a job.
#ifndef MERGANSER_COORDINATOR_HTTP_GENERATION_FITNESS_H_
#define MERGANSER_COORDINATOR_HTTP_GENERATION_FITNESS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "common/domain/candidate.h"

namespace merganser {

// Fed with what a job's log says, in its order; knows the newest generation of which a candidate has finished. Holds one
// number per open candidate. Not thread-safe.
class GenerationFitness {
 public:
  struct Statistics {
    int64_t count = 0;
    double best = 0, mean = 0, squares = 0;  // squares: summed squared distances to the mean
    double deviation() const { return std::sqrt(squares / static_cast<double>(count)); }
  };

  // Kinds other than kSearch are left out.
  void Proposed(const Candidate& candidate) {
    if (candidate.kind == CandidateKind::kSearch) open_[candidate.number] = candidate.generation;
  }

  // `fitness` is empty for a failure. A candidate that was proposed before this object existed is left out, and one of an
  // older generation than the newest.
  void Finished(int64_t candidate, const std::vector<double>& fitness) {
    const auto open = open_.find(candidate);
    if (open == open_.end()) return;
    const int64_t generation = open->second;
    open_.erase(open);
    if (fitness.empty() || generation < generation_) return;
    if (generation > generation_) objectives_.clear();
    generation_ = generation;
    if (objectives_.size() < fitness.size()) objectives_.resize(fitness.size());
    for (size_t i = 0; i < fitness.size(); ++i) {
      if (std::isfinite(fitness[i])) Add(fitness[i], &objectives_[i]);
    }
  }

  // Per objective; those with a count of 0 have no numbers yet.
  const std::vector<Statistics>& objectives() const { return objectives_; }

 private:
  // Welford's update: one pass, no cancellation.
  static void Add(double value, Statistics* s) {
    s->best = s->count == 0 ? value : std::max(s->best, value);
    const double before = value - s->mean;
    s->mean += before / static_cast<double>(++s->count);
    s->squares += before * (value - s->mean);
  }

  int64_t generation_ = -1;
  std::map<int64_t, int64_t> open_;  // candidate -> generation
  std::vector<Statistics> objectives_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_GENERATION_FITNESS_H_
