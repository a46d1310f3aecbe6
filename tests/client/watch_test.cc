// What people see of a job that goes on, and what `wait` waits for.
#include "client/watch.h"

#include <sstream>

#include "client/exit_code.h"
#include "client/progress.h"
#include "client/spec_difference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

v1::Job JobIn(const std::string& state, std::optional<double> best = std::nullopt) {
  v1::Job job;
  job.set_state(state);
  if (best) job.add_best_fitness(*best);
  return job;
}

TEST(WaitConditionTest, WithoutOneTheJobMustSucceed) {
  const WaitCondition end;
  EXPECT_EQ(end.Outcome(JobIn("search")), std::nullopt);
  EXPECT_THAT(end.Outcome(JobIn("succeeded")), Optional(exit_code::kOk));
  EXPECT_THAT(end.Outcome(JobIn("cancelled")), Optional(exit_code::kJobFailed));
}

TEST(WaitConditionTest, AJobThatIsSetAsideIsNotWaitedFor) {
  EXPECT_THAT(WaitCondition().Outcome(JobIn("damaged")), Optional(exit_code::kJobFailed));
  EXPECT_THAT(WaitCondition::Parse("state=search")->Outcome(JobIn("damaged")), Optional(exit_code::kJobFailed));
  EXPECT_THAT(WaitCondition::Parse("best>=0.5")->Outcome(JobIn("damaged", 0.4)), Optional(exit_code::kJobFailed));
  EXPECT_THAT(WaitCondition::Parse("state=damaged")->Outcome(JobIn("damaged")), Optional(exit_code::kOk));
}

TEST(WaitConditionTest, APhaseThatWasPassedCounts) {
  const WaitCondition search = *WaitCondition::Parse("state=search");
  EXPECT_EQ(search.Outcome(JobIn("baselines")), std::nullopt);
  EXPECT_THAT(search.Outcome(JobIn("held_out")), Optional(exit_code::kOk));
  EXPECT_THAT(search.Outcome(JobIn("finalists")), Optional(exit_code::kOk));
  EXPECT_THAT(search.Outcome(JobIn("failed")), Optional(exit_code::kJobFailed));
  EXPECT_EQ(WaitCondition::Parse("state=held_out")->Outcome(JobIn("finalists")), std::nullopt) << "that comes before";
}

TEST(WaitConditionTest, BestAtLeast) {
  const WaitCondition best = *WaitCondition::Parse("best>=0.5");
  EXPECT_EQ(best.Outcome(JobIn("search", 0.49)), std::nullopt);
  EXPECT_THAT(best.Outcome(JobIn("search", 0.5)), Optional(exit_code::kOk));
  EXPECT_THAT(best.Outcome(JobIn("succeeded", 0.4)), Optional(exit_code::kJobFailed));
}

TEST(WaitConditionTest, RefusesWhatItDoesNotKnowAndNamesTheNearest) {
  EXPECT_THAT(std::string(WaitCondition::Parse("state=suceeded").status().message()), HasSubstr("succeeded"));
  EXPECT_THAT(std::string(WaitCondition::Parse("best>=lots").status().message()), HasSubstr("lots"));
}

TEST(ExitCodeTest, FollowsTheStatusCode) {
  EXPECT_EQ(exit_code::FromStatus(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(exit_code::FromStatus(absl::NotFoundError("")), 3);
  EXPECT_EQ(exit_code::FromStatus(absl::DeadlineExceededError("")), 4);
  EXPECT_EQ(exit_code::FromStatus(absl::PermissionDeniedError("")), 5);
  EXPECT_EQ(exit_code::FromStatus(absl::UnauthenticatedError("")), 5);
  EXPECT_EQ(exit_code::FromStatus(absl::UnavailableError("")), 6);
  EXPECT_EQ(exit_code::FromStatus(absl::ResourceExhaustedError("")), 1);
}

TEST(SpecDifferenceTest, NamesTheFirstFieldThatDiffers) {
  const JobSpec stored = SmallSpec();
  JobSpec file = stored;
  EXPECT_EQ(SpecDifference(stored, file), std::nullopt);
  file.budget.candidates = 50;
  EXPECT_THAT(SpecDifference(stored, file), Optional(HasSubstr("budget.candidates: 20 in the store, 50 in the file")));
}

class ProgressTest : public testing::Test {
 protected:
  void Event(decltype(JobEvent::body) body) {
    progress_.OnEvent(++seq_, JobEvent{absl::FromUnixSeconds(seq_), std::move(body)}, job_);
  }

  JobSummary job_ = SmallFinishedJob().job;
  std::ostringstream out_;
  Progress progress_{out_, Terminal{}};
  int64_t seq_ = 0;
};

TEST_F(ProgressTest, AGenerationIsOneLineWithBestAndMean) {
  job_.phase = JobPhase::kSearch;
  CandidatesProposed proposed;
  for (int64_t n : {10, 11}) {
    Candidate c;
    c.number = n;
    c.generation = 0;
    proposed.candidates.push_back(c);
  }
  Event(proposed);
  CandidateFinished finished;
  finished.candidate = 10;
  finished.state = CandidateState::kSucceeded;
  finished.fitness = {0.25};
  Event(finished);
  EXPECT_EQ(out_.str(), "");
  finished.candidate = 11;
  finished.fitness = {0.75};
  Event(finished);
  EXPECT_EQ(out_.str(), "generation 1  best 0.7500  mean 0.5000  best so far 0.7500 (candidate 11)  2/20 done\n");
}

TEST_F(ProgressTest, OfSeveralObjectivesTheWeightedSumThatNamesTheWinnerIsShown) {
  job_.spec.objectives = {{"task", "acc_ja"}, {"cost", "hops", 0.01}};
  Event(PhaseStarted{JobPhase::kSearch, ""});
  CandidatesProposed proposed;
  for (int64_t n : {10, 11}) {
    proposed.candidates.emplace_back().number = n;
    proposed.candidates.back().generation = 0;
  }
  Event(proposed);
  CandidateFinished finished;
  finished.state = CandidateState::kSucceeded;
  finished.candidate = 10;
  finished.fitness = {0.5, -6};
  Event(finished);
  finished.candidate = 11;  // right more often, but by too many layers
  finished.fitness = {0.52, -12};
  Event(finished);
  EXPECT_EQ(out_.str(),
            "search: task.acc_ja + 0.01 x cost.hops, larger is better\n"
            "generation 1  best 0.4400  mean 0.4200  best so far 0.4400 (candidate 10)  2/20 done\n");
}

TEST_F(ProgressTest, TheEstimateIsOfTheSamplesThatACandidateIsScoredOn) {
  job_.spec.samples.per_generation = 50;  // of the 200 that baselines are scored on
  progress_.SetSlots(1);
  CandidatesProposed proposed;
  for (int64_t n : {1, 2}) {
    proposed.candidates.emplace_back().number = n;
    proposed.candidates.back().kind = CandidateKind::kSource;
    proposed.candidates.back().label = "ja";
  }
  Event(proposed);
  CandidateFinished finished;
  finished.state = CandidateState::kSucceeded;
  finished.timings.decode = 8;
  for (int64_t n : {1, 2}) {
    finished.candidate = n;
    Event(finished);
  }
  CandidatesProposed first;
  first.candidates.emplace_back().number = 3;
  first.candidates.back().generation = 0;
  Event(first);
  EXPECT_THAT(out_.str(),
              HasSubstr("estimate: about 36.0s for 18 candidates at 2.0s each, as the 2 baselines took for 50 of "
                        "their 200 samples\n"));
}

TEST_F(ProgressTest, WhatHappenedBeforeIsNotRepeated) {
  progress_.SetQuietThrough(1);
  Event(PhaseStarted{JobPhase::kBaselines, ""});
  EXPECT_EQ(out_.str(), "");
  Event(PhaseStarted{JobPhase::kSearch, ""});
  EXPECT_THAT(out_.str(), HasSubstr("search: task.acc_ja"));
}

TEST_F(ProgressTest, BarShowsShareAndBest) {
  job_.phase = JobPhase::kSearch;
  job_.search_finished = 10;
  EXPECT_EQ(progress_.Bar(job_, absl::UnixEpoch()),
            "search [############............]  10/20  running 0  failed 1  best 0.5000");
}

TEST_F(ProgressTest, BarSaysWhyNothingRuns) {
  job_.phase = JobPhase::kSearch;
  job_.search_finished = 10;
  job_.waiting = "no worker is connected";
  EXPECT_THAT(progress_.Bar(job_, absl::UnixEpoch()), HasSubstr("running 0  failed 1  waits: no worker is connected"));
  job_.running = 1;
  EXPECT_THAT(progress_.Bar(job_, absl::UnixEpoch()), Not(HasSubstr("waits"))) << "its others do what they can";
  job_.paused = true;
  EXPECT_THAT(progress_.Bar(job_, absl::UnixEpoch()), HasSubstr("search (paused) [####"));
}

}  // namespace
}  // namespace merganser
