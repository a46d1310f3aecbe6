// Which samples candidates are scored on: races, what is known of equal recipes, choices by information.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sample_draw.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/history.h"
#include "coordinator/job/known_samples.h"
#include "coordinator/job/race.h"
#include "coordinator/job/ranking.h"
#include "coordinator/replay/item_response.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A world that remembers which samples of which recipe its workers evaluated.
class SamplesTest : public ::testing::Test {
 protected:
  SamplesTest() {
    world_.fail = [this](const Assignment& a) -> std::optional<World::Failure> {
      if (a.kind == CandidateKind::kPrepare || a.kind == CandidateKind::kHeldOut) return std::nullopt;
      for (const std::string& requested : a.benchmarks) {
        const BenchmarkRequest request = ParseBenchmarkRequest(requested);
        for (const int64_t i : RequestedSamples(request, a.spec->seed, a.spec->samples.per_generation, kWorldSamples)) {
          evaluated_[a.id.candidate].push_back(i);
          SamplesOfRecipe(a.recipe).push_back(i);
        }
      }
      return std::nullopt;
    };
  }
  JobSummary Run(const JobSpec& spec) { return world_.Run(world_.Submit(spec).id); }
  std::vector<Candidate> Of(CandidateKind kind, const std::string& job) {
    std::vector<Candidate> some;
    for (const Candidate& c : world_.Candidates(job)) {
      if (c.kind == kind) some.push_back(c);
    }
    return some;
  }
  std::vector<int64_t>& SamplesOfRecipe(const Recipe& recipe) {
    for (auto& [known, samples] : by_recipe_) {
      if (known == recipe) return samples;
    }
    return by_recipe_.emplace_back(recipe, std::vector<int64_t>{}).second;
  }
  void ExpectNothingTwice() {
    for (auto& [recipe, samples] : by_recipe_) {
      std::sort(samples.begin(), samples.end());
      EXPECT_TRUE(std::adjacent_find(samples.begin(), samples.end()) == samples.end()) << "a sample was evaluated twice";
    }
  }
  void ExpectSoundHistory() {
    const std::vector<StoredJob> stored = *world_.memory.ListJobs();
    EXPECT_THAT(CheckHistory(&world_.memory, ProtoJobCodec(), stored[0])->findings, IsEmpty());
  }
  // Its state is that of a log that was read from its start.
  void ExpectSameAfterReplay(const std::string& job) {
    const JobState before = *world_.loop->StateOf(job);
    world_.NewLoop();
    EXPECT_TRUE(*world_.loop->StateOf(job) == before);
  }

  World world_;
  std::map<int64_t, std::vector<int64_t>> evaluated_;  // by candidate
  std::vector<std::pair<Recipe, std::vector<int64_t>>> by_recipe_;
};

JobSpec RaceSpec(int64_t per_generation = 60) {
  JobSpec spec = SampledSpec(per_generation);
  spec.samples.racing = Racing{.block = 12};
  return spec;
}

double MeanOf(const Recipe& recipe, const std::vector<int64_t>& samples) {
  double sum = 0;
  for (const int64_t i : samples) sum += HonestOutcome(recipe, i);
  return sum / static_cast<double>(samples.size());
}

using RaceTest = SamplesTest;

TEST_F(RaceTest, LosersAreStoppedEarlyAndNobodyIsScoredTwice) {
  world_.AddWorker("w", 2);
  const JobSummary job = Run(RaceSpec());
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  const std::vector<Candidate> all = world_.Candidates(job.id);
  int stopped = 0;
  int64_t evaluated = 0;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) {
    EXPECT_THAT(c.benchmarks, ElementsAre("sphere@" + std::to_string(c.generation)));
    const std::vector<int64_t> draw = DrawSamples(7, "sphere", c.generation, 60, kWorldSamples);
    std::vector<int64_t> seen = evaluated_[c.number];
    evaluated += static_cast<int64_t>(seen.size());
    std::sort(seen.begin(), seen.end());
    EXPECT_TRUE(std::includes(draw.begin(), draw.end(), seen.begin(), seen.end())) << "of its generation's samples";
    EXPECT_DOUBLE_EQ(c.fitness[0], MeanOf(c.recipe, seen));
    EXPECT_EQ(c.metrics.at("sphere").at("acc"), c.fitness[0]);
    if (!c.stop.has_value()) {
      EXPECT_EQ(seen, draw);
      continue;
    }
    ++stopped;
    EXPECT_EQ(seen.size() % 12, 0u);
    EXPECT_LT(seen.size(), 60u);
    // The comparison, by hand.
    const Candidate& reference = all[static_cast<size_t>(c.stop->reference)];
    EXPECT_EQ(reference.generation, c.generation);
    int worse = 0, better = 0;
    for (const int64_t i : seen) {
      worse += HonestOutcome(c.recipe, i) < HonestOutcome(reference.recipe, i);
      better += HonestOutcome(c.recipe, i) > HonestOutcome(reference.recipe, i);
    }
    EXPECT_EQ(c.stop->worse, worse);
    EXPECT_EQ(c.stop->better, better);
    EXPECT_EQ(c.stop->samples, static_cast<int64_t>(seen.size()));
    EXPECT_EQ(c.stop->of, 60);
    EXPECT_GT((worse - better) / std::sqrt(worse + better), 1.6448);
    EXPECT_NEAR(c.stop->difference, static_cast<double>(better - worse) / static_cast<double>(seen.size()), 1e-12);
    EXPECT_THAT(c.message, StartsWith("stopped after " + std::to_string(seen.size()) + " of 60 samples, behind candidate "));
    EXPECT_FALSE(c.record_key.empty()) << "people find its completions";
    EXPECT_NE(*job.best_candidate, c.number);
  }
  EXPECT_GE(stopped, 5);
  EXPECT_EQ(world_.loop->StateOf(job.id)->stages()[0].samples, evaluated);
  EXPECT_LT(evaluated, 60 * 60);
  ExpectNothingTwice();
  ExpectSoundHistory();
  ExpectSameAfterReplay(job.id);
}

TEST_F(RaceTest, AtLeastHalfOfAGenerationGoesToTheEnd) {
  world_.AddWorker("w", 2);
  const JobSummary job = Run(RaceSpec());
  std::map<int64_t, int> whole;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) whole[c.generation] += !c.stop.has_value();
  ASSERT_EQ(whole.size(), 6u);
  for (const auto& [generation, count] : whole) EXPECT_GE(count, 5) << generation;
}

TEST_F(RaceTest, OverAllSamplesItNeedsNoFinalists) {
  world_.AddWorker("w", 2);
  const JobSummary job = Run(RaceSpec(0));
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  std::set<std::vector<int64_t>> first_blocks;
  int stopped = 0;
  double best = 0;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) {
    std::vector<int64_t> first(evaluated_[c.number].begin(), evaluated_[c.number].begin() + 12);
    first_blocks.insert(first);
    stopped += c.stop.has_value();
    if (!c.stop.has_value()) {
      EXPECT_EQ(evaluated_[c.number].size(), static_cast<size_t>(kWorldSamples));
      best = std::max(best, c.fitness[0]);
    }
  }
  EXPECT_GT(stopped, 10);
  EXPECT_EQ(first_blocks.size(), 6u) << "each generation races in an order of its own";
  EXPECT_EQ(job.best_fitness[0], best);
  ExpectNothingTwice();
}

// What a race decides depends on no worker.
TEST_F(RaceTest, TheSameOnAnyFleetAndAcrossRestarts) {
  const auto outcome = [](int workers, int restart, int fail) {
    World world;
    int assigned = 0;
    world.fail = [&](const Assignment& a) -> std::optional<World::Failure> {
      if (fail == 0 || a.kind != CandidateKind::kSearch || ++assigned % fail != 0) return std::nullopt;
      return World::Failure{FailureClass::kWorkerLost, "gone"};
    };
    JobSpec spec = RaceSpec();
    spec.max_attempts = 20;
    for (int i = 0; i < workers; ++i) world.AddWorker(absl::StrCat("w", i), 1 + i % 2);
    const std::string id = world.Submit(spec).id;
    for (int second = 1; second < 3600 && !world.loop->StateOf(id)->over(); ++second) {
      world.loop->Tick();
      for (auto& [name, worker] : world.workers) {
        (void)world.Work(*worker);
        world.loop->WorkerHeartbeat(name, worker->running(), false);
      }
      if (restart > 0 && second % restart == 0) {
        world.NewLoop();
        for (auto& [name, worker] : world.workers) EXPECT_TRUE(world.Connect(worker).ok());
      }
      world.clock.Advance(absl::Seconds(1));
    }
    EXPECT_EQ(world.Summary(id).phase, JobPhase::kSucceeded);
    std::vector<std::tuple<std::vector<double>, std::vector<double>, std::optional<RaceStop>, std::string>> all;
    for (const Candidate& c : world.Candidates(id)) all.emplace_back(c.genome, c.fitness, c.stop, c.message);
    return all;
  };
  const auto alone = outcome(1, 0, 0);
  EXPECT_TRUE(outcome(7, 0, 0) == alone);
  EXPECT_TRUE(outcome(3, 11, 0) == alone);
  EXPECT_TRUE(outcome(3, 0, 5) == alone);
  EXPECT_TRUE(outcome(2, 7, 6) == alone);
}

TEST_F(RaceTest, AResultOfAnEarlierBlockChangesNothing) {
  const std::shared_ptr<FakeWorker> worker = world_.AddWorker("w", 1);
  const std::string id = world_.Submit(RaceSpec()).id;
  std::optional<AttemptReport> block;  // the first of a search candidate
  for (int second = 0; second < 3600 && !world_.loop->StateOf(id)->over(); ++second) {
    world_.loop->Tick();
    if (!worker->held.empty()) {
      const Assignment assignment = worker->held.front();
      const AttemptReport report = *world_.Evaluate(*worker, assignment);
      EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kCommitted);
      worker->Drop(assignment.id);
      if (!block && assignment.kind == CandidateKind::kSearch) block = report;
      if (block) {
        // While it waits, when it is scored on the next block, and when it is over.
        const bool over = IsTerminal(world_.loop->StateOf(id)->Find(block->id.candidate)->state);
        EXPECT_EQ(*world_.loop->ReportAttempt(*block),
                  over && world_.loop->StateOf(id)->Find(block->id.candidate)->record_key != block->record_key
                      ? Disposition::kSuperseded
                      : Disposition::kDuplicate);
      }
    }
    world_.clock.Advance(absl::Seconds(1));
    world_.loop->WorkerHeartbeat("w", worker->running(), false);
  }
  EXPECT_EQ(world_.Summary(id).phase, JobPhase::kSucceeded);
  ASSERT_TRUE(block.has_value());
  ExpectNothingTwice();
  ExpectSoundHistory();
}

TEST_F(RaceTest, TheBudgetOfSamplesBuysMoreCandidates) {
  world_.AddWorker("w", 2);
  const auto candidates = [&](JobSpec spec) {
    World world;
    world.AddWorker("w", 2);
    spec.budget = {.samples = 1800};
    const JobSummary job = world.Run(world.Submit(spec).id);
    EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
    EXPECT_GE(world.loop->StateOf(job.id)->stages()[0].samples, 1800);
    return job.search_finished;
  };
  EXPECT_EQ(candidates(SampledSpec(60)), 30);
  EXPECT_GT(candidates(RaceSpec()), 30);
}

TEST_F(RaceTest, AMetricThatIsNoMeanOverSamplesIsToldBeforeTheSearch) {
  world_.AddWorker("w", 2);
  JobSpec spec = RaceSpec();
  spec.objectives[0].metric = "spread";
  world_.metric = "spread";
  world_.tamper = [](v1::ResultRecord* record) {
    if (!record->has_evaluation()) return;
    for (auto& result : *record->mutable_evaluation()->mutable_results()) (*result.mutable_metrics())["spread"] = 0.123;
  };
  const JobSummary job = Run(spec);
  EXPECT_EQ(job.phase, JobPhase::kFailed);
  EXPECT_THAT(job.message, HasSubstr("samples.racing: sphere.spread is no mean over samples"));
  EXPECT_EQ(job.search_finished, 0);
}

TEST_F(RaceTest, AnOptimizerOfSeveralNumbersDoesNotRace) {
  JobSpec spec = RaceSpec();
  spec.objectives.push_back({"cost", "hops"});
  spec.optimizer = {"nsga2", {}, {}};
  EXPECT_THAT(std::string(world_.loop->CreateJob("", spec).status().message()),
              HasSubstr("samples.racing: optimizer nsga2 learns from each objective"));
}

TEST_F(RaceTest, TheOptimizerIsToldThePairedEstimate) {
  const JobSpec spec = RaceSpec();
  std::vector<Candidate> all(3);
  for (int i = 0; i < 3; ++i) {
    all[static_cast<size_t>(i)].number = i;
    all[static_cast<size_t>(i)].state = CandidateState::kSucceeded;
  }
  all[0].fitness = {0.6};  // on all samples; it had 0.7 when number 1 was stopped
  all[1].fitness = {0.5};
  all[1].stop = RaceStop{.reference = 0, .difference = -0.2};
  all[2].fitness = {0.55};  // on samples that were easy
  all[2].stop = RaceStop{.reference = 1, .difference = -0.1};
  EXPECT_THAT(ToldFitness(spec, all, all[1], false), ElementsAre(::testing::DoubleEq(0.4)));
  EXPECT_THAT(ToldFitness(spec, all, all[2], false), ElementsAre(::testing::DoubleEq(0.3)));
  EXPECT_TRUE(RanksBefore(spec, all, all[0], all[2]));
  all[0].fitness = {0.1};
  EXPECT_TRUE(RanksBefore(spec, all, all[0], all[2])) << "one that was stopped is behind, whatever its own samples say";
  EXPECT_THAT(ParetoFront(spec, all), ElementsAre(0));
  all[0].state = CandidateState::kFailed;
  EXPECT_THAT(ToldFitness(spec, all, all[1], false), ElementsAre(0.5));
}

using KnownSamplesTest = SamplesTest;

// Few paths, which are proposed again and again, each time with other samples.
TEST_F(KnownSamplesTest, ASampleOfARecipeIsEvaluatedOnce) {
  world_.AddWorker("w", 2);
  JobSpec spec = SampledSpec(30);
  spec.parameter = {};
  spec.data_flow = DataFlowSpace{.sources = {"base", "ja", "math"}};
  spec.budget = {.candidates = 200};
  const JobSummary job = Run(spec);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  std::map<uint64_t, int> proposed;
  int64_t evaluated = 0, free = 0;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) {
    if (c.state != CandidateState::kSucceeded) continue;
    ++proposed[HashOfRecipe(c.recipe)];
    evaluated += static_cast<int64_t>(evaluated_[c.number].size());
    free += evaluated_[c.number].empty();
    EXPECT_DOUBLE_EQ(c.fitness[0], MeanOf(c.recipe, DrawSamples(7, "sphere", c.generation, 30, kWorldSamples)));
  }
  EXPECT_LT(proposed.size(), 60u);
  EXPECT_GT(free, 50);
  EXPECT_LT(evaluated, 200 * 30 / 2);
  ExpectNothingTwice();
  ExpectSoundHistory();
  ExpectSameAfterReplay(job.id);
}

TEST_F(KnownSamplesTest, FinalistsOnTheSameDataEvaluateTheRest) {
  world_.AddWorker("w", 2);
  const JobSummary job = Run(SampledSpec(30));
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  const std::vector<Candidate> finalists = Of(CandidateKind::kFinalist, job.id);
  ASSERT_EQ(finalists.size(), 3u);
  int mean = 0;
  for (const Candidate& c : finalists) {
    EXPECT_THAT(c.benchmarks, ElementsAre("sphere_all"));
    mean += c.label == "mean";
    EXPECT_EQ(evaluated_[c.number].size(), c.label == "mean" ? 120u : 90u) << c.label;
    std::vector<int64_t> all;
    for (int64_t i = 0; i < kWorldSamples; ++i) all.push_back(i);
    EXPECT_DOUBLE_EQ(c.fitness[0], MeanOf(c.recipe, all));
  }
  EXPECT_EQ(mean, 1) << "the mean of the search is measured beside its best candidates";
  ExpectNothingTwice();
}

TEST_F(KnownSamplesTest, HeldOutScoresAreNotKept) {
  world_.AddWorker("w", 2);
  JobSpec spec = SampledSpec(30);
  spec.held_out[0].data = spec.benchmarks[0].data;  // even then
  const JobSummary job = Run(spec);
  const std::vector<Candidate> held_out = Of(CandidateKind::kHeldOut, job.id);
  ASSERT_EQ(held_out.size(), 5u);
  for (const Candidate& c : held_out) EXPECT_FALSE(c.attempts.empty()) << "it was evaluated";
  EXPECT_EQ(KnownScores(*world_.loop->StateOf(job.id), held_out[0], "sphere_test"), nullptr);
}

TEST_F(KnownSamplesTest, TheOldestRecipesAreForgottenFirst) {
  std::vector<Candidate> candidates(3);
  for (size_t i = 0; i < 3; ++i) {
    candidates[i].number = static_cast<int64_t>(i);
    candidates[i].recipe.stacks = {{.name = absl::StrCat("stack", i)}};
  }
  KnownSamples known;
  SampleScores scores;
  scores.Add("acc", {0, 5}, {1, 0});
  const auto recipe_of = [&](int64_t number) { return candidates[static_cast<size_t>(number)].recipe; };
  for (const Candidate& c : candidates) known.Add(recipe_of, c, "b", scores);
  const int64_t all = known.bytes();
  known.Trim(all - 1);
  EXPECT_EQ(known.Find(recipe_of, candidates[0].recipe, "b"), nullptr);
  ASSERT_NE(known.Find(recipe_of, candidates[1].recipe, "b"), nullptr);
  EXPECT_EQ(known.bytes(), all / 3 * 2);
  known.Add(recipe_of, candidates[0], "b", scores);
  EXPECT_EQ(*known.Find(recipe_of, candidates[0].recipe, "b"), scores);
}

TEST_F(KnownSamplesTest, TokensAreOfWholeEvaluationsSoNothingIsShared) {
  JobSpec spec = SampledSpec(30);
  EXPECT_TRUE(KeepsScores(spec));
  spec.objectives.push_back({"cost", "tokens"});
  EXPECT_FALSE(KeepsScores(spec));
  EXPECT_FALSE(KeepsScores(SphereSpec()));
}

TEST_F(KnownSamplesTest, BenchmarksOfOneDefinitionShare) {
  JobSpec spec = SampledSpec(30);
  spec.benchmarks.push_back({.name = "few", .use = "sphere", .limit = 10});
  spec.benchmarks.push_back({.name = "longer", .use = "sphere", .max_new_tokens = 99});
  spec.benchmarks.push_back({.name = "other", .use = "sphere", .data = "other.jsonl"});
  for (const char* same : {"sphere", "sphere_all", "few"}) EXPECT_EQ(SharedName(spec, same), "sphere");
  EXPECT_EQ(SharedName(spec, "longer"), "longer");
  EXPECT_EQ(SharedName(spec, "other"), "other");
}

using InformationTest = SamplesTest;

TEST_F(InformationTest, SamplesAreChosenOnceEnoughIsKnown) {
  world_.AddWorker("w", 2);
  JobSpec spec = SampledSpec(30);
  spec.samples.choose = "information";
  spec.budget.candidates = 120;
  const JobSummary job = Run(spec);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  std::map<int64_t, std::set<std::string>> asked;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) {
    ASSERT_EQ(c.benchmarks.size(), 1u);
    asked[c.generation].insert(c.benchmarks[0]);
    const BenchmarkRequest request = ParseBenchmarkRequest(c.benchmarks[0]);
    EXPECT_EQ(request.samples.has_value(), c.generation >= 4) << "ten candidates a generation, forty needed";
    if (request.samples.has_value()) {
      EXPECT_EQ(request.samples->size(), 30u);
    }
  }
  for (const auto& [generation, benchmarks] : asked) EXPECT_EQ(benchmarks.size(), 1u) << "one draw a generation";
  ExpectNothingTwice();
  ExpectSoundHistory();
  ExpectSameAfterReplay(job.id);
}

TEST_F(InformationTest, TheModelKnowsWhatTheCandidatesBeforeGot) {
  world_.AddWorker("w", 2);
  JobSpec spec = SampledSpec(30);
  spec.samples.choose = "information";
  spec.budget.candidates = 120;
  const JobSummary job = Run(spec);
  const std::vector<Candidate> search = Of(CandidateKind::kSearch, job.id);
  ASSERT_EQ(search.size(), 120u);
  for (int64_t generation = 4; generation < 12; ++generation) {
    const Eigen::Index before = 10 * generation;
    Eigen::MatrixXd outcomes = Eigen::MatrixXd::Constant(before, kWorldSamples, -1);
    for (Eigen::Index c = 0; c < before; ++c) {
      const Candidate& candidate = search[static_cast<size_t>(c)];
      for (const int64_t i : evaluated_[candidate.number]) outcomes(c, i) = HonestOutcome(candidate.recipe, i);
    }
    std::vector<int> draw;
    for (const int64_t i : DrawSamples(7, "sphere", generation, 30, kWorldSamples)) draw.push_back(static_cast<int>(i));
    std::vector<int> expected = InformativeDraw(outcomes, 10, draw);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(*ParseBenchmarkRequest(search[static_cast<size_t>(before)].benchmarks[0]).samples,
              std::vector<int64_t>(expected.begin(), expected.end()));
  }
}

TEST_F(InformationTest, ARaceOverChosenSamples) {
  world_.AddWorker("w", 3);
  JobSpec spec = RaceSpec();
  spec.samples.choose = "information";
  spec.budget.candidates = 100;
  const JobSummary job = Run(spec);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  for (const Candidate& c : Of(CandidateKind::kSearch, job.id)) {
    const std::vector<int64_t> samples = SamplesOf(spec, *job.facts, c.benchmarks[0]);
    EXPECT_EQ(samples.size(), 60u);
    std::vector<int64_t> seen = evaluated_[c.number];
    std::sort(seen.begin(), seen.end());
    EXPECT_TRUE(std::includes(samples.begin(), samples.end(), seen.begin(), seen.end()));
  }
  ExpectNothingTwice();
  ExpectSameAfterReplay(job.id);
}

// Twins wait for each other, so what is no twin must not look like one: slerp's `t` belongs to no source.
TEST(HashOfRecipe, SettingsOfAMethodAsAWholeCount) {
  const auto slerp = [](double t) {
    GroupSettings settings;
    settings.parameters["t"] = t;
    Stack stack;
    stack.method = "slerp";
    stack.settings.push_back(settings);
    Recipe recipe;
    recipe.stacks.push_back(stack);
    return recipe;
  };
  EXPECT_EQ(HashOfRecipe(slerp(0.25)), HashOfRecipe(slerp(0.25)));
  EXPECT_NE(HashOfRecipe(slerp(0.25)), HashOfRecipe(slerp(0.5)));
}

}  // namespace
}  // namespace merganser
