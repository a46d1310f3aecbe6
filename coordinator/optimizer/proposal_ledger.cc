#include "coordinator/optimizer/proposal_ledger.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kIdMax = int64_t{1} << 53;
constexpr int64_t kObjectivesMax = 1000;
constexpr double kRounding = 1e-9;
constexpr double kPointMax = 1e150;

double Score(const Outcome& outcome) {
  if (outcome.failed) return kFailedScore;
  // Divided before adding, so that large finite numbers do not overflow into a failure.
  double mean = 0;
  for (const double value : outcome.fitness) mean += value / static_cast<double>(outcome.fitness.size());
  return std::isfinite(mean) ? mean : kFailedScore;
}

}  // namespace

absl::Status ProposalLedger::CheckAsk(int count) const {
  if (count < 1) return absl::InvalidArgumentError(absl::StrCat("asked for ", count, " proposals; at least 1"));
  if (count > Optimizer::kOutstandingMax - outstanding()) {
    return absl::ResourceExhaustedError(absl::StrCat("asked for ", count, " proposals while ", outstanding(),
                                                     " are outstanding; at most ", Optimizer::kOutstandingMax));
  }
  return absl::OkStatus();
}

Proposal ProposalLedger::Add(std::vector<double> genome, int64_t generation, std::vector<double> point, bool injected) {
  const ProposalId id = next_id_++;
  outstanding_[id] = {genome, generation, std::move(point), injected};
  return {id, std::move(genome)};
}

absl::Status ProposalLedger::CheckOutstanding(ProposalId id) const {
  if (id < 0 || id >= next_id_) {
    return absl::NotFoundError(absl::StrCat("proposal ", id, " was never asked; the next is ", next_id_));
  }
  if (!outstanding_.contains(id)) {
    return absl::AlreadyExistsError(absl::StrCat("the outcome of proposal ", id, " was told before"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Told>> ProposalLedger::Take(absl::Span<const Outcome> outcomes) {
  std::set<ProposalId> seen;
  int64_t objectives = objectives_;
  for (const Outcome& outcome : outcomes) {
    MG_RETURN_IF_ERROR(CheckOutstanding(outcome.id));
    if (!seen.insert(outcome.id).second) {
      return absl::AlreadyExistsError(absl::StrCat("two outcomes of proposal ", outcome.id, " in one batch"));
    }
    if (outcome.failed) continue;
    const int64_t count = static_cast<int64_t>(outcome.fitness.size());
    if (count < 1 || count > kObjectivesMax) {
      return absl::InvalidArgumentError(absl::StrCat("outcome of proposal ", outcome.id, ": ", count,
                                                     " fitness numbers are not in [1, ", kObjectivesMax, "]"));
    }
    if (objectives == 0) objectives = count;
    if (count != objectives) {
      return absl::InvalidArgumentError(
          absl::StrCat("outcome of proposal ", outcome.id, ": ", count, " fitness numbers where others have ", objectives));
    }
  }
  objectives_ = objectives;
  std::vector<Told> told;
  told.reserve(outcomes.size());
  for (const Outcome& outcome : outcomes) {
    auto node = outstanding_.extract(outcome.id);
    Entry& entry = node.mapped();
    told.push_back(
        {outcome.id, std::move(entry.genome), std::move(entry.point), entry.generation, entry.injected, Score(outcome)});
    if (told.back().score == kFailedScore) {
      ++failed_;
    } else {
      told.back().fitness = outcome.fitness;
    }
  }
  std::sort(told.begin(), told.end(), [](const Told& a, const Told& b) { return a.id < b.id; });
  return told;
}

absl::Status ProposalLedger::Adopt(absl::Span<const Proposal> logged) {
  for (const Proposal& proposal : logged) {
    if (!outstanding_.contains(proposal.id)) {
      return absl::NotFoundError(absl::StrCat("proposal ", proposal.id, " is not outstanding"));
    }
    if (static_cast<int>(proposal.genome.size()) != dimension_) {
      return absl::InvalidArgumentError(
          absl::StrCat("proposal ", proposal.id, ": genome has ", proposal.genome.size(), " numbers, not ", dimension_));
    }
    for (const double x : proposal.genome) {
      if (!(x >= 0 && x <= 1)) {
        return absl::InvalidArgumentError(absl::StrCat("proposal ", proposal.id, ": gene ", x, " is not in [0, 1]"));
      }
    }
  }
  for (const Proposal& proposal : logged) {
    Entry& entry = outstanding_[proposal.id];
    const bool same = std::equal(entry.genome.begin(), entry.genome.end(), proposal.genome.begin(),
                                 [](double a, double b) { return std::abs(a - b) <= kRounding; });
    if (!same) entry.point.clear();
    entry.genome = proposal.genome;
  }
  return absl::OkStatus();
}

std::vector<std::vector<double>> ProposalLedger::OutstandingGenomes() const {
  std::vector<std::vector<double>> genomes;
  for (const auto& [id, entry] : outstanding_) genomes.push_back(entry.genome);
  return genomes;
}

void ProposalLedger::Save(StateWriter& writer) const {
  writer.Int("next_id", next_id_);
  writer.Int("failed", failed_);
  writer.Int("objectives", objectives_);
  writer.Int("outstanding", outstanding());
  for (const auto& [id, entry] : outstanding_) {
    writer.Int("id", id);
    writer.Int("generation", entry.generation);
    writer.Int("injected", entry.injected ? 1 : 0);
    writer.Doubles("genome", entry.genome);
    writer.Int("has_point", entry.point.empty() ? 0 : 1);
    if (!entry.point.empty()) writer.Doubles("point", entry.point);
  }
}

void ProposalLedger::Load(StateReader& reader, int64_t generation_max) {
  next_id_ = reader.Int("next_id", 0, kIdMax);
  failed_ = reader.Int("failed", 0, kIdMax);
  objectives_ = reader.Int("objectives", 0, kObjectivesMax);
  outstanding_.clear();
  const int64_t count = reader.Int("outstanding", 0, Optimizer::kOutstandingMax);
  ProposalId low = 0;
  for (int64_t i = 0; i < count && reader.ok(); ++i) {
    const ProposalId id = reader.Int("id", low, next_id_ - 1);
    Entry entry;
    entry.generation = reader.Int("generation", 0, generation_max);
    entry.injected = reader.Int("injected", 0, 1) == 1;
    entry.genome = reader.Doubles("genome", dimension_, 0, 1);
    if (reader.Int("has_point", 0, 1) == 1) entry.point = reader.Doubles("point", dimension_, -kPointMax, kPointMax);
    outstanding_[id] = std::move(entry);
    low = id + 1;
  }
}

}  // namespace merganser
