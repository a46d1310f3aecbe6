#include "coordinator/optimizer/niche_archive.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// Drawn in proportion to `weights`; evenly if they are all 0.
size_t Roulette(const std::vector<double>& weights, Rng& rng) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double u = rng.Uniform();
  if (!(sum > 0)) {
    return std::min(weights.size() - 1, static_cast<size_t>(u * static_cast<double>(weights.size())));
  }
  double left = u * sum;
  size_t i = 0;
  while (i + 1 < weights.size() && left >= weights[i]) left -= weights[i++];
  return i;
}

}  // namespace

std::vector<double> NicheFitness(const std::vector<std::vector<double>>& scores) {
  std::vector<double> fitness(scores.size(), 0.0);
  if (scores.empty()) return fitness;
  for (size_t j = 0; j < scores[0].size(); ++j) {
    double sum = 0;  // z_j
    for (const auto& member : scores) sum += member[j];
    if (!(sum > 0)) continue;
    for (size_t i = 0; i < scores.size(); ++i) fitness[i] += scores[i][j] / sum;
  }
  return fitness;
}

NicheArchive::NicheArchive(int population, double deviation, GenomeSpec genome, uint64_t seed, int group)
    : population_(population),
      deviation_(deviation),
      genome_(std::move(genome)),
      seed_(seed),
      group_(group > 0 ? group : std::max(2, population / 4)),
      ledger_(genome_.dimension()) {}

std::vector<std::vector<double>> NicheArchive::Scores() const {
  if (members_.empty()) return {};
  const size_t objectives = members_[0].fitness.size();
  std::vector<std::vector<double>> scores(members_.size(), std::vector<double>(objectives, 1.0));
  for (size_t j = 0; j < objectives; ++j) {
    double low = members_[0].fitness[j], high = low;
    for (const Individual& one : members_) {
      low = std::min(low, one.fitness[j]);
      high = std::max(high, one.fitness[j]);
    }
    for (size_t i = 0; high > low && i < members_.size(); ++i) {
      // Halved first: the difference of two finite numbers may not be finite.
      scores[i][j] = (members_[i].fitness[j] / 2 - low / 2) / (high / 2 - low / 2);
    }
  }
  return scores;
}

std::vector<double> NicheArchive::Child(Rng& rng) const {
  const std::vector<std::vector<double>> scores = Scores();
  const size_t first = Roulette(NicheFitness(scores), rng);
  std::vector<double> attraction(members_.size(), 0.0);
  for (size_t i = 0; i < members_.size(); ++i) {
    for (size_t j = 0; j < scores[i].size(); ++j) attraction[i] += std::max(0.0, scores[i][j] - scores[first][j]);
  }
  const size_t second = Roulette(attraction, rng);
  const std::vector<double>&a = members_[first].genome, &b = members_[second].genome;
  const int split = static_cast<int>(rng.Uniform() * dimension());
  const double mix = rng.Uniform();
  std::vector<double> child(dimension());
  for (int i = 0; i < dimension(); ++i) {
    const Gene& gene = genome_.genes[i];
    const double share = i < split ? mix : 1 - mix;
    const double coin = rng.Uniform(), step = rng.Normal();
    if (gene.kind == Gene::Kind::kCategorical) {
      child[i] = coin < share ? a[i] : b[i];
      const double mutate = rng.Uniform(), level = rng.Uniform();
      if (mutate < 1.0 / dimension()) child[i] = gene.ValueOf(gene.LevelOf(level));
      continue;
    }
    child[i] = std::clamp(share * a[i] + (1 - share) * b[i] + deviation_ * step, 0.0, 1.0);
    if (gene.discrete()) child[i] = gene.ValueOf(gene.LevelOf(child[i]));
  }
  return child;
}

Rng NicheArchive::NextRng() const {
  return Rng(StableHash64("optimizer/niche") ^ seed_, static_cast<uint64_t>(ledger_.next_id()));
}

Proposal NicheArchive::Breed() {
  Rng rng = NextRng();
  return ledger_.Add(Child(rng), 0);
}

absl::StatusOr<std::vector<Proposal>> NicheArchive::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  for (int i = 0; i < count; ++i) {
    if (ledger_.next_id() >= population_ && members_.size() >= 2) {
      proposals.push_back(Breed());
      continue;
    }
    Rng rng = NextRng();  // the first members fill the box
    std::vector<double> genome;
    for (const Gene& gene : genome_.genes) {
      const double u = rng.Uniform();
      genome.push_back(gene.discrete() ? gene.ValueOf(gene.LevelOf(u)) : u);
    }
    proposals.push_back(ledger_.Add(std::move(genome), 0));
  }
  return proposals;
}

absl::Status NicheArchive::Tell(absl::Span<const Outcome> outcomes) {
  MG_ASSIGN_OR_RETURN(const std::vector<Told> told, ledger_.Take(outcomes));
  for (const Told& one : told) {
    waiting_.push_back(ToIndividual(one));
    if (static_cast<int>(waiting_.size()) < batch_size()) continue;
    std::vector<Individual> group = std::exchange(waiting_, {});
    std::sort(group.begin(), group.end(), [](const Individual& a, const Individual& b) { return a.id < b.id; });
    for (const Individual& joining : group) Join(joining);
  }
  return absl::OkStatus();
}

void NicheArchive::Join(const Individual& one) {
  if (one.fitness.empty()) return;
  const auto at = std::upper_bound(members_.begin(), members_.end(), one,
                                   [](const Individual& a, const Individual& b) { return a.id < b.id; });
  members_.insert(at, one);
  if (static_cast<int>(members_.size()) <= population_) return;
  const std::vector<double> fitness = NicheFitness(Scores());
  members_.erase(members_.begin() + (std::min_element(fitness.begin(), fitness.end()) - fitness.begin()));
}

std::string NicheArchive::Summary() const {
  std::string text = absl::StrCat("niche: ", ledger_.told(), " told, ", members_.size(), " members");
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  return text;
}

std::string NicheArchive::SaveState() const {
  StateWriter writer("niche");
  SaveTo(writer);
  return std::move(writer).Finish();
}

void NicheArchive::SaveTo(StateWriter& writer) const {
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Int("population", population_);
  writer.Doubles("deviation", {deviation_});
  writer.Int("group", group_);
  ledger_.Save(writer);
  SavePopulation(members_, writer);
  SavePopulation(waiting_, writer);
}

absl::StatusOr<std::unique_ptr<NicheArchive>> NicheArchive::Restore(StateReader& reader) {
  auto optimizer = RestorePart(reader);
  if (!optimizer.ok()) return optimizer;
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

absl::StatusOr<std::unique_ptr<NicheArchive>> NicheArchive::RestorePart(StateReader& reader) {
  GenomeSpec genome = LoadGenome(reader, kDimensionMax);
  const uint64_t seed = reader.Bits("seed");
  const int population = static_cast<int>(reader.Int("population", kPopulationMin, kPopulationMax));
  const auto deviation = reader.Doubles("deviation", 1, 0, 1);
  const int group = static_cast<int>(reader.Int("group", 1, kPopulationMax));
  if (!reader.ok()) return reader.status();
  const int n = genome.dimension();
  auto optimizer = std::make_unique<NicheArchive>(population, deviation[0], std::move(genome), seed, group);
  optimizer->ledger_.Load(reader, 0);
  optimizer->members_ = LoadPopulation(reader, n, population, optimizer->ledger_.next_id());
  optimizer->waiting_ = LoadPopulation(reader, n, optimizer->batch_size() - 1, optimizer->ledger_.next_id());
  for (const Individual& one : optimizer->members_) {
    if (one.fitness.empty()) reader.Fail("a member without fitness");
  }
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser
