#include "coordinator/job/job_state.h"

#include <cmath>

#include "coordinator/job/attempt_outcome.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

JobEvent At(int second, EventBody body) { return {absl::FromUnixSeconds(second), std::move(body)}; }

CandidatesProposed Search(std::vector<int64_t> numbers, int64_t generation) {
  CandidatesProposed proposed;
  for (int64_t number : numbers) {
    Candidate candidate;
    candidate.number = number;
    candidate.generation = generation;
    proposed.candidates.push_back(candidate);
  }
  return proposed;
}

class JobStateTest : public ::testing::Test {
 protected:
  JobStateTest() {
    Take(PhaseStarted{JobPhase::kPreparing, ""});
    Take(Search({0, 1, 2}, 0));
  }
  absl::Status Try(EventBody body) { return state_.Apply(state_.seq() + 1, At(state_.seq() + 1, std::move(body))); }
  void Take(EventBody body) {
    const absl::Status status = Try(std::move(body));
    ASSERT_TRUE(status.ok()) << status;
  }
  void Finish(int64_t number, double fitness) {
    Take(AttemptStarted{number, 1, "t", "w"});
    Take(CandidateFinished{.candidate = number, .attempt = 1, .fitness = {fitness}});
  }
  JobState state_{"job-1", SphereSpec()};
};

TEST_F(JobStateTest, AnAttemptRunsEndsAndTheCandidateQueuesAgain) {
  Take(AttemptStarted{1, 1, "token", "w-1"});
  EXPECT_EQ(state_.Find(1)->state, CandidateState::kRunning);
  EXPECT_THAT(state_.queued(), ElementsAre(0, 2));
  Take(AttemptEnded{1, 1, FailureClass::kWorkerLost, "silent"});
  EXPECT_THAT(state_.queued(), ElementsAre(0, 1, 2));
  EXPECT_EQ(state_.queued_since(1), absl::FromUnixSeconds(4));
  EXPECT_EQ(CountedAttempts(*state_.Find(1)), 1);
  Take(AttemptStarted{1, 2, "token2", "w-2"});
  EXPECT_EQ(LiveAttempt(*state_.Find(1))->number, 2);
}

TEST_F(JobStateTest, TheBestHasTheLargestFitnessAndTiesGoToTheLowestNumber) {
  Finish(2, 0.5);
  EXPECT_EQ(state_.best(), 2);
  Finish(1, 0.5);
  EXPECT_EQ(state_.best(), 1);
  Finish(0, 0.4);
  EXPECT_EQ(state_.best(), 1);
}

TEST_F(JobStateTest, SummaryCountsCandidatesByState) {
  Take(AttemptStarted{0, 1, "t", "w"});
  Finish(1, 0.5);
  const JobSummary summary = state_.Summary();
  EXPECT_EQ(summary.running, 1);
  EXPECT_EQ(summary.succeeded, 1);
  EXPECT_EQ(summary.queued, 1);
  EXPECT_EQ(summary.search_finished, 1);
  EXPECT_EQ(summary.seq, 5);
  EXPECT_EQ(summary.create_time, absl::FromUnixSeconds(1));
}

TEST_F(JobStateTest, OnlyTheFirstCandidatesOfAStageSayItsPopulation) {
  CandidatesProposed later = Search({3, 4}, 1);
  later.population = 2;
  EXPECT_THAT(std::string(Try(later).message()), HasSubstr("population 2 for 0 slots where no stage begins"));
  JobState state("job-1", SphereSpec());
  ASSERT_TRUE(state.Apply(1, At(1, PhaseStarted{JobPhase::kPreparing, ""})).ok());
  CandidatesProposed first = Search({0, 1, 2}, 0);
  first.population = 3;
  first.slots = 2;
  ASSERT_TRUE(state.Apply(2, At(2, first)).ok());
  EXPECT_EQ(state.stages()[0].population, 3);
  EXPECT_EQ(state.Summary().population, 3);
  EXPECT_EQ(state.Summary().slots, 2);
}

TEST_F(JobStateTest, EventsThatDoNotFitAreRefusedAndNameTheEvent) {
  Finish(1, 0.5);
  const JobState before = state_;
  const struct {
    EventBody body;
    const char* want;
  } kCases[] = {
      {AttemptStarted{7, 1, "t", "w"}, "job-1 event 5 (AttemptStarted): unknown candidate 7"},
      {AttemptStarted{0, 2, "t", "w"}, "attempt 2 of candidate 0 where 1 comes next"},
      {AttemptStarted{1, 2, "t", "w"}, "candidate 1 is succeeded"},
      {AttemptEnded{0, 1, FailureClass::kTransient, ""}, "attempt 1 of candidate 0 is not running"},
      {CandidateFinished{.candidate = 1, .attempt = 1}, "candidate 1 is succeeded already"},
      {CandidateFinished{.candidate = 0, .state = CandidateState::kRunning}, "cannot finish as running"},
      {CandidateFinished{.candidate = 0, .attempt = 3}, "unknown attempt 3"},
      {CandidateFinished{.candidate = 9}, "unknown candidate 9"},
      {Search({4}, 1), "candidate 4 where 3 comes next"},
      {Search({3}, 0), "of generation 0 where 1 comes next"},
      {PhaseStarted{JobPhase::kPreparing, ""}, "phase preparing after preparing"},
      {PhaseStarted{JobPhase::kSucceeded, ""}, "while 2 candidates are not finished"},
  };
  for (const auto& c : kCases) {
    const absl::Status status = Try(c.body);
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.want;
    EXPECT_THAT(status.message(), HasSubstr(c.want));
    EXPECT_TRUE(state_ == before) << c.want;
  }
  EXPECT_THAT(state_.Apply(9, At(9, PhaseStarted{JobPhase::kSearch, ""})).message(),
              HasSubstr("job-1 event 9 (PhaseStarted): expected event 5"));
}

TEST_F(JobStateTest, NothingFollowsTheEnd) {
  for (EventBody& body : EndJob(state_, JobPhase::kCancelled, "enough")) Take(std::move(body));
  EXPECT_TRUE(state_.over());
  EXPECT_EQ(state_.Summary().cancelled, 3);
  EXPECT_THAT(Try(AttemptStarted{0, 1, "t", "w"}).message(), HasSubstr("the job is over (cancelled)"));
}

TEST(AttemptOutcomeTest, MissingAndNonFiniteMetricsAreNamed) {
  const std::vector<Objective> objectives = {{"a", "acc"}, {"b", "rouge"}};
  EXPECT_THAT(*ComputeFitness(objectives, {{"a", {{"acc", 1}}}, {"b", {{"rouge", 2}}}}), ElementsAre(1, 2));
  EXPECT_THAT(ComputeFitness(objectives, {{"a", {{"acc", 1}, {"f1", 0}}}}).status().message(),
              HasSubstr("objectives[1]: the evaluation has no metric b.rouge; known: a.acc, a.f1"));
  EXPECT_THAT(ComputeFitness(objectives, {{"a", {{"acc", std::nan("")}}}, {"b", {{"rouge", 2}}}}).status().message(),
              HasSubstr("objectives[0]: a.acc is nan"));
  EXPECT_THAT(ComputeFitness(objectives, {}).status().message(), HasSubstr("it has none"));
}

}  // namespace
}  // namespace merganser
