#include "coordinator/replay/replay.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

// The first `count` of a random order of `from`.
std::vector<int> Draw(std::vector<int> from, size_t count, Rng rng) {
  for (size_t i = 0; i < count; ++i) std::swap(from[i], from[i + rng.NextU64() % (from.size() - i)]);
  from.resize(count);
  return from;
}

double Score(const std::vector<bool>& correct, const std::vector<int>& samples) {
  int right = 0;
  for (const int sample : samples) right += correct[sample];
  return static_cast<double>(right) / static_cast<double>(samples.size());
}

}  // namespace

absl::StatusOr<ReplayResult> Replay(const OptimizerSpec& spec, const ResponseModel& model, const ReplayOptions& options) {
  if (!(options.held_out > 0 && options.held_out < 1))
    return absl::InvalidArgumentError(absl::StrCat("held_out ", options.held_out, " is not in (0, 1)"));
  if (options.sample_evaluations < 1) {
    return absl::InvalidArgumentError(absl::StrCat("sample_evaluations ", options.sample_evaluations, " is below 1"));
  }
  // Held out are always the same, so that results compare across seeds.
  std::vector<int> search(model.samples());
  std::iota(search.begin(), search.end(), 0);
  const size_t held_out_count =
      std::clamp<size_t>(static_cast<size_t>(options.held_out * model.samples() + 0.5), 1, search.size() - 1);
  const std::vector<int> held_out = Draw(search, held_out_count, Rng(StableHash64("replay/held_out"), 0));
  for (const int sample : held_out) search.erase(std::find(search.begin(), search.end(), sample));

  const int each = options.samples_per_candidate == 0 ? static_cast<int>(search.size()) : options.samples_per_candidate;
  if (each < 1 || each > static_cast<int>(search.size())) {
    return absl::InvalidArgumentError(absl::StrCat("samples_per_candidate ", each, " is not in [1, ", search.size(), "]"));
  }
  MG_ASSIGN_OR_RETURN(const auto optimizer, CreateOptimizer(spec, model.dimension(), options.seed));
  const uint64_t key = StableHash64("replay/samples") ^ options.seed;
  std::vector<int> samples = Draw(search, static_cast<size_t>(each), Rng(key, 0));
  ReplayResult result;
  result.best_measured = -1;
  for (uint64_t generation = 0;; ++generation) {
    const int64_t batch = optimizer->batch_size();
    if (generation > 0 && (result.candidates + batch) * each > options.sample_evaluations) break;
    if (options.fresh_samples) samples = Draw(search, static_cast<size_t>(each), Rng(key, generation));
    MG_ASSIGN_OR_RETURN(const auto proposals, optimizer->Ask(static_cast<int>(batch)));
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : proposals) {
      const std::vector<bool> correct = model.Correct(proposal.genome);
      const double fitness = Score(correct, samples);
      outcomes.push_back({proposal.id, {fitness}, false});
      if (fitness > result.best_measured) {
        result.best_measured = fitness;
        result.best_held_out = Score(correct, held_out);
        result.best_genome = proposal.genome;
      }
    }
    result.candidates += batch;
    MG_RETURN_IF_ERROR(optimizer->Tell(outcomes));
  }
  const std::vector<double> mean = optimizer->Mean();
  result.mean_held_out = mean.empty() ? result.best_held_out : Score(model.Correct(mean), held_out);
  return result;
}

}  // namespace merganser
