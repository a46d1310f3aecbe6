#include "coordinator/optimizer/random_search.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"

namespace merganser {

RandomSearch::RandomSearch(int population, int dimension, uint64_t seed)
    : population_(population), dimension_(dimension), seed_(seed), ledger_(dimension) {}

absl::StatusOr<std::vector<Proposal>> RandomSearch::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  const uint64_t key = StableHash64("optimizer/random") ^ seed_;
  for (int i = 0; i < count; ++i) {
    Rng rng(key, static_cast<uint64_t>(ledger_.next_id()));
    std::vector<double> genome(dimension_);
    for (double& x : genome) x = rng.Uniform();
    proposals.push_back(ledger_.Add(std::move(genome), 0));
  }
  return proposals;
}

absl::Status RandomSearch::Tell(absl::Span<const Outcome> outcomes) { return ledger_.Take(outcomes).status(); }

std::string RandomSearch::Summary() const {
  std::string text = absl::StrCat("random: ", ledger_.told(), " told");
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  return text;
}

std::string RandomSearch::SaveState() const {
  StateWriter writer("random");
  writer.Int("dimension", dimension_);
  writer.Bits("seed", seed_);
  writer.Int("population", population_);
  ledger_.Save(writer);
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<RandomSearch>> RandomSearch::Restore(StateReader& reader) {
  const int dimension = static_cast<int>(reader.Int("dimension", 1, kDimensionMax));
  const uint64_t seed = reader.Bits("seed");
  const int population = static_cast<int>(reader.Int("population", 1, kPopulationMax));
  if (!reader.ok()) return reader.status();
  auto optimizer = std::make_unique<RandomSearch>(population, dimension, seed);
  optimizer->ledger_.Load(reader, 0);
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser
