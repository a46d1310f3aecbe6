#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "common/codec/job_codec.h"
#include "common/rpc/http_server.h"
#include "coordinator/http/coordinator_metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/http/listed_jobs.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const CoordinatorMetrics& metrics) {
  return ServiceEndpoints(&metrics.registry(), [] { return absl::OkStatus(); }).at("/metrics")().body;
}

TEST(CoordinatorMetricsTest, CountsWhatTheLogSays) {
  CoordinatorMetrics metrics;
  CandidatesProposed proposed;
  proposed.candidates.resize(3);
  metrics.OnEvent("job-1", {absl::UnixEpoch(), proposed});
  CandidateFinished finished;
  finished.state = CandidateState::kSucceeded;
  metrics.OnEvent("job-1", {absl::UnixEpoch(), finished});
  metrics.OnReport(Disposition::kCommitted);
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("merganser_candidates_created_total 3"));
  EXPECT_THAT(text, HasSubstr("merganser_candidates_finished_total{state=\"succeeded\"} 1"));
  EXPECT_THAT(text, HasSubstr("merganser_result_records_total{disposition=\"committed\"} 1"));
}

TEST(CoordinatorMetricsTest, ARetryIsCountedByTheFailureBeforeIt) {
  CoordinatorMetrics metrics;
  AttemptEnded ended;
  ended.candidate = 7;
  ended.failure = FailureClass::kWorkerLost;
  metrics.OnEvent("job-1", {absl::UnixEpoch(), ended});
  AttemptStarted started;
  started.candidate = 7;
  metrics.OnEvent("job-1", {absl::UnixEpoch(), started});
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_retries_total{class=\"worker_lost\"} 1"));
}

TEST(CoordinatorMetricsTest, TellsSinceWhenTheOldestCandidateWaits) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  CandidatesProposed proposed;
  proposed.candidates.resize(2);
  proposed.candidates[1].number = 1;
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1000), proposed});
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1010), AttemptStarted{0, 1, "", ""}});
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1020), AttemptEnded{0, 1, FailureClass::kWorkerLost, ""}});
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_queue_oldest_timestamp_seconds 1000\n"));
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1030), AttemptStarted{1, 1, "", ""}});
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_queue_oldest_timestamp_seconds 1020\n"));
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1040), PhaseStarted{JobPhase::kCancelled, ""}});
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_queue_oldest_timestamp_seconds 0\n"));
}

TEST(CoordinatorMetricsTest, AJobThatIsSetAsideIsCountedAndHasNoCandidatesThatWait) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  CandidatesProposed proposed;
  proposed.candidates.resize(2);
  metrics.OnEvent("job-1", {absl::FromUnixSeconds(1000), proposed});
  JobSummary job;
  job.id = "job-1";
  job.phase = JobPhase::kSearch;
  job.queued = 2;
  manager.jobs = {job};
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_jobs_damaged 0\n"));
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_job_active{job_id=\"job-1\"} 1"));
  manager.jobs[0].phase = JobPhase::kDamaged;
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_jobs_damaged 1\n"));
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_queue_depth 0\n"));
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_queue_oldest_timestamp_seconds 0\n"));
  EXPECT_THAT(Text(metrics), Not(HasSubstr("merganser_job_active{")));
}

TEST(CoordinatorMetricsTest, CountsEventsThatTheStoreHadLost) {
  CoordinatorMetrics metrics;
  metrics.OnStoreRegression("job-1", 3);
  metrics.OnReplayed(absl::Milliseconds(250));
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_store_regressions_total 3"));
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_replay_seconds 0.25"));
}

TEST(CoordinatorMetricsTest, StoreErrorsAndCallsHaveClosedLabels) {
  CoordinatorMetrics metrics;
  metrics.OnStoreCommit("append", absl::Milliseconds(2), absl::UnavailableError("away"));
  metrics.OnCall("CreateJob", absl::StatusCode::kInvalidArgument, absl::Milliseconds(1));
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("merganser_store_errors_total{"));
  EXPECT_THAT(text, HasSubstr("merganser_store_up 0"));
  EXPECT_FALSE(metrics.store_up());
  metrics.SetStoreUp(true);  // as one that stands by says it
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_store_up 1"));
  EXPECT_THAT(text, HasSubstr("method=\"CreateJob\""));
  EXPECT_THAT(text, Not(HasSubstr("away")));
}

TEST(CoordinatorMetricsTest, AFailureThatNeverHappenedIsASeriesAtZero) {
  const std::string text = Text(CoordinatorMetrics());
  EXPECT_THAT(text, HasSubstr("merganser_attempts_finished_total{outcome=\"worker_lost\"} 0"));
  EXPECT_THAT(text, HasSubstr("merganser_candidates_finished_total{state=\"failed\"} 0"));
  EXPECT_THAT(text, HasSubstr("merganser_result_records_total{disposition=\"rejected\"} 0"));
}

// A generation of `numbers.size()` candidates that is proposed and then finishes with these numbers.
void RunGeneration(CoordinatorMetrics& metrics, int64_t generation, const std::vector<double>& numbers) {
  CandidatesProposed proposed;
  for (size_t i = 0; i < numbers.size(); ++i) {
    Candidate candidate;
    candidate.number = generation * 100 + static_cast<int64_t>(i);
    candidate.generation = generation;
    proposed.candidates.push_back(candidate);
  }
  metrics.OnEvent("job-1", {absl::UnixEpoch(), proposed});
  for (size_t i = 0; i < numbers.size(); ++i) {
    CandidateFinished finished;
    finished.candidate = proposed.candidates[i].number;
    finished.fitness = {numbers[i]};
    metrics.OnEvent("job-1", {absl::FromUnixSeconds(50), finished});
  }
}

JobSummary ActiveJob() {
  JobSummary job;
  job.id = "job-1";
  job.phase = JobPhase::kSearch;
  job.spec.objectives = {{"ja_math", "acc"}};
  job.best_fitness = {0.75};
  job.queued = 4;
  job.running = 2;
  job.search_total = 100;
  job.search_finished = 40;
  return job;
}

TEST(CoordinatorMetricsTest, AGenerationShowsItsBestMeanAndSpread) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  manager.jobs = {ActiveJob()};
  RunGeneration(metrics, 0, {0.9, 0.9});
  RunGeneration(metrics, 1, {0.25, 0.75, std::numeric_limits<double>::quiet_NaN()});
  metrics.Sample(manager);
  const std::string text = Text(metrics);
  const std::string labels = "{job_id=\"job-1\",objective=\"ja_math.acc\"} ";
  EXPECT_THAT(text, HasSubstr("merganser_job_generation_best_fitness" + labels + "0.75"));
  EXPECT_THAT(text, HasSubstr("merganser_job_generation_mean_fitness" + labels + "0.5"));
  EXPECT_THAT(text, HasSubstr("merganser_job_generation_fitness_deviation" + labels + "0.25"));
}

TEST(CoordinatorMetricsTest, ALateCandidateOfAnOlderGenerationIsLeftOut) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  manager.jobs = {ActiveJob()};
  RunGeneration(metrics, 1, {0.5});
  RunGeneration(metrics, 0, {0.9});
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics),
              HasSubstr("merganser_job_generation_best_fitness{job_id=\"job-1\",objective=\"ja_math.acc\"} 0.5"));
}

TEST(CoordinatorMetricsTest, AJobThatIsOverLeavesNoSeries) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  manager.jobs = {ActiveJob()};
  RunGeneration(metrics, 0, {0.5});
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_job_candidates_remaining{job_id=\"job-1\"} 60"));
  manager.jobs[0].phase = JobPhase::kSucceeded;
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), Not(HasSubstr("job_id")));
}

TEST(CoordinatorMetricsTest, SlotsAreThoseOfConnectedWorkersAndPrefetchTakesNone) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  manager.workers.resize(3);
  manager.workers[0].state = "busy";
  manager.workers[0].info.slots = 2;
  manager.workers[0].running.resize(3);  // one of them waits
  manager.workers[1].state = "idle";
  manager.workers[2].state = "lost";
  metrics.Sample(manager);
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("merganser_slots{kind=\"used\"} 2"));
  EXPECT_THAT(text, HasSubstr("merganser_slots{kind=\"free\"} 1"));
  EXPECT_THAT(text, HasSubstr("merganser_workers{state=\"lost\"} 1"));
}

TEST(CoordinatorMetricsTest, AStandByTellsOnlyThatItDoesNotLead) {
  CoordinatorMetrics metrics;
  ListedJobs manager;
  manager.jobs = {ActiveJob()};
  manager.leads = false;
  metrics.Sample(manager);
  EXPECT_THAT(Text(metrics), HasSubstr("merganser_leader 0"));
  EXPECT_THAT(Text(metrics), Not(HasSubstr("job_id")));
}

TEST(ServiceEndpointsTest, ReadinessFollowsTheService) {
  CoordinatorMetrics metrics;
  absl::Status state = absl::UnavailableError("replaying");
  const auto endpoints = ServiceEndpoints(&metrics.registry(), [&] { return state; });
  EXPECT_EQ(endpoints.at("/healthz")().status, 200);
  EXPECT_EQ(endpoints.at("/readyz")().status, 503);
  EXPECT_THAT(endpoints.at("/readyz")().body, HasSubstr("replaying"));
  state = absl::OkStatus();
  EXPECT_EQ(endpoints.at("/readyz")().status, 200);
}

}  // namespace
}  // namespace merganser
