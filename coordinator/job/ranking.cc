#include "coordinator/job/ranking.h"

#include <algorithm>
#include <optional>
#include <string>

#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

// Below any weighted fitness: metrics are shares or scores of some hundreds, costs some millions of tokens.
constexpr double kInfeasible = -1e12;

std::optional<double> MetricOf(const Candidate& candidate, const std::string& benchmark, const std::string& metric) {
  const auto table = candidate.metrics.find(benchmark);
  if (table == candidate.metrics.end()) return std::nullopt;
  const auto value = table->second.find(metric);
  return value == table->second.end() ? std::nullopt : std::optional<double>(value->second);
}

std::optional<double> MetricOfModel(const std::vector<Candidate>& candidates, const Constraint& c) {
  for (const Candidate& candidate : candidates) {
    if (candidate.kind == CandidateKind::kSource && candidate.label == c.at_least_model) {
      return MetricOf(candidate, c.benchmark, c.metric);
    }
  }
  return std::nullopt;
}

}  // namespace

double WeightedFitness(const JobSpec& spec, const std::vector<double>& fitness) {
  // A finalist has one number, whatever the objectives are.
  if (fitness.size() != spec.objectives.size()) return fitness.empty() ? 0 : fitness.front();
  double sum = 0;
  for (size_t i = 0; i < fitness.size(); ++i) sum += spec.objectives[i].weight * fitness[i];
  return sum;
}

double Violation(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& candidate) {
  double sum = 0;
  for (const Constraint& c : spec.constraints) {
    const std::optional<double> value = MetricOf(candidate, c.benchmark, c.metric);
    const std::optional<double> low = c.at_least_model.empty() ? c.at_least : MetricOfModel(candidates, c);
    if (!value) continue;  // a finalist, which runs another benchmark
    if (low) sum += std::max(0.0, *low - *value);
    if (c.at_most) sum += std::max(0.0, *value - *c.at_most);
  }
  return sum;
}

bool RanksBefore(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& a, const Candidate& b) {
  if (a.stop.has_value() != b.stop.has_value()) return b.stop.has_value();
  const double missed_a = Violation(spec, candidates, a), missed_b = Violation(spec, candidates, b);
  if (missed_a != missed_b) return missed_a < missed_b;
  return WeightedFitness(spec, a.fitness) > WeightedFitness(spec, b.fitness);
}

bool FitnessBefore(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& a, const Candidate& b) {
  if (a.fitness.empty() || b.fitness.empty()) return !a.fitness.empty() && b.fitness.empty();
  return RanksBefore(spec, candidates, a, b);
}

std::vector<int64_t> ParetoFront(const JobSpec& spec, const std::vector<Candidate>& candidates) {
  std::vector<const Candidate*> front;
  const auto covers = [](const Candidate& a, const Candidate& b) {
    for (size_t i = 0; i < a.fitness.size(); ++i) {
      if (a.fitness[i] < b.fitness[i]) return false;
    }
    return true;
  };
  for (const Candidate& candidate : candidates) {
    if (candidate.kind != CandidateKind::kSearch || candidate.state != CandidateState::kSucceeded) continue;
    if (candidate.stop.has_value() || candidate.fitness.size() != spec.objectives.size() ||
        Violation(spec, candidates, candidate) > 0)
      continue;
    if (std::any_of(front.begin(), front.end(), [&](auto* other) { return covers(*other, candidate); })) continue;
    std::erase_if(front, [&](auto* other) { return covers(candidate, *other); });
    front.push_back(&candidate);
  }
  std::vector<int64_t> numbers;
  for (const Candidate* candidate : front) numbers.push_back(candidate->number);
  return numbers;
}

int ToldNumbers(const JobSpec& spec, const OptimizerSpec& optimizer) {
  return LearnsEachObjective(optimizer.name) ? static_cast<int>(spec.objectives.size()) : 1;
}

std::vector<double> ToldFitness(const JobSpec& spec, const std::vector<Candidate>& candidates, const Candidate& candidate,
                                bool several) {
  if (candidate.stop.has_value()) {
    const auto reference = static_cast<size_t>(candidate.stop->reference);
    if (reference < candidates.size() && candidates[reference].state == CandidateState::kSucceeded) {
      return {ToldFitness(spec, candidates, candidates[reference], several).front() + candidate.stop->difference};
    }
  }
  std::vector<double> told;
  for (size_t i = 0; several && i < candidate.fitness.size(); ++i) {
    told.push_back(spec.objectives[i].weight * candidate.fitness[i]);
  }
  if (!several) told.push_back(WeightedFitness(spec, candidate.fitness));
  const double missed = Violation(spec, candidates, candidate);
  if (missed > 0) std::fill(told.begin(), told.end(), kInfeasible * (1 + missed));
  return told;
}

}  // namespace merganser
