#include <prometheus/text_serializer.h>

#include "common/codec/job_codec.h"
#include "common/rpc/http_server.h"
#include "coordinator/http/coordinator_metrics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const CoordinatorMetrics& metrics) {
  return ServiceEndpoints(&metrics.registry(), [] { return absl::OkStatus(); })
      .at("/metrics")()
      .body;
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

TEST(CoordinatorMetricsTest, StoreErrorsAndCallsHaveClosedLabels) {
  CoordinatorMetrics metrics;
  metrics.OnStoreCommit("append", absl::Milliseconds(2), absl::UnavailableError("away"));
  metrics.OnCall("CreateJob", absl::StatusCode::kInvalidArgument, absl::Milliseconds(1));
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("merganser_store_errors_total{"));
  EXPECT_THAT(text, HasSubstr("merganser_store_up 0"));
  EXPECT_THAT(text, HasSubstr("method=\"CreateJob\""));
  EXPECT_THAT(text, Not(HasSubstr("away")));
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
