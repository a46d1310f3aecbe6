// The dashboard's index of a job follows the job's state through a failure and its resumption.
#include <functional>
#include <optional>
#include <string>

#include "coordinator/http/job_index.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

constexpr int64_t kFirstSearch = 5;  // after the preparation, three sources and their average

class JobIndexResumeTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* id : {"a", "b"}) world_.AddWorker(id, 2);
  }
  void Fail(FailureClass failure, std::function<bool(const Assignment&)> whom) {
    world_.fail = [failure, whom](const Assignment& a) -> std::optional<World::Failure> {
      if (!whom(a)) return std::nullopt;
      return World::Failure{failure, "the mount is gone"};
    };
  }
  // Runs the job until it fails, resumes it, and holds every candidate in the index against the job's state.
  void RunAndResume(const JobSpec& spec) {
    job_ = world_.Submit(spec).id;
    ASSERT_EQ(world_.Run(job_).phase, JobPhase::kFailed);
    world_.fail = [](const Assignment&) { return std::nullopt; };
    index_ = JobIndex(spec);
    ExpectTheStatesOfTheJob();
    ASSERT_TRUE(world_.loop->ResumeJob(job_).ok());
    ExpectTheStatesOfTheJob();
    const size_t queued = world_.loop->StateOf(job_)->queued().size();
    EXPECT_GT(queued, 0u);
    RowQuery query;
    query.state = CandidateState::kQueued;
    EXPECT_EQ(index_.Select(query).total, queued)
        << "the table shows what is tried again as queued, before its next attempt";
    world_.Run(job_);
    ExpectTheStatesOfTheJob();
  }
  void ExpectTheStatesOfTheJob() {
    const JobState& state = *world_.loop->StateOf(job_);
    while (index_.seq() < state.seq()) {
      const JobManager::EventBatch batch = *world_.loop->EventsAfter(job_, index_.seq());
      for (const auto& [seq, event] : batch.events) index_.Apply(seq, event);
    }
    for (const Candidate& candidate : state.candidates()) {
      const CandidateRow row = *index_.Find(candidate.number);
      EXPECT_EQ(ToString(row.state), ToString(candidate.state)) << candidate.number;
      if (candidate.state == CandidateState::kQueued) {
        EXPECT_EQ(row.message, candidate.message) << candidate.number;
        EXPECT_EQ(row.end_time, absl::InfiniteFuture()) << candidate.number;
      }
    }
    int64_t failures = 0;
    for (const auto& [reason, count] : index_.Failures()) failures += count;
    EXPECT_EQ(failures, world_.Summary(job_).failed);
  }

  World world_;
  std::string job_;
  JobIndex index_;
};

TEST_F(JobIndexResumeTest, APreparationThatFailedIsQueuedOnceTheJobIsResumed) {
  Fail(FailureClass::kTransient, [](const Assignment&) { return true; });
  RunAndResume(SphereSpec());
}

TEST_F(JobIndexResumeTest, AsAreSourcesAndTheGenerationsThatAnOutageTook) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 60;
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.kind != CandidateKind::kPrepare; });
  RunAndResume(spec);
}

TEST_F(JobIndexResumeTest, ButNotWhatTheSearchHasLearntFrom) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 60;
  world_.fail = [](const Assignment& a) -> std::optional<World::Failure> {
    if (a.id.candidate == kFirstSearch + 8 || a.id.candidate == kFirstSearch + 19) {
      return World::Failure{FailureClass::kInfeasible, "NaN"};
    }
    if (a.id.candidate != kFirstSearch + 7 && a.id.candidate < kFirstSearch + 18) return std::nullopt;
    return World::Failure{FailureClass::kTransient, "the mount is gone"};
  };
  RunAndResume(spec);
}

TEST_F(JobIndexResumeTest, NorThoseOfAnEarlierStage) {
  JobSpec spec = StagedSpec();
  spec.then[0].parameter = spec.parameter;
  spec.then[0].data_flow.reset();
  spec.then[0].budget.candidates = 60;
  // The last one of the first stage, which succeeded otherwise, and all of the second.
  Fail(FailureClass::kTransient,
       [](const Assignment& a) { return a.kind == CandidateKind::kSearch && a.id.candidate >= kFirstSearch + 13; });
  RunAndResume(spec);
}

TEST_F(JobIndexResumeTest, ARollingSearchAndARaceAreFollowedToo) {
  JobSpec rolling = SphereSpec("rolling");
  rolling.mode = SearchMode::kRolling;
  rolling.budget.candidates = 60;
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.id.candidate >= kFirstSearch + 8; });
  RunAndResume(rolling);
  JobSpec race = SampledSpec(0);
  race.samples.racing = Racing{.block = 30, .confidence = 0.9};
  Fail(FailureClass::kTransient, [](const Assignment& a) { return a.id.candidate >= kFirstSearch + 14; });
  RunAndResume(race);
}

}  // namespace
}  // namespace merganser
