#include "tests/contracts/optimizer_contract.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "coordinator/optimizer/factory.h"

namespace merganser {

using testing::HasSubstr;

std::vector<Proposal> MustAsk(Optimizer& optimizer, int count) {
  auto proposals = optimizer.Ask(count);
  EXPECT_TRUE(proposals.ok()) << proposals.status();
  return proposals.ok() ? *std::move(proposals) : std::vector<Proposal>();
}

std::unique_ptr<Optimizer> SaveAndRestore(const Optimizer& optimizer) {
  auto restored = RestoreOptimizer(optimizer.SaveState());
  EXPECT_TRUE(restored.ok()) << restored.status();
  return restored.ok() ? *std::move(restored) : nullptr;
}

std::unique_ptr<Optimizer> OptimizerContract::Create(uint64_t seed) const {
  GenomeSpec genome = GenomeSpec::Continuous(GetParam().dimension);
  if (!GetParam().genes.empty()) genome.genes = GetParam().genes;
  auto optimizer = CreateOptimizer(GetParam().spec, genome, 1, seed);
  EXPECT_TRUE(optimizer.ok()) << optimizer.status();
  return *std::move(optimizer);
}

Outcome OptimizerContract::Evaluate(const Proposal& proposal) {
  if (proposal.id % 5 == 4) return {proposal.id, {}, true};
  if (proposal.id % 7 == 6) return {proposal.id, {std::numeric_limits<double>::quiet_NaN()}, false};
  double fitness = 0;
  for (const double x : proposal.genome) fitness -= (x - 0.3) * (x - 0.3);
  return {proposal.id, {fitness}, false};
}

std::vector<Outcome> OptimizerContract::EvaluateAll(const std::vector<Proposal>& proposals) {
  std::vector<Outcome> outcomes;
  for (const Proposal& proposal : proposals) outcomes.push_back(Evaluate(proposal));
  return outcomes;
}

TEST_P(OptimizerContract, ProposesGenomesOfTheDimensionInsideTheBox) {
  auto optimizer = Create();
  EXPECT_EQ(optimizer->dimension(), GetParam().dimension);
  EXPECT_GE(optimizer->batch_size(), 1);
  for (int generation = 0; generation < 30; ++generation) {
    const auto proposals = MustAsk(*optimizer, optimizer->batch_size());
    for (const Proposal& proposal : proposals) {
      ASSERT_EQ(static_cast<int>(proposal.genome.size()), GetParam().dimension);
      for (const double x : proposal.genome) ASSERT_TRUE(x >= 0 && x <= 1) << x;
    }
    // A slope, so that the search runs into a corner of the box.
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : proposals) outcomes.push_back({proposal.id, {proposal.genome[0]}, false});
    ASSERT_TRUE(optimizer->Tell(outcomes).ok());
    for (const double x : optimizer->Mean()) ASSERT_TRUE(x >= 0 && x <= 1) << x;
  }
}

TEST_P(OptimizerContract, IdsCountFromZeroWithoutGaps) {
  auto optimizer = Create();
  ProposalId expected = 0;
  for (const int count : {1, 5, 2}) {
    for (const Proposal& proposal : MustAsk(*optimizer, count)) EXPECT_EQ(proposal.id, expected++);
  }
  EXPECT_EQ(expected, 8);
}

TEST_P(OptimizerContract, AskingInPartsEqualsAskingAtOnce) {
  auto whole = Create(), parts = Create();
  const auto expected = MustAsk(*whole, 7);
  auto got = MustAsk(*parts, 3);
  for (Proposal& proposal : MustAsk(*parts, 4)) got.push_back(std::move(proposal));
  EXPECT_EQ(got, expected);
}

TEST_P(OptimizerContract, SeedsGiveDifferentSearches) {
  auto a = Create(1), b = Create(2), c = Create(1);
  const auto from_a = MustAsk(*a, 1), from_b = MustAsk(*b, 1), from_c = MustAsk(*c, 1);
  EXPECT_NE(from_a[0].genome, from_b[0].genome);
  EXPECT_EQ(from_a[0].genome, from_c[0].genome);
}

TEST_P(OptimizerContract, ResumingAnywhereEqualsNeverHavingStopped) {
  // Each step asks for one more proposal than it tells, so that proposals are outstanding at every
  // split.
  auto uninterrupted = Create();
  std::vector<Proposal> pending = MustAsk(*uninterrupted, 5);
  for (int step = 0; step < 60; ++step) {
    const std::string state = uninterrupted->SaveState();
    auto resumed = SaveAndRestore(*uninterrupted);
    ASSERT_NE(resumed, nullptr);
    ASSERT_EQ(resumed->SaveState(), state) << "step " << step;
    ASSERT_EQ(resumed->Mean(), uninterrupted->Mean());
    ASSERT_EQ(resumed->generation(), uninterrupted->generation());
    ASSERT_EQ(resumed->Summary(), uninterrupted->Summary());

    const Outcome outcome = Evaluate(pending[step]);
    ASSERT_TRUE(uninterrupted->Tell({outcome}).ok());
    ASSERT_TRUE(resumed->Tell({outcome}).ok());
    const auto asked = MustAsk(*uninterrupted, 1);
    ASSERT_EQ(MustAsk(*resumed, 1), asked) << "step " << step;
    ASSERT_EQ(resumed->SaveState(), uninterrupted->SaveState()) << "step " << step;
    pending.push_back(asked[0]);
    if (step % 2 == 1) uninterrupted = std::move(resumed);  // errors of a restart would add up
  }
}

TEST_P(OptimizerContract, ReplayingAskAndTellGivesTheSameState) {
  auto first = Create(), replay = Create();
  for (int step = 0; step < 12; ++step) {
    const auto proposals = MustAsk(*first, 4);
    ASSERT_TRUE(first->Tell(EvaluateAll(proposals)).ok());
    ASSERT_EQ(MustAsk(*replay, 4), proposals);
    ASSERT_TRUE(replay->Tell(EvaluateAll(proposals)).ok());
  }
  EXPECT_EQ(replay->SaveState(), first->SaveState());
}

TEST_P(OptimizerContract, OrderInsideATellDoesNotMatter) {
  auto forward = Create(), backward = Create();
  for (int step = 0; step < 6; ++step) {
    const auto proposals = MustAsk(*forward, 2 * forward->batch_size() + 1);
    ASSERT_EQ(MustAsk(*backward, 2 * backward->batch_size() + 1), proposals);
    auto outcomes = EvaluateAll(proposals);
    ASSERT_TRUE(forward->Tell(outcomes).ok());
    std::reverse(outcomes.begin(), outcomes.end());
    ASSERT_TRUE(backward->Tell(outcomes).ok());
    ASSERT_EQ(forward->SaveState(), backward->SaveState()) << "step " << step;
  }
}

TEST_P(OptimizerContract, OrderOfTellsInsideAGenerationDoesNotMatterToALockStepCaller) {
  auto together = Create(), one_by_one = Create();
  for (int generation = 0; generation < 6; ++generation) {
    const auto proposals = MustAsk(*together, together->batch_size());
    ASSERT_EQ(MustAsk(*one_by_one, one_by_one->batch_size()), proposals);
    auto outcomes = EvaluateAll(proposals);
    ASSERT_TRUE(together->Tell(outcomes).ok());
    std::reverse(outcomes.begin(), outcomes.end());
    for (const Outcome& outcome : outcomes) ASSERT_TRUE(one_by_one->Tell({outcome}).ok());
    ASSERT_EQ(together->Mean(), one_by_one->Mean());
    ASSERT_EQ(together->generation(), generation + 1);
    ASSERT_EQ(one_by_one->generation(), generation + 1);
  }
}

TEST_P(OptimizerContract, RefusesToldUnknownAndMalformedOutcomesAndStaysAsItWas) {
  auto optimizer = Create();
  MustAsk(*optimizer, 3);
  ASSERT_TRUE(optimizer->Tell({{Outcome{0, {0.5}, false}}}).ok());
  const std::string before = optimizer->SaveState();

  struct Case {
    std::vector<Outcome> outcomes;
    absl::StatusCode code;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{{1, {0.5}}, {0, {0.5}}}, absl::StatusCode::kAlreadyExists, "the outcome of proposal 0 was told before"},
      {{{1, {0.5}}, {1, {0.5}}}, absl::StatusCode::kAlreadyExists, "two outcomes of proposal 1 in one batch"},
      {{{1, {0.5}}, {3, {0.5}}}, absl::StatusCode::kNotFound, "proposal 3 was never asked; the next is 3"},
      {{{-1, {0.5}}}, absl::StatusCode::kNotFound, "proposal -1 was never asked"},
      {{{1, {}}}, absl::StatusCode::kInvalidArgument, "outcome of proposal 1: 0 fitness numbers"},
      {{{1, {1, 2}}}, absl::StatusCode::kInvalidArgument, "proposal 1: 2 fitness numbers where others have 1"},
  };
  for (const Case& wrong : cases) {
    const absl::Status status = optimizer->Tell(wrong.outcomes);
    EXPECT_EQ(status.code(), wrong.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(wrong.message));
    EXPECT_EQ(optimizer->SaveState(), before);
  }
  EXPECT_TRUE(optimizer->Tell({{Outcome{1, {0.5}}, Outcome{2, {}, true}}}).ok());
}

TEST_P(OptimizerContract, RefusesToAskForNothingOrForTooMany) {
  auto optimizer = Create();
  EXPECT_EQ(optimizer->Ask(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(optimizer->Ask(-2).status().message()), HasSubstr("asked for -2 proposals"));
  const absl::Status status = optimizer->Ask(Optimizer::kOutstandingMax + 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 100000"));
  EXPECT_EQ(MustAsk(*optimizer, 1)[0].id, 0);
}

TEST_P(OptimizerContract, SurvivesGenerationsInWhichAllFail) {
  auto optimizer = Create();
  for (int generation = 0; generation < 5; ++generation) {
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : MustAsk(*optimizer, optimizer->batch_size())) {
      outcomes.push_back({proposal.id, {}, true});
    }
    ASSERT_TRUE(optimizer->Tell(outcomes).ok());
  }
  EXPECT_THAT(optimizer->Summary(), HasSubstr("failed"));
  EXPECT_EQ(MustAsk(*optimizer, 2).size(), 2u);
  EXPECT_NE(SaveAndRestore(*optimizer), nullptr);
}

TEST_P(OptimizerContract, SurvivesFlatFitness) {
  auto optimizer = Create();
  for (int generation = 0; generation < 200; ++generation) {
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : MustAsk(*optimizer, optimizer->batch_size())) {
      outcomes.push_back({proposal.id, {0.25}, false});
    }
    ASSERT_TRUE(optimizer->Tell(outcomes).ok());
  }
  EXPECT_EQ(optimizer->generation(), 200);
  EXPECT_NE(SaveAndRestore(*optimizer), nullptr);
}

TEST_P(OptimizerContract, TwoGenerationsMayBeInFlight) {
  auto optimizer = Create();
  const int batch = optimizer->batch_size();
  auto older = MustAsk(*optimizer, batch);
  for (int round = 0; round < 8; ++round) {
    const auto newer = MustAsk(*optimizer, batch);
    // The younger half arrives before the older one.
    ASSERT_TRUE(optimizer->Tell(EvaluateAll({newer.begin(), newer.begin() + batch / 2})).ok());
    ASSERT_TRUE(optimizer->Tell(EvaluateAll(older)).ok());
    older.assign(newer.begin() + batch / 2, newer.end());
  }
  EXPECT_GE(optimizer->generation(), 4);
}

TEST_P(OptimizerContract, AdoptsTheGenomesOfTheLog) {
  auto optimizer = Create();
  MustAsk(*optimizer, 2);
  const int n = GetParam().dimension;
  const std::string before = optimizer->SaveState();
  const Proposal good{1, std::vector<double>(n, 0.125)};
  const absl::Status absent = optimizer->Adopt({{good, {2, std::vector<double>(n, 0.5)}}});
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(absent.message()), HasSubstr("proposal 2 is not outstanding"));
  const absl::Status shorter = optimizer->Adopt({{good, {0, std::vector<double>(n + 1, 0.5)}}});
  EXPECT_EQ(shorter.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shorter.message()), HasSubstr("proposal 0: genome has"));
  const absl::Status outside = optimizer->Adopt({{good, {0, std::vector<double>(n, 1.5)}}});
  EXPECT_EQ(outside.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(outside.message()), HasSubstr("gene 1.5 is not in [0, 1]"));
  EXPECT_EQ(optimizer->SaveState(), before);

  auto untouched = Create();
  ASSERT_TRUE(untouched->Adopt(MustAsk(*untouched, 2)).ok());
  EXPECT_EQ(untouched->SaveState(), before);

  ASSERT_TRUE(optimizer->Adopt({good}).ok());
  EXPECT_NE(optimizer->SaveState(), before);
  EXPECT_TRUE(optimizer->Tell(EvaluateAll({good})).ok());
}

TEST_P(OptimizerContract, ADamagedStateIsDataLoss) {
  auto optimizer = Create();
  const auto proposals = MustAsk(*optimizer, optimizer->batch_size() + 3);
  auto outcomes = EvaluateAll(proposals);
  outcomes.pop_back();
  ASSERT_TRUE(optimizer->Tell(outcomes).ok());
  const std::string state = optimizer->SaveState();
  // Long states in larger strides: the formats are alike from line to line.
  const size_t stride = 1 + state.size() / 6000;
  for (size_t cut = 0; cut < state.size(); cut += 7 * stride) {
    const absl::Status status = RestoreOptimizer(absl::string_view(state).substr(0, cut)).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << "cut at " << cut << ": " << status;
  }
  // Any other byte either is refused or gives a state that works.
  int refused = 0;
  for (size_t i = 0; i < state.size(); i += stride) {
    std::string damaged = state;
    damaged[i] = damaged[i] == 'f' ? '0' : 'f';
    auto restored = RestoreOptimizer(damaged);
    if (!restored.ok()) {
      ASSERT_EQ(restored.status().code(), absl::StatusCode::kDataLoss) << restored.status();
      ++refused;
    } else {
      ASSERT_EQ(MustAsk(**restored, 1).size(), 1u) << "byte " << i;
    }
  }
  EXPECT_GT(refused, 50);
}

}  // namespace merganser
