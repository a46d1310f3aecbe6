#include "coordinator/job/sample_choice.h"

#include <algorithm>

#include "common/base/sample_draw.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/replay/item_response.h"

namespace merganser {
namespace {

// "" where nothing can be said of the benchmark's samples yet.
std::string Informative(const JobState& state, const std::string& benchmark, int64_t generation) {
  const JobSpec& spec = state.spec();
  const auto objective = std::find_if(spec.objectives.begin(), spec.objectives.end(),
                                      [&](const Objective& o) { return o.benchmark == benchmark; });
  const auto total = state.facts()->samples.find(benchmark);
  if (objective == spec.objectives.end() || total == state.facts()->samples.end()) return "";
  struct Row {
    const SampleScores* scores;
    int64_t generation;
  };
  std::vector<Row> rows;  // the latest first
  int64_t scored = 0;
  for (auto c = state.candidates().rbegin(); c != state.candidates().rend() && scored < kCalibratedOn; ++c) {
    if (c->kind != CandidateKind::kSearch || c->state != CandidateState::kSucceeded) continue;
    const SampleScores* known = KnownScores(state, *c, benchmark);
    if (known == nullptr || !known->Has(objective->metric)) continue;
    ++scored;
    rows.push_back({known, c->generation});
  }
  if (scored < kInformativeAfter) return "";
  Eigen::MatrixXd outcomes =
      Eigen::MatrixXd::Constant(static_cast<Eigen::Index>(rows.size()), static_cast<Eigen::Index>(total->second), -1);
  int last = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    // The oldest is the first row.
    const Row& row = rows[rows.size() - 1 - i];
    for (const int64_t sample : row.scores->scored.Numbers()) {
      if (sample >= total->second) continue;  // of a longer benchmark with the same data
      outcomes(static_cast<Eigen::Index>(i), sample) = row.scores->metrics.at(objective->metric).Of(sample);
    }
    last += row.generation == rows.front().generation;
  }
  std::vector<int> draw;
  for (const int64_t sample : DrawSamples(spec.seed, benchmark, generation, spec.samples.per_generation, total->second)) {
    draw.push_back(static_cast<int>(sample));
  }
  const std::vector<int> chosen = InformativeDraw(outcomes, last, draw);
  std::vector<int64_t> samples(chosen.begin(), chosen.end());
  std::sort(samples.begin(), samples.end());
  return ListedBenchmark(benchmark, samples);
}

}  // namespace

std::vector<std::string> BenchmarksOfGeneration(const JobState& state, int64_t generation) {
  const JobSpec& spec = state.spec();
  std::vector<std::string> benchmarks = SearchBenchmarks(spec);
  if (spec.samples.per_generation == 0) return benchmarks;
  for (std::string& benchmark : benchmarks) {
    std::string chosen = spec.samples.choose == kChooseInformation ? Informative(state, benchmark, generation) : "";
    benchmark = chosen.empty() ? SampledBenchmark(benchmark, generation) : chosen;
  }
  return benchmarks;
}

}  // namespace merganser
