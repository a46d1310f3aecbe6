#include "coordinator/optimizer/nsga2.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr double kCrossoverEta = 15;
constexpr double kPairProbability = 0.9;
constexpr double kGeneProbability = 0.5;
constexpr double kMutationEta = 20;
constexpr double kMutationProbability = 0.9;
constexpr int kTries = 20;  // for a child that is not one of the parents again

// The two children's genes of simulated binary crossover, bounded to [0, 1] (K. Deb, R. Agrawal,
// 1995; bounded form of K. Deb, 2000). `u` is uniform in [0, 1).
std::pair<double, double> Cross(double a, double b, double u) {
  const double low = std::min(a, b), high = std::max(a, b);
  const double gap = high - low;
  if (gap < 1e-14) return {a, b};
  const auto spread = [&](double to_bound) {
    const double beta = 1 + 2 * to_bound / gap;
    const double alpha = 2 - std::pow(beta, -(kCrossoverEta + 1));
    const double base = u <= 1 / alpha ? u * alpha : 1 / (2 - u * alpha);
    return std::pow(base, 1 / (kCrossoverEta + 1));
  };
  const double first = 0.5 * (low + high - spread(low) * gap);
  const double second = 0.5 * (low + high + spread(1 - high) * gap);
  return {std::clamp(first, 0.0, 1.0), std::clamp(second, 0.0, 1.0)};
}

// Polynomial mutation in its bounded form.
double MutateGene(double x, double u) {
  const double power = 1 / (kMutationEta + 1);
  double shift;
  if (u <= 0.5) {
    const double value = 2 * u + (1 - 2 * u) * std::pow(1 - x, kMutationEta + 1);
    shift = std::pow(value, power) - 1;
  } else {
    const double value = 2 * (1 - u) + 2 * (u - 0.5) * std::pow(x, kMutationEta + 1);
    shift = 1 - std::pow(value, power);
  }
  return std::clamp(x + shift, 0.0, 1.0);
}

size_t Pick(Rng& rng, size_t count) {
  return std::min(count - 1, static_cast<size_t>(rng.Uniform() * static_cast<double>(count)));
}

}  // namespace

Nsga2::Nsga2(int population, GenomeSpec genome, uint64_t seed)
    : population_(population), genome_(std::move(genome)), seed_(seed), ledger_(genome_.dimension()) {}

std::vector<double> Nsga2::DrawEvenly(Rng& rng) const {
  std::vector<double> genome;
  for (const Gene& gene : genome_.genes) {
    const double u = rng.Uniform();
    genome.push_back(gene.discrete() ? gene.ValueOf(gene.LevelOf(u)) : u);
  }
  return genome;
}

const Individual& Nsga2::Tournament(Rng& rng) const {
  const size_t a = Pick(rng, parents_.size()), b = Pick(rng, parents_.size());
  const double coin = rng.Uniform();
  if (ranks_[a] != ranks_[b]) return parents_[ranks_[a] < ranks_[b] ? a : b];
  if (crowding_[a] != crowding_[b]) return parents_[crowding_[a] > crowding_[b] ? a : b];
  return parents_[coin < 0.5 ? a : b];
}

void Nsga2::Mutate(Rng& rng, std::vector<double>& genome) const {
  if (rng.Uniform() >= kMutationProbability) return;
  const double probability = std::min(0.5, 1.0 / dimension());
  for (int i = 0; i < dimension(); ++i) {
    const Gene& gene = genome_.genes[i];
    const double coin = rng.Uniform(), u = rng.Uniform();
    if (coin >= probability) continue;
    genome[i] = gene.kind == Gene::Kind::kCategorical ? u : MutateGene(genome[i], u);
  }
}

std::vector<double> Nsga2::Child(Rng& rng) const {
  std::vector<double> child;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    std::vector<double> a = Tournament(rng).genome, b = Tournament(rng).genome;
    const bool cross = rng.Uniform() < kPairProbability;
    for (int i = 0; cross && i < dimension(); ++i) {
      const double coin = rng.Uniform(), u = rng.Uniform(), swap = rng.Uniform();
      if (coin >= kGeneProbability) continue;
      if (genome_.genes[i].kind != Gene::Kind::kCategorical) std::tie(a[i], b[i]) = Cross(a[i], b[i], u);
      if (swap < 0.5) std::swap(a[i], b[i]);
    }
    child = rng.Uniform() < 0.5 ? std::move(a) : std::move(b);
    Mutate(rng, child);
    for (int i = 0; i < dimension(); ++i) {
      const Gene& gene = genome_.genes[i];
      if (gene.discrete()) child[i] = gene.ValueOf(gene.LevelOf(child[i]));
    }
    const bool known = std::any_of(parents_.begin(), parents_.end(), [&](const Individual& p) { return p.genome == child; });
    if (!known) break;
  }
  return child;
}

absl::StatusOr<std::vector<Proposal>> Nsga2::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  const uint64_t key = StableHash64("optimizer/nsga2") ^ seed_;
  // Failed ones are kept behind all others.
  const bool blind = parents_.empty() || parents_.front().fitness.empty();
  for (int i = 0; i < count; ++i) {
    Rng rng(key, static_cast<uint64_t>(ledger_.next_id()));
    proposals.push_back(ledger_.Add(blind ? DrawEvenly(rng) : Child(rng), generation_));
  }
  return proposals;
}

absl::Status Nsga2::Tell(absl::Span<const Outcome> outcomes) {
  MG_ASSIGN_OR_RETURN(const std::vector<Told> told, ledger_.Take(outcomes));
  for (const Told& one : told) {
    offspring_.push_back(ToIndividual(one));
    if (static_cast<int>(offspring_.size()) == population_) CloseGeneration();
  }
  return absl::OkStatus();
}

void Nsga2::CloseGeneration() {
  std::sort(offspring_.begin(), offspring_.end(), [](const Individual& a, const Individual& b) { return a.id < b.id; });
  std::vector<Individual> all = std::exchange(parents_, {});
  all.insert(all.end(), offspring_.begin(), offspring_.end());
  offspring_.clear();
  std::vector<FitnessVector> fitness;
  for (const Individual& one : all) fitness.push_back(one.fitness);
  for (const int i : SelectBest(fitness, population_, /*by_hypervolume=*/false)) parents_.push_back(std::move(all[i]));
  ++generation_;
  RankParents();
}

void Nsga2::RankParents() {
  std::vector<FitnessVector> fitness;
  for (const Individual& one : parents_) fitness.push_back(one.fitness);
  ranks_ = DominationRanks(fitness);
  crowding_.assign(parents_.size(), 0.0);
  const int fronts = ranks_.empty() ? 0 : *std::max_element(ranks_.begin(), ranks_.end()) + 1;
  for (int rank = 0; rank < fronts; ++rank) {
    std::vector<int> front;
    for (size_t i = 0; i < ranks_.size(); ++i) {
      if (ranks_[i] == rank) front.push_back(static_cast<int>(i));
    }
    const std::vector<double> distances = CrowdingDistances(fitness, front);
    for (size_t i = 0; i < front.size(); ++i) crowding_[front[i]] = distances[i];
  }
}

std::string Nsga2::Summary() const {
  const auto front = std::count(ranks_.begin(), ranks_.end(), 0);
  std::string text = absl::StrCat("nsga2: generation ", generation_, " (", offspring_.size(), " of ", population_,
                                  " told), ", front, " in the first front");
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  return text;
}

std::string Nsga2::SaveState() const {
  StateWriter writer("nsga2");
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Int("population", population_);
  writer.Int("generations", generation_);
  ledger_.Save(writer);
  SavePopulation(parents_, writer);
  SavePopulation(offspring_, writer);
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<Nsga2>> Nsga2::Restore(StateReader& reader) {
  GenomeSpec genome = LoadGenome(reader, kDimensionMax);
  const uint64_t seed = reader.Bits("seed");
  const int population = static_cast<int>(reader.Int("population", kPopulationMin, kPopulationMax));
  if (!reader.ok()) return reader.status();
  const int n = genome.dimension();
  auto optimizer = std::make_unique<Nsga2>(population, std::move(genome), seed);
  optimizer->generation_ = reader.Int("generations", 0, int64_t{1} << 53);
  optimizer->ledger_.Load(reader, optimizer->generation_);
  const ProposalId next = optimizer->ledger_.next_id();
  optimizer->parents_ = LoadPopulation(reader, n, population, next);
  optimizer->offspring_ = LoadPopulation(reader, n, population - 1, next);
  reader.Finish();
  if (!reader.ok()) return reader.status();
  optimizer->RankParents();
  return optimizer;
}

}  // namespace merganser
