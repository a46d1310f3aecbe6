// A coordinator may die after any event; what follows must be as if it had not.
#include <set>

#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

struct Story {
  std::vector<JobEvent> events;
  std::vector<Candidate> candidates;
  JobSummary job;
  std::vector<std::pair<std::string, std::string>> records;  // of all attempts
};

Story Uninterrupted(const JobSpec& spec) {
  World world;
  world.AddWorker("w-1", 2);
  const std::string id = world.Submit(spec).id;
  Story story;
  story.job = world.Run(id);
  story.candidates = world.Candidates(id);
  const JobManager::EventBatch batch = *world.loop->EventsAfter(id, 0);
  for (const auto& [seq, event] : batch.events) {
    story.events.push_back(event);
    if (const auto* started = std::get_if<AttemptStarted>(&event.body)) {
      const std::string key = RecordKey(id, started->candidate, started->attempt, started->token);
      story.records.emplace_back(key, *world.memory.GetRecord(key));
    }
  }
  return story;
}

// Starts on the first `k` events and finishes. `recorded`: every attempt that had started then left its record, while no
// coordinator lived.
void FinishAfter(const JobSpec& spec, const Story& story, size_t k, bool recorded) {
  SCOPED_TRACE(testing::Message() << "cut after event " << k << (recorded ? ", recorded" : ""));
  World world;
  world.loop->Stop();
  const int64_t epoch = *world.memory.Lead("setup", absl::Seconds(1));
  const std::string id = *world.memory.CreateJob(epoch, "", spec.name, ProtoJobCodec().EncodeSpec(spec));
  ASSERT_EQ(id, story.job.id);
  std::vector<std::string> bytes;
  std::set<int64_t> started, finished;
  for (size_t i = 0; i < k; ++i) {
    bytes.push_back(ProtoJobCodec().EncodeEvent(story.events[i]));
    if (const auto* s = std::get_if<AttemptStarted>(&story.events[i].body)) started.insert(s->candidate);
    if (const auto* f = std::get_if<CandidateFinished>(&story.events[i].body)) finished.insert(f->candidate);
  }
  const std::set<int64_t>& done = recorded ? started : finished;
  for (const auto& [key, record] : story.records) {
    for (int64_t number : done) {
      if (key.find(":" + std::to_string(number) + ":1:") != std::string::npos) {
        ASSERT_TRUE(world.memory.PutRecord(key, record).ok());
      }
    }
  }
  if (!bytes.empty()) {
    ASSERT_TRUE(world.memory.Append(epoch, id, 0, bytes).ok());
  }
  ASSERT_TRUE(world.memory.ReleaseLead(epoch).ok());

  world.NewLoop();
  world.AddWorker("w-2", 2);
  const JobSummary job = world.Run(id);

  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.best_candidate, story.job.best_candidate);
  EXPECT_EQ(job.best_fitness, story.job.best_fitness);
  const std::vector<Candidate> candidates = world.Candidates(id);
  ASSERT_EQ(candidates.size(), story.candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    EXPECT_EQ(candidates[i].genome, story.candidates[i].genome) << i;
    EXPECT_EQ(candidates[i].recipe, story.candidates[i].recipe) << i;
    EXPECT_EQ(candidates[i].fitness, story.candidates[i].fitness) << i;
    EXPECT_EQ(candidates[i].state, story.candidates[i].state) << i;
    // One with a twin is evaluated or not, depending on which of the two a worker had first.
    if (story.candidates[i].attempts.empty() || candidates[i].attempts.empty()) continue;
    const int times = world.evaluated[{id, static_cast<int64_t>(i)}];
    EXPECT_EQ(times, done.count(static_cast<int64_t>(i)) != 0 ? 0 : 1) << "evaluations of " << i;
  }
  std::map<int64_t, int> terminal;
  const JobManager::EventBatch batch = *world.loop->EventsAfter(id, 0);
  for (const auto& [seq, event] : batch.events) {
    if (const auto* f = std::get_if<CandidateFinished>(&event.body)) ++terminal[f->candidate];
  }
  EXPECT_EQ(terminal.size(), candidates.size());
  for (const auto& [number, count] : terminal) EXPECT_EQ(count, 1) << number;
}

TEST(CrashTest, AfterEveryEventTheJobEndsAsIfNothingHadHappened) {
  const Story story = Uninterrupted(SphereSpec());
  ASSERT_EQ(story.job.phase, JobPhase::kSucceeded);
  ASSERT_GT(story.events.size(), 50u);
  for (size_t k = 0; k <= story.events.size(); ++k) FinishAfter(SphereSpec(), story, k, /*recorded=*/false);
}

TEST(CrashTest, AJobOfStagesAndFinalistsResumesBetweenAnyTwoEvents) {
  const Story story = Uninterrupted(StagedSpec());
  ASSERT_EQ(story.job.phase, JobPhase::kSucceeded) << story.job.message;
  for (size_t k = 0; k <= story.events.size(); ++k) FinishAfter(StagedSpec(), story, k, /*recorded=*/k % 2 == 1);
}

// Paths first, then the weights of the winner's layers.
JobSpec PathsThenWeightsSpec() {
  JobSpec spec = SphereSpec("nested");
  SearchStage weights{.parameter = spec.parameter, .optimizer = spec.optimizer, .budget = spec.budget};
  weights.parameter.start = "winner";
  spec.parameter = {};
  spec.data_flow = DataFlowSpace{.sources = {"ja", "math"}, .repeats = 2, .scales = DataFlowSpace::Scales::kSlot};
  spec.budget.candidates = 8;
  spec.then = {weights};
  return spec;
}

TEST(CrashTest, ASearchAlongAWinnersPathResumesBetweenAnyTwoEvents) {
  const Story story = Uninterrupted(PathsThenWeightsSpec());
  ASSERT_EQ(story.job.phase, JobPhase::kSucceeded) << story.job.message;
  // Layers of a path, by depth; the world's models have two.
  const auto depths = [](const Recipe& recipe) {
    std::vector<int> layers;
    for (const Hop& hop : recipe.path) layers.push_back(hop.layer);
    return layers.empty() ? std::vector<int>{0, 1} : layers;
  };
  const Candidate* winner = nullptr;
  for (const Candidate& c : story.candidates) {
    if (c.kind == CandidateKind::kHeldOut && c.label == "stage-1") winner = &c;
  }
  ASSERT_NE(winner, nullptr);
  int merges = 0;
  for (const Candidate& c : story.candidates) {
    if (c.kind != CandidateKind::kSearch || c.stage != 1) continue;
    ++merges;
    EXPECT_EQ(depths(c.recipe), depths(winner->recipe)) << c.number;
    for (const Stack& stack : c.recipe.stacks) EXPECT_EQ(stack.method, "task_arithmetic");
  }
  EXPECT_EQ(merges, 14);
  for (size_t k = 0; k <= story.events.size(); ++k) FinishAfter(PathsThenWeightsSpec(), story, k, /*recorded=*/k % 2 == 1);
}

TEST(CrashTest, ResultsRecordedWhileNoCoordinatorLivedAreNotEvaluatedAgain) {
  const Story story = Uninterrupted(SphereSpec());
  for (size_t k = 0; k <= story.events.size(); ++k) FinishAfter(SphereSpec(), story, k, /*recorded=*/true);
}

}  // namespace
}  // namespace merganser
