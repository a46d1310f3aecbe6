#include "coordinator/job/race.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sample_draw.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/ranking.h"
#include "coordinator/optimizer/normal_distribution.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {
namespace {

// Weighted hops: what of the fitness does not depend on samples.
double CertainPart(const JobState& state, const Candidate& candidate) {
  double sum = 0;
  for (const Objective& objective : state.spec().objectives) {
    if (objective.benchmark != kCostBenchmark || objective.metric != kHopsMetric) continue;
    sum -= objective.weight * HopCount(state.RecipeOf(candidate.number), state.facts()->num_layers);
  }
  return sum;
}

// The last attempt that scored a block; 0: all was known.
int LastScored(const Candidate& candidate) {
  int number = 0;
  for (const Attempt& attempt : candidate.attempts) {
    if (attempt.scored) number = attempt.number;
  }
  return number;
}

// `finished`: with what is known of the candidate.
EventBody Stop(const JobState& state, const Candidate& candidate, CandidateFinished finished, const Candidate& reference,
               const PairedComparison& paired) {
  RaceStop stop{.reference = reference.number,
                .samples = paired.samples,
                .worse = paired.worse,
                .better = paired.better,
                .difference = paired.difference};
  for (const std::string& requested : candidate.benchmarks) {
    stop.of += static_cast<int64_t>(SamplesOf(state.spec(), *state.facts(), requested).size());
  }
  finished.message = absl::StrCat("stopped after ", stop.samples, " of ", stop.of, " samples, behind candidate ",
                                  stop.reference, " (worse on ", stop.worse, ", better on ", stop.better, ")");
  finished.stop = stop;
  // Its newest record, so that people find completions of it.
  finished.attempt = LastScored(candidate);
  if (finished.attempt > 0) {
    finished.record_key = candidate.record_key;
    finished.record_sha256 = candidate.record_sha256;
  }
  return finished;
}

}  // namespace

PairedComparison ComparePaired(const JobState& state, const Candidate& candidate, const Candidate& reference) {
  const JobSpec& spec = state.spec();
  PairedComparison paired;
  double variance = 0;
  for (const std::string& requested : candidate.benchmarks) {
    const std::string benchmark = ParseBenchmarkRequest(requested).benchmark;
    const std::vector<int64_t> samples = SamplesDue(spec, *state.facts(), candidate, requested);
    const SampleScores* own = KnownScores(state, candidate, benchmark);
    const SampleScores* other = KnownScores(state, reference, benchmark);
    if (own == nullptr || other == nullptr || samples.empty()) continue;
    double sum = 0, squares = 0;
    for (const int64_t sample : samples) {
      double difference = 0;
      for (const Objective& objective : spec.objectives) {
        if (objective.benchmark != benchmark) continue;
        const auto mine = own->metrics.find(objective.metric), theirs = other->metrics.find(objective.metric);
        if (mine == own->metrics.end() || theirs == other->metrics.end()) continue;
        difference += objective.weight * (mine->second.Of(sample) - theirs->second.Of(sample));
      }
      sum += difference;
      squares += difference * difference;
      paired.worse += difference < 0;
      paired.better += difference > 0;
    }
    const auto n = static_cast<double>(samples.size());
    paired.samples += static_cast<int64_t>(samples.size());
    paired.difference += sum / n;
    variance += squares / (n * n);
  }
  paired.difference += CertainPart(state, candidate) - CertainPart(state, reference);
  if (variance > 0) paired.z = paired.difference / std::sqrt(variance);
  return paired;
}

std::vector<EventBody> DecideRace(const JobState& state) {
  struct Racer {
    const Candidate* candidate;
    CandidateFinished finished;
    double fitness;
  };
  std::vector<Racer> racers;
  for (const int64_t number : state.waiting()) {
    const Candidate& candidate = *state.Find(number);
    CandidateFinished finished = FinishFromKnown(state, candidate);
    const double fitness = WeightedFitness(state.spec(), finished.fitness);
    racers.push_back({&candidate, std::move(finished), fitness});
  }
  std::stable_sort(racers.begin(), racers.end(), [](const Racer& a, const Racer& b) { return a.fitness > b.fitness; });
  const size_t keep = (state.generations().back().size() + 1) / 2;
  const double z = NormalQuantile(state.spec().samples.racing->confidence);
  std::vector<EventBody> events;
  RaceAdvanced advanced;
  for (size_t i = 0; i < racers.size(); ++i) {
    const Candidate& candidate = *racers[i].candidate;
    if (i >= keep) {
      const Candidate& reference = *racers[keep - 1].candidate;
      const PairedComparison paired = ComparePaired(state, candidate, reference);
      if (-paired.z > z) {
        events.push_back(Stop(state, candidate, std::move(racers[i].finished), reference, paired));
        continue;
      }
    }
    advanced.candidates.push_back(candidate.number);
  }
  std::sort(advanced.candidates.begin(), advanced.candidates.end());
  const Candidate& first = *racers.front().candidate;
  // With nobody left to stop, the rest is one piece.
  advanced.blocks = advanced.candidates.size() <= keep ? BlocksOf(state.spec(), *state.facts(), first) : first.blocks + 1;
  events.emplace_back(std::move(advanced));
  return events;
}

}  // namespace merganser
