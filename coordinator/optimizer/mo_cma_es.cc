#include "coordinator/optimizer/mo_cma_es.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/box_transform.h"

namespace merganser {
namespace {

// Table 1 of the 2007 paper, for one child.
constexpr double kTargetSuccess = 1 / 5.5;                              // 1 / (5 + sqrt(lambda) / 2)
constexpr double kSuccessRate = kTargetSuccess / (2 + kTargetSuccess);  // c_p
constexpr double kSuccessThreshold = 0.44;
constexpr double kSigmaMin = 1e-18;
constexpr double kSigmaMax = 1e3;
constexpr double kLarge = 1e150;

absl::Span<const double> ToSpan(const Eigen::VectorXd& v) { return {v.data(), static_cast<size_t>(v.size())}; }

Eigen::VectorXd ToVector(const std::vector<double>& v) {
  return Eigen::Map<const Eigen::VectorXd>(v.data(), static_cast<Eigen::Index>(v.size()));
}

}  // namespace

MoCmaEs::MoCmaEs(int population, double sigma0, GenomeSpec genome, uint64_t seed)
    : population_(population), sigma0_(sigma0), genome_(std::move(genome)), seed_(seed), ledger_(genome_.dimension()) {}

MoCmaEs::Strategy MoCmaEs::FirstStrategy(Eigen::VectorXd point) const {
  const int n = dimension();
  Eigen::VectorXd scale(n);
  for (int i = 0; i < n; ++i) scale[i] = genome_.genes[i].scale;
  return {std::move(point), sigma0_, kTargetSuccess, Eigen::VectorXd::Zero(n),
          std::make_shared<const Eigen::MatrixXd>(scale.cwiseAbs2().asDiagonal())};
}

absl::StatusOr<std::vector<Proposal>> MoCmaEs::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  const int n = dimension();
  std::vector<Proposal> proposals;
  const uint64_t key = StableHash64("optimizer/mo_cma_es") ^ seed_;
  const bool blind = parents_.empty() || parents_.front().individual.fitness.empty();
  for (int i = 0; i < count; ++i) {
    Rng rng(key, static_cast<uint64_t>(ledger_.next_id()));
    Member child;
    std::vector<double> genome(n), point(n);
    if (blind) {
      for (double& x : genome) x = rng.Uniform();
      std::transform(genome.begin(), genome.end(), point.begin(), GeneToPoint);
      child.strategy = FirstStrategy(ToVector(point));
    } else {
      const Member& parent = parents_[born_++ % parents_.size()];
      child.parent = parent.individual.id;
      child.strategy = parent.strategy;
      Eigen::VectorXd z(n);
      for (double& x : z) x = rng.Normal();
      const Eigen::LLT<Eigen::MatrixXd> root(*parent.strategy.covariance);
      const Eigen::VectorXd y = root.matrixL() * z;
      child.strategy.point += parent.strategy.sigma * y;
      for (int j = 0; j < n; ++j) {
        point[j] = child.strategy.point[j];
        genome[j] = PointToGene(point[j]);
      }
    }
    Proposal proposal = ledger_.Add(std::move(genome), generation_, std::move(point));
    child.individual.id = proposal.id;
    outstanding_[proposal.id] = std::move(child);
    proposals.push_back(std::move(proposal));
  }
  return proposals;
}

absl::Status MoCmaEs::Tell(absl::Span<const Outcome> outcomes) {
  MG_ASSIGN_OR_RETURN(const std::vector<Told> told, ledger_.Take(outcomes));
  for (const Told& one : told) {
    Member member = std::move(outstanding_.extract(one.id).mapped());
    member.individual = ToIndividual(one);
    std::vector<double> point = one.point;
    if (point.empty()) {  // the log's genome has replaced it
      point = one.genome;
      std::transform(point.begin(), point.end(), point.begin(), GeneToPoint);
    }
    member.strategy.point = ToVector(point);
    offspring_.push_back(std::move(member));
    if (static_cast<int>(offspring_.size()) == population_) CloseGeneration();
  }
  return absl::OkStatus();
}

void MoCmaEs::UpdateSigma(Strategy& strategy, bool success, int n) {
  const double damping = 1 + n / 2.0;  // d
  strategy.success = (1 - kSuccessRate) * strategy.success + kSuccessRate * (success ? 1 : 0);
  strategy.sigma *= std::exp((strategy.success - kTargetSuccess) / (damping * (1 - kTargetSuccess)));
  strategy.sigma = std::clamp(strategy.sigma, kSigmaMin, kSigmaMax);
}

void MoCmaEs::UpdateCovariance(Strategy& strategy, const Eigen::VectorXd& step) {
  const double n = static_cast<double>(step.size());
  const double c_c = 2 / (n + 2), c_cov = 2 / (n * n + 6);
  const bool slow = strategy.success < kSuccessThreshold;
  strategy.path *= 1 - c_c;
  if (slow) strategy.path += std::sqrt(c_c * (2 - c_c)) * step;
  const double keep = 1 - c_cov + (slow ? 0.0 : c_cov * c_c * (2 - c_c));
  auto c =
      std::make_shared<Eigen::MatrixXd>(keep * *strategy.covariance + c_cov * strategy.path * strategy.path.transpose());
  if (c->allFinite()) strategy.covariance = std::move(c);
}

void MoCmaEs::CloseGeneration() {
  std::sort(offspring_.begin(), offspring_.end(),
            [](const Member& a, const Member& b) { return a.individual.id < b.individual.id; });
  std::vector<Member> all = std::exchange(parents_, {});
  const size_t parent_count = all.size();
  for (Member& member : offspring_) all.push_back(std::move(member));
  offspring_.clear();
  std::vector<FitnessVector> fitness;
  for (const Member& member : all) fitness.push_back(member.individual.fitness);
  const std::vector<int> selected = SelectBest(fitness, population_, /*by_hypervolume=*/true);
  std::vector<bool> stays(all.size(), false);
  for (const int i : selected) stays[i] = true;

  std::map<ProposalId, size_t> parents;
  for (size_t i = 0; i < parent_count; ++i) parents[all[i].individual.id] = i;
  for (size_t i = parent_count; i < all.size(); ++i) {
    Member& child = all[i];
    const auto it = parents.find(child.parent);
    if (child.parent < 0) continue;
    // The child carries its parent's strategy as it was at birth; the step is in those units.
    if (stays[i] && it != parents.end()) {
      const double sigma = child.strategy.sigma;
      const Eigen::VectorXd step = (child.strategy.point - all[it->second].strategy.point) / sigma;
      UpdateSigma(child.strategy, true, dimension());
      UpdateCovariance(child.strategy, step);
    }
    if (it != parents.end()) UpdateSigma(all[it->second].strategy, stays[i], dimension());
  }
  for (const int i : selected) parents_.push_back(std::move(all[i]));
  ++generation_;
}

std::string MoCmaEs::Summary() const {
  std::string text =
      absl::StrCat("mo_cma_es: generation ", generation_, " (", offspring_.size(), " of ", population_, " told)");
  if (!parents_.empty()) {
    double low = kSigmaMax, high = 0;
    for (const Member& member : parents_) {
      low = std::min(low, member.strategy.sigma);
      high = std::max(high, member.strategy.sigma);
    }
    absl::StrAppend(&text, ", sigma ", low, " to ", high);
  }
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  return text;
}

void MoCmaEs::SaveMember(const Member& member, StateWriter& writer) const {
  SavePopulation({member.individual}, writer);
  writer.Int("parent", member.parent);
  writer.Doubles("point", ToSpan(member.strategy.point));
  writer.Doubles("strategy", {member.strategy.sigma, member.strategy.success});
  writer.Doubles("path", ToSpan(member.strategy.path));
  const Eigen::MatrixXd& c = *member.strategy.covariance;
  for (int i = 0; i < dimension(); ++i) writer.Doubles("covariance", {c.col(i).data(), static_cast<size_t>(i) + 1});
}

MoCmaEs::Member MoCmaEs::LoadMember(StateReader& reader) const {
  const int n = dimension();
  Member member;
  std::vector<Individual> one = LoadPopulation(reader, n, 1, ledger_.next_id());
  member.parent = reader.Int("parent", -1, std::max<int64_t>(-1, ledger_.next_id() - 1));
  const auto point = reader.Doubles("point", n, -kLarge, kLarge);
  const auto strategy = reader.Doubles("strategy", 2, 0, kSigmaMax);
  const auto path = reader.Doubles("path", n, -kLarge, kLarge);
  auto c = std::make_shared<Eigen::MatrixXd>(n, n);
  for (int i = 0; i < n && reader.ok(); ++i) {
    const auto column = reader.Doubles("covariance", i + 1, -kLarge, kLarge);
    for (int j = 0; j <= i && reader.ok(); ++j) (*c)(j, i) = (*c)(i, j) = column[j];
  }
  if (reader.ok() && one.size() != 1) reader.Fail("a member without its individual");
  if (reader.ok() && !(c->diagonal().minCoeff() > 0 && Eigen::LLT<Eigen::MatrixXd>(*c).info() == Eigen::Success)) {
    reader.Fail("a covariance is not positive definite");
  }
  if (!reader.ok()) return member;
  member.individual = std::move(one[0]);
  member.strategy = {ToVector(point), std::max(kSigmaMin, strategy[0]), strategy[1], ToVector(path), std::move(c)};
  return member;
}

std::string MoCmaEs::SaveState() const {
  StateWriter writer("mo_cma_es");
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Int("population", population_);
  writer.Doubles("sigma0", {sigma0_});
  writer.Int("generations", generation_);
  writer.Int("born", born_);
  ledger_.Save(writer);
  writer.Int("parents", static_cast<int64_t>(parents_.size()));
  for (const Member& member : parents_) SaveMember(member, writer);
  writer.Int("offspring", static_cast<int64_t>(offspring_.size()));
  for (const Member& member : offspring_) SaveMember(member, writer);
  for (const auto& [id, member] : outstanding_) {
    // Its genome is the ledger's.
    Member child = member;
    child.individual.genome.assign(dimension(), 0.0);
    SaveMember(child, writer);
  }
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<MoCmaEs>> MoCmaEs::Restore(StateReader& reader) {
  GenomeSpec genome = LoadGenome(reader, kDimensionMax);
  const uint64_t seed = reader.Bits("seed");
  const int population = static_cast<int>(reader.Int("population", kPopulationMin, kPopulationMax));
  const auto sigma0 = reader.Doubles("sigma0", 1, 1e-6, 1);
  if (!reader.ok()) return reader.status();
  auto optimizer = std::make_unique<MoCmaEs>(population, sigma0[0], std::move(genome), seed);
  optimizer->generation_ = reader.Int("generations", 0, int64_t{1} << 53);
  optimizer->born_ = reader.Int("born", 0, int64_t{1} << 53);
  optimizer->ledger_.Load(reader, optimizer->generation_);
  const int64_t parents = reader.Int("parents", 0, population);
  for (int64_t i = 0; i < parents && reader.ok(); ++i) optimizer->parents_.push_back(optimizer->LoadMember(reader));
  const int64_t offspring = reader.Int("offspring", 0, population - 1);
  for (int64_t i = 0; i < offspring && reader.ok(); ++i) optimizer->offspring_.push_back(optimizer->LoadMember(reader));
  for (int64_t i = 0; i < optimizer->ledger_.outstanding() && reader.ok(); ++i) {
    Member member = optimizer->LoadMember(reader);
    if (!reader.ok()) break;
    const ProposalId id = member.individual.id;
    if (!optimizer->ledger_.IsOutstanding(id)) reader.Fail("a child that is not outstanding");
    if (!optimizer->outstanding_.try_emplace(id, std::move(member)).second) reader.Fail("a child twice");
  }
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser
