// How a search goes on: stages, the rolling mode, what the optimizer is told, samples and finalists.
#include <algorithm>
#include <set>

#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/history.h"
#include "coordinator/job/ranking.h"
#include "coordinator/job/stage_population.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Candidate> OfKind(const std::vector<Candidate>& candidates, CandidateKind kind) {
  std::vector<Candidate> some;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(some), [&](auto& c) { return c.kind == kind; });
  return some;
}

TEST(StagesTest, TheWinnerOfTheFirstStageIsInThePoolOfTheSecond) {
  World world;
  world.AddWorker("w", 3);
  const JobSummary job = world.Run(world.Submit(StagedSpec()).id);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 14 + 8);
  EXPECT_EQ(job.search_total, 14 + 8);
  const std::vector<Candidate> candidates = world.Candidates(job.id);
  const Candidate* best = nullptr;  // of the first stage
  for (const Candidate& c : OfKind(candidates, CandidateKind::kSearch)) {
    if (c.stage == 0 && (best == nullptr || c.fitness[0] > best->fitness[0])) best = &candidates[c.number];
    if (c.stage == 0) continue;
    EXPECT_EQ(c.genome.size(), 6u);  // two depths of a source and a keep gene, embedding, head
    EXPECT_EQ(c.proposal, c.number - (kFirstSearch + 14)) << "each stage has an optimizer of its own";
    for (const Stack& stack : c.recipe.stacks) {
      if (stack.name == "merged") {
        EXPECT_EQ(stack, best->recipe.stacks[0]);
      }
    }
  }
  const auto held_out = OfKind(candidates, CandidateKind::kHeldOut);
  ASSERT_EQ(held_out.size(), 6u);
  EXPECT_EQ(held_out[4].label, "stage-1");
  EXPECT_EQ(held_out[4].recipe, best->recipe);
  EXPECT_EQ(held_out[5].label, "winner");
}

TEST(FinalistsTest, TheBestOnSamplesThatTheSearchHasNotSeenWins) {
  World world;
  world.AddWorker("w", 3);
  const JobSummary job = world.Run(world.Submit(StagedSpec()).id);
  const std::vector<Candidate> candidates = world.Candidates(job.id);
  for (const Candidate& c : OfKind(candidates, CandidateKind::kSearch)) EXPECT_THAT(c.benchmarks, ElementsAre("sphere"));
  const auto finalists = OfKind(candidates, CandidateKind::kFinalist);
  ASSERT_GE(finalists.size(), 1u);
  EXPECT_LE(finalists.size(), 4u);  // three candidates and the mean, equal recipes once
  double best = -1e9;
  for (const Candidate& c : finalists) {
    EXPECT_THAT(c.benchmarks, ElementsAre("validation"));
    best = std::max(best, c.fitness[0]);
  }
  EXPECT_EQ(candidates[*job.best_candidate].kind, CandidateKind::kFinalist);
  EXPECT_EQ(candidates[*job.best_candidate].fitness[0], best);
}

JobSpec RollingSpec() {
  JobSpec spec = SphereSpec("rolling");
  spec.mode = SearchMode::kRolling;
  spec.budget.candidates = 60;
  return spec;
}

TEST(RollingTest, OneGenerationIsAlwaysInFlightAndTheBudgetIsExact) {
  World world;
  world.AddWorker("quick", 2);
  world.AddWorker("slow", 2);
  const std::string id = world.Submit(RollingSpec()).id;
  std::set<size_t> in_flight;
  for (int second = 0; second < 3600 && !world.loop->StateOf(id)->over(); ++second) {
    world.loop->Tick();
    const JobState& state = *world.loop->StateOf(id);
    if (state.phase() == JobPhase::kSearch && state.search_proposed() > 0 && state.search_proposed() < 60) {
      in_flight.insert(state.queued().size() + state.running().size());
    }
    (void)world.Work(*world.workers["quick"]);
    if (second % 7 == 0) (void)world.Work(*world.workers["slow"]);
    for (auto& [name, worker] : world.workers) world.loop->WorkerHeartbeat(name, worker->running(), false);
    world.clock.Advance(absl::Seconds(1));
  }
  const JobSummary job = world.Summary(id);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 60);
  EXPECT_THAT(in_flight, ElementsAre(6u)) << "no worker waits for a straggler";
  const auto search = OfKind(world.Candidates(id), CandidateKind::kSearch);
  for (size_t i = 1; i < search.size(); ++i) EXPECT_GE(search[i].generation, search[i - 1].generation);
  EXPECT_EQ(search.back().generation, 9);

  const std::vector<StoredJob> stored = *world.memory.ListJobs();
  EXPECT_THAT(CheckHistory(&world.memory, ProtoJobCodec(), stored[0])->findings, IsEmpty());
  // A coordinator that takes over makes the same calls and comes to the same state.
  const std::vector<Candidate> before = world.Candidates(id);
  world.NewLoop();
  EXPECT_EQ(world.Candidates(id).size(), before.size());
}

TEST(RollingTest, AfterARestartTheSearchGoesOnWithTheSameProposals) {
  const auto genomes = [](bool restart) {
    World world;
    world.AddWorker("w");
    const std::string id = world.Submit(RollingSpec()).id;
    for (int second = 0; second < 3600 && !world.loop->StateOf(id)->over(); ++second) {
      world.loop->Tick();
      (void)world.Work(*world.workers["w"]);
      world.loop->WorkerHeartbeat("w", world.workers["w"]->running(), false);
      if (restart && second == 25) {
        const auto held = world.workers["w"]->held;
        world.NewLoop();
        EXPECT_TRUE(world.Connect(world.workers["w"]).ok());
      }
      world.clock.Advance(absl::Seconds(1));
    }
    std::vector<std::vector<double>> all;
    for (const Candidate& c : OfKind(world.Candidates(id), CandidateKind::kSearch)) all.push_back(c.genome);
    return all;
  };
  EXPECT_EQ(genomes(true), genomes(false));
}

// The default preset at 8 genes: 14 of its own, 4/3 of 4 + floor(3 ln 8), rounded up.
JobSpec DefaultPresetSpec(int64_t candidates) {
  JobSpec spec = SphereSpec("default-preset");
  spec.optimizer = {};
  spec.budget.candidates = candidates;
  return spec;
}

struct Search {
  JobSummary job;
  StageState stage;
  std::vector<size_t> generations;  // how many candidates each has
  std::vector<std::vector<double>> genomes;
};

// On `slots` at the start; after half a minute of the search another coordinator leads, and one slot is left.
Search RunOn(int slots, const JobSpec& spec, bool restart = false) {
  World world;
  world.AddWorker("w", slots);
  const std::string id = world.Submit(spec).id;
  for (int second = 0; second < 3600 && !world.loop->StateOf(id)->over(); ++second) {
    world.loop->Tick();
    (void)world.Work(*world.workers["w"]);
    world.loop->WorkerHeartbeat("w", world.workers["w"]->running(), false);
    if (restart && second == 35) {
      world.NewLoop();
      EXPECT_TRUE(world.Connect(world.workers["w"], 1).ok());
    }
    world.clock.Advance(absl::Seconds(1));
  }
  Search search{world.Summary(id), world.loop->StateOf(id)->stages().at(0)};
  for (const auto& generation : world.loop->StateOf(id)->generations()) search.generations.push_back(generation.size());
  for (const Candidate& c : OfKind(world.Candidates(id), CandidateKind::kSearch)) search.genomes.push_back(c.genome);
  const std::vector<StoredJob> stored = *world.memory.ListJobs();
  EXPECT_THAT(CheckHistory(&world.memory, ProtoJobCodec(), stored[0])->findings, IsEmpty());
  return search;
}

TEST(DefaultPresetTest, AGenerationHasACandidateForEverySlotThatThereIsWhenTheSearchBegins) {
  const Search search = RunOn(20, DefaultPresetSpec(400));
  EXPECT_EQ(search.stage.population, 20);
  EXPECT_EQ(search.stage.slots, 20);
  EXPECT_EQ(search.job.population, 20);
  EXPECT_EQ(search.job.slots, 20);
  EXPECT_EQ(search.generations, std::vector<size_t>(20, 20));
  // It is the search of a job that asks for this population.
  JobSpec explicitly = DefaultPresetSpec(400);
  explicitly.optimizer.numbers["population"] = 20;
  EXPECT_EQ(search.genomes, RunOn(1, explicitly).genomes);
}

TEST(DefaultPresetTest, FewSlotsLeaveThePresetAsItIs) {
  const Search search = RunOn(3, DefaultPresetSpec(42));
  EXPECT_EQ(search.stage.population, 14);
  EXPECT_EQ(search.stage.slots, 3);
  EXPECT_EQ(search.generations, std::vector<size_t>(3, 14));
}

TEST(DefaultPresetTest, TheBudgetBoundsThePopulationByTwentyGenerations) {
  EXPECT_EQ(RunOn(1000, DefaultPresetSpec(320)).stage.population, 16);
  EXPECT_EQ(RunOn(1000, DefaultPresetSpec(30)).stage.population, 14) << "never below the preset's own";
  Budget budget{.candidates = 5000, .samples = 25 * 400};
  EXPECT_EQ(PopulationForSlots(budget, 25, 14, 1000), 20) << "400 candidates of 25 samples";
  budget = {.wall_time = absl::Hours(1)};
  EXPECT_EQ(PopulationForSlots(budget, 25, 14, 1000), 1000);
}

TEST(DefaultPresetTest, WhatTheLogSaysHoldsOnAnyFleet) {
  const Search search = RunOn(20, DefaultPresetSpec(60), /*restart=*/true);
  ASSERT_EQ(search.job.phase, JobPhase::kSucceeded) << search.job.message;
  EXPECT_EQ(search.stage.population, 14) << "60 candidates are too few for generations of 20";
  const Search larger = RunOn(20, DefaultPresetSpec(400), /*restart=*/true);
  ASSERT_EQ(larger.job.phase, JobPhase::kSucceeded) << larger.job.message;
  EXPECT_EQ(larger.generations, std::vector<size_t>(20, 20)) << "one slot is left since the second generation";
  EXPECT_EQ(larger.genomes, RunOn(20, DefaultPresetSpec(400)).genomes);
}

TEST(DefaultPresetTest, APopulationThatTheJobGivesStays) {
  JobSpec spec = DefaultPresetSpec(24);
  spec.optimizer.numbers["population"] = 6;
  EXPECT_EQ(RunOn(20, spec).generations, std::vector<size_t>(4, 6));
  spec.optimizer = {.words = {{"preset", "hansen"}}};
  EXPECT_EQ(RunOn(20, spec).stage.population, 10);
}

TEST(DefaultPresetTest, ARollingSearchHasNeverMoreInFlightThanAGeneration) {
  World world;
  world.AddWorker("w", 20);
  JobSpec spec = DefaultPresetSpec(400);
  spec.mode = SearchMode::kRolling;
  const std::string id = world.Submit(spec).id;
  size_t most = 0;
  for (int second = 0; second < 3600 && !world.loop->StateOf(id)->over(); ++second) {
    world.loop->Tick();
    const JobState& state = *world.loop->StateOf(id);
    if (state.phase() == JobPhase::kSearch) most = std::max(most, state.queued().size() + state.running().size());
    (void)world.Work(*world.workers["w"]);
    world.loop->WorkerHeartbeat("w", world.workers["w"]->running(), false);
    if (second == 40) {
      world.AddWorker("more", 50);
    }
    world.clock.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(world.Summary(id).phase, JobPhase::kSucceeded);
  EXPECT_EQ(world.loop->StateOf(id)->stages()[0].population, 20);
  EXPECT_EQ(most, 20u) << "workers that come later do not raise it";
}

TEST(RankingTest, WeightsConstraintsAndCosts) {
  JobSpec spec = SphereSpec();
  spec.objectives = {{"sphere", "acc", 1}, {"cost", "hops", 0.01}};
  spec.constraints = {{"sphere", "acc", std::nullopt, std::nullopt, "ja"}, {"cost", "hops", std::nullopt, 8, ""}};
  const auto candidate = [](CandidateKind kind, double acc, double hops) {
    Candidate c;
    c.kind = kind;
    c.state = CandidateState::kSucceeded;
    c.metrics = {{"sphere", {{"acc", acc}}}, {"cost", {{"hops", hops}}}};
    c.fitness = {acc, -hops};
    return c;
  };
  std::vector<Candidate> all = {candidate(CandidateKind::kSource, 0.4, 6)};
  all[0].label = "ja";
  const Candidate good = candidate(CandidateKind::kSearch, 0.5, 6), better = candidate(CandidateKind::kSearch, 0.53, 8);
  const Candidate weak = candidate(CandidateKind::kSearch, 0.3, 2), longer = candidate(CandidateKind::kSearch, 0.9, 12);
  EXPECT_DOUBLE_EQ(WeightedFitness(spec, good.fitness), 0.44);
  EXPECT_EQ(Violation(spec, all, good), 0);
  EXPECT_DOUBLE_EQ(Violation(spec, all, weak), 0.1);
  EXPECT_DOUBLE_EQ(Violation(spec, all, longer), 4);
  EXPECT_TRUE(RanksBefore(spec, all, better, good));
  EXPECT_TRUE(RanksBefore(spec, all, good, weak));
  EXPECT_TRUE(RanksBefore(spec, all, weak, longer)) << "it misses less";
  EXPECT_THAT(ToldFitness(spec, all, good, false), ElementsAre(0.44));
  EXPECT_THAT(ToldFitness(spec, all, good, true), ElementsAre(0.5, -0.06));
  EXPECT_LT(ToldFitness(spec, all, longer, false)[0], ToldFitness(spec, all, weak, false)[0]);
  EXPECT_LT(ToldFitness(spec, all, weak, false)[0], -1e9);
}

TEST(RankingTest, TheFrontHasWhatNothingDominates) {
  JobSpec spec = SphereSpec();
  spec.objectives = {{"sphere", "acc"}, {"cost", "hops"}};
  spec.constraints = {{"sphere", "acc", std::nullopt, 0.9, ""}};
  std::vector<Candidate> all;
  for (const auto& [acc, hops] :
       std::vector<std::pair<double, double>>{{0.5, 6}, {0.4, 6}, {0.6, 8}, {0.5, 6}, {0.3, 2}, {0.95, 1}}) {
    Candidate c;
    c.number = static_cast<int64_t>(all.size());
    c.state = CandidateState::kSucceeded;
    c.fitness = {acc, -hops};
    c.metrics = {{"sphere", {{"acc", acc}}}};
    all.push_back(c);
  }
  EXPECT_THAT(ParetoFront(spec, all), ElementsAre(0, 2, 4));
}

TEST(RankingTest, HopsAreAnObjectiveOfTheJob) {
  World world;
  world.AddWorker("w", 2);
  JobSpec spec = SphereSpec();
  spec.parameter = {};
  spec.data_flow = DataFlowSpace{.sources = {"base", "ja", "math"}};
  spec.objectives.push_back({"cost", "hops", 10});
  const JobSummary job = world.Run(world.Submit(spec).id);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  const Candidate best = world.Candidates(job.id)[*job.best_candidate];
  EXPECT_EQ(best.metrics.at("cost").at("hops"), -best.fitness[1]);
  for (const Candidate& c : OfKind(world.Candidates(job.id), CandidateKind::kSearch)) {
    if (c.state == CandidateState::kSucceeded) {
      EXPECT_GE(c.metrics.at("cost").at("hops"), best.metrics.at("cost").at("hops"));
    }
  }
}

TEST(SamplesTest, AGenerationSharesItsDrawAndTheBudgetCountsSamples) {
  World world;
  world.AddWorker("w", 2);
  JobSpec spec = StagedSpec();
  spec.then.clear();
  spec.samples.per_generation = 50;
  spec.budget = {.generations = 2};
  const JobSummary job = world.Run(world.Submit(spec).id);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  for (const Candidate& c : OfKind(world.Candidates(job.id), CandidateKind::kSearch)) {
    EXPECT_THAT(c.benchmarks, ElementsAre("sphere@" + std::to_string(c.generation)));
  }
  for (const Candidate& c : OfKind(world.Candidates(job.id), CandidateKind::kSource)) {
    EXPECT_THAT(c.benchmarks, ElementsAre("sphere"));
  }
}

TEST(TwinsTest, ARecipeIsEvaluatedOnce) {
  World world;
  world.AddWorker("w");
  JobSpec spec = SphereSpec();
  spec.parameter = {};
  spec.data_flow = DataFlowSpace{.sources = {"base", "ja", "math"}};  // few paths of two layers
  spec.optimizer.numbers["population"] = 20;
  spec.budget.candidates = 100;
  const JobSummary job = world.Run(world.Submit(spec).id);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  const auto search = OfKind(world.Candidates(job.id), CandidateKind::kSearch);
  ASSERT_EQ(search.size(), 100u);
  int twins = 0;
  for (const Candidate& c : search) {
    if (c.state != CandidateState::kSucceeded || !c.attempts.empty()) continue;
    ++twins;
    const auto known = std::find_if(search.begin(), search.end(), [&](const Candidate& other) {
      return other.recipe == c.recipe && !other.attempts.empty() && other.state == CandidateState::kSucceeded;
    });
    ASSERT_NE(known, search.end());
    EXPECT_EQ(c.fitness, known->fitness);
    EXPECT_EQ(c.metrics, known->metrics);
    EXPECT_THAT(c.message, HasSubstr("the same recipe as candidate"));
  }
  EXPECT_GT(twins, 50);
  const std::vector<StoredJob> stored = *world.memory.ListJobs();
  EXPECT_THAT(CheckHistory(&world.memory, ProtoJobCodec(), stored[0])->findings, IsEmpty());
}

TEST(StagesTest, AnOptimizersMistakeNamesItsStage) {
  World world;
  JobSpec spec = StagedSpec();
  spec.then[0].optimizer.numbers["population"] = 1;
  EXPECT_THAT(std::string(world.loop->CreateJob("", spec).status().message()),
              HasSubstr("then[0].optimizer.cma_es.population: 1 is not in"));
}

}  // namespace
}  // namespace merganser
