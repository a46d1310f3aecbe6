#include "coordinator/optimizer/gp_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/normal_distribution.h"

namespace merganser {
namespace {

constexpr int kEvenDraws = 150;  // candidates of the acquisition, over the box
constexpr int kNearDraws = 100;  // around the best observed
constexpr int kNearGenomes = 5;  // how many of those
constexpr int kRefineRounds = 3;
constexpr int kRefineDraws = 40;
constexpr double kParegoRho = 0.05;
constexpr double kFlat = 1e-12;

// E[max(0, f - best)], f ~ N(mean, deviation^2).
double ExpectedImprovement(double mean, double deviation, double best) {
  if (!(deviation > 1e-12)) return 0;
  const double z = (mean - best) / deviation;
  return deviation * (z * NormalCdf(z) + NormalDensity(z));
}

}  // namespace

GpSearch::GpSearch(int population, GenomeSpec genome, uint64_t seed)
    : population_(population), genome_(std::move(genome)), seed_(seed), ledger_(genome_.dimension()) {}

int GpSearch::initial_count() const { return std::max(12, 2 * (dimension() + 1)); }

int GpSearch::objectives() const {
  for (const Individual& one : observed_) {
    if (!one.fitness.empty()) return static_cast<int>(one.fitness.size());
  }
  return 0;
}

std::vector<double> GpSearch::DrawEvenly(Rng& rng) const {
  std::vector<double> genome;
  for (const Gene& gene : genome_.genes) {
    const double u = rng.Uniform();
    genome.push_back(gene.discrete() ? gene.ValueOf(gene.LevelOf(u)) : u);
  }
  return genome;
}

std::vector<double> GpSearch::Perturb(const std::vector<double>& genome, double deviation, Rng& rng) const {
  std::vector<double> moved = genome;
  for (int i = 0; i < dimension(); ++i) {
    const Gene& gene = genome_.genes[i];
    if (gene.kind == Gene::Kind::kCategorical) {
      const double u = rng.Uniform(), coin = rng.Uniform();
      if (coin < deviation) moved[i] = gene.ValueOf(gene.LevelOf(u));
      continue;
    }
    const double width = gene.discrete() ? std::max(deviation, 0.7 / gene.levels) : deviation;
    moved[i] = std::clamp(moved[i] + width * rng.Normal(), 0.0, 1.0);
    if (gene.discrete()) moved[i] = gene.ValueOf(gene.LevelOf(moved[i]));
  }
  return moved;
}

std::vector<double> GpSearch::Scalarise(Rng& rng) const {
  const int m = objectives();
  std::vector<double> weights(m), low(m, std::numeric_limits<double>::infinity()),
      high(m, -std::numeric_limits<double>::infinity());
  double sum = 0;
  for (double& w : weights) sum += w = -std::log(1 - rng.Uniform());  // even on the simplex
  for (const Individual& one : observed_) {
    for (int j = 0; j < static_cast<int>(one.fitness.size()); ++j) {
      low[j] = std::min(low[j], one.fitness[j]);
      high[j] = std::max(high[j], one.fitness[j]);
    }
  }
  std::vector<double> values;
  double worst = std::numeric_limits<double>::infinity();
  for (const Individual& one : observed_) {
    if (one.fitness.empty()) {
      values.push_back(-std::numeric_limits<double>::infinity());
      continue;
    }
    double total = 0, smallest = std::numeric_limits<double>::infinity();
    for (int j = 0; j < m; ++j) {
      const double range = high[j] - low[j];
      const double share = range > 0 ? (one.fitness[j] - low[j]) / range : 1.0;
      const double weighted = m == 1 ? share : weights[j] / sum * (share - 1);  // shortfall
      total += weighted;
      smallest = std::min(smallest, weighted);
    }
    values.push_back(m == 1 ? total : smallest + kParegoRho * total);
    worst = std::min(worst, values.back());
  }
  for (double& value : values) {
    if (!std::isfinite(value)) value = worst;
  }
  return values;
}

std::optional<GpSearch::Model> GpSearch::Fit(const std::vector<double>& values) const {
  if (values.size() < 2 || static_cast<int>(ledger_.told()) < initial_count()) return std::nullopt;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (!(*high - *low > kFlat)) return std::nullopt;
  std::vector<std::vector<double>> genomes;
  for (const Individual& one : observed_) genomes.push_back(one.genome);
  Model model{GaussianProcess(genome_, genomes, values), 0, {}};
  Eigen::Index best = 0;
  model.best_mean = model.process.Predict(genomes).mean.maxCoeff(&best);
  model.best_genome = genomes[best];
  return model;
}

std::vector<double> GpSearch::Maximise(const Model& model, Rng& rng) const {
  // The observed in order of their predicted means.
  std::vector<std::vector<double>> observed;
  for (const Individual& one : observed_) observed.push_back(one.genome);
  const Eigen::VectorXd means = model.process.Predict(observed).mean;
  std::vector<int> order(observed.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return means[a] > means[b]; });

  std::vector<std::vector<double>> candidates;
  for (int i = 0; i < kEvenDraws; ++i) candidates.push_back(DrawEvenly(rng));
  for (int i = 0; i < kNearDraws; ++i) {
    const auto& near = observed[order[i % std::min<size_t>(kNearGenomes, order.size())]];
    candidates.push_back(Perturb(near, std::pow(10, -0.5 - 1.5 * rng.Uniform()), rng));
  }
  std::vector<double> best_genome = candidates[0];
  double best = -1;
  const auto consider = [&] {
    const GaussianProcess::Prediction p = model.process.Predict(candidates);
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Eigen::Index k = static_cast<Eigen::Index>(i);
      const double value = ExpectedImprovement(p.mean[k], p.deviation[k], model.best_mean);
      if (value > best) {
        best = value;
        best_genome = candidates[i];
      }
    }
  };
  consider();
  for (int round = 0; round < kRefineRounds; ++round) {
    candidates.clear();
    for (int i = 0; i < kRefineDraws; ++i) candidates.push_back(Perturb(best_genome, 0.1 * std::pow(0.3, round), rng));
    consider();
  }
  return best_genome;
}

absl::StatusOr<std::vector<Proposal>> GpSearch::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  Forget();
  const uint64_t key = StableHash64("optimizer/gp") ^ seed_;
  std::vector<Proposal> proposals;
  std::optional<Model> model;
  bool fitted = false;
  for (int i = 0; i < count; ++i) {
    const ProposalId id = ledger_.next_id();
    Rng rng(key, static_cast<uint64_t>(id));
    std::vector<double> genome;
    const std::vector<double> values = Scalarise(rng);
    if (!fitted || objectives() > 1) {
      model = Fit(values);
      fitted = true;
      if (model.has_value()) {
        for (const auto& pending : ledger_.OutstandingGenomes()) model->process.Believe(pending);
      }
    }
    if (model.has_value()) {
      genome = Maximise(*model, rng);
      model->process.Believe(genome);
    } else if (id == 0) {
      for (const Gene& gene : genome_.genes) {
        genome.push_back(gene.discrete() ? gene.ValueOf(gene.LevelOf(gene.start)) : gene.start);
      }
      // Seeds differ from the first proposal on.
      genome = Perturb(genome, 1e-3, rng);
    } else {
      genome = DrawEvenly(rng);
    }
    proposals.push_back(ledger_.Add(std::move(genome), 0));
  }
  return proposals;
}

void GpSearch::Forget() {
  while (static_cast<int>(observed_.size()) > kObservationsMax) {
    // The worst of the older half goes.
    const auto score = [](const Individual& one) {
      return one.fitness.empty() ? kFailedScore : std::accumulate(one.fitness.begin(), one.fitness.end(), 0.0);
    };
    observed_.erase(std::min_element(observed_.begin(), observed_.begin() + kObservationsMax / 2,
                                     [&](const Individual& a, const Individual& b) { return score(a) < score(b); }));
  }
}

absl::Status GpSearch::Adopt(absl::Span<const Proposal> logged) { return ledger_.Adopt(logged); }

absl::Status GpSearch::Tell(absl::Span<const Outcome> outcomes) {
  MG_ASSIGN_OR_RETURN(const std::vector<Told> told, ledger_.Take(outcomes));
  for (const Told& one : told) observed_.push_back(ToIndividual(one));
  std::sort(observed_.begin(), observed_.end(), [](const Individual& a, const Individual& b) { return a.id < b.id; });
  return absl::OkStatus();
}

std::vector<double> GpSearch::Mean() const {
  if (objectives() != 1) return {};
  Rng unused(0, 0);
  const std::optional<Model> model = Fit(Scalarise(unused));
  return model.has_value() ? model->best_genome : std::vector<double>();
}

std::string GpSearch::Summary() const {
  std::string text = absl::StrCat("gp: ", ledger_.told(), " told, ", observed_.size(), " modelled");
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  return text;
}

std::string GpSearch::SaveState() const {
  StateWriter writer("gp");
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Int("population", population_);
  ledger_.Save(writer);
  SavePopulation(observed_, writer);
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<GpSearch>> GpSearch::Restore(StateReader& reader) {
  GenomeSpec genome = LoadGenome(reader, kDimensionMax);
  const uint64_t seed = reader.Bits("seed");
  const int population = static_cast<int>(reader.Int("population", 1, kPopulationMax));
  if (!reader.ok()) return reader.status();
  const int n = genome.dimension();
  auto optimizer = std::make_unique<GpSearch>(population, std::move(genome), seed);
  optimizer->ledger_.Load(reader, 0);
  optimizer->observed_ = LoadPopulation(reader, n, kObservationsMax + kOutstandingMax, optimizer->ledger_.next_id());
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser
