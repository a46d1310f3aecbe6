#include "coordinator/http/sampled_metrics.h"

#include <atomic>
#include <string>

#include "absl/time/clock.h"
#include "common/rpc/http_server.h"
#include "coordinator/http/background_sampler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SampledMetricsTest : public testing::Test {
 protected:
  std::string Text() {
    return ServiceEndpoints(&registry_, [] { return absl::OkStatus(); }).at("/metrics")().body;
  }

  prometheus::Registry registry_;
  SampledMetrics metrics_{&registry_};
};

JobFront Front(std::vector<std::vector<double>> points) {
  return {{"ja.acc", "math.acc"}, static_cast<int64_t>(points.size()), {0, 0}, 0.25, std::move(points)};
}

TEST_F(SampledMetricsTest, WhatIsNotThereHasNoSeries) {
  EXPECT_THAT(Text(), Not(HasSubstr("\nmerganser_tls_certificate_expiry_timestamp_seconds ")));
  EXPECT_THAT(Text(), Not(HasSubstr("\nmerganser_store_aof_delayed_fsyncs_total ")));
}

TEST_F(SampledMetricsTest, ACertificatesEndIsUnixTime) {
  metrics_.SetCertificateExpiry(absl::FromUnixSeconds(1000000));
  EXPECT_THAT(Text(), HasSubstr("\nmerganser_tls_certificate_expiry_timestamp_seconds 1000000\n"));
  metrics_.SetCertificateExpiry(absl::FromUnixSeconds(2000000));
  EXPECT_THAT(Text(), HasSubstr("\nmerganser_tls_certificate_expiry_timestamp_seconds 2000000\n"));
}

TEST_F(SampledMetricsTest, DelayedFsyncsGoOnCountingOverARestartOfTheServer) {
  metrics_.SetDelayedFsyncs(5);
  metrics_.SetDelayedFsyncs(7);
  EXPECT_THAT(Text(), HasSubstr("\nmerganser_store_aof_delayed_fsyncs_total 7\n"));
  metrics_.SetDelayedFsyncs(2);  // of the new server
  EXPECT_THAT(Text(), HasSubstr("\nmerganser_store_aof_delayed_fsyncs_total 9\n"));
}

TEST_F(SampledMetricsTest, AFrontThatShrinksLosesItsLastPoints) {
  metrics_.SetFronts({{"job-1", Front({{0.25, 0.75}, {0.5, 0.5}})}});
  EXPECT_THAT(Text(), HasSubstr("merganser_job_front_size{job_id=\"job-1\"} 2\n"));
  EXPECT_THAT(Text(), HasSubstr("merganser_job_front_hypervolume{job_id=\"job-1\"} 0.25\n"));
  EXPECT_THAT(Text(), HasSubstr("{job_id=\"job-1\",objective=\"math.acc\",rank=\"0\"} 0.75\n"));
  EXPECT_THAT(Text(), HasSubstr("rank=\"1\""));
  metrics_.SetFronts({{"job-1", Front({{0.5, 0.875}})}});
  EXPECT_THAT(Text(), HasSubstr("{job_id=\"job-1\",objective=\"math.acc\",rank=\"0\"} 0.875\n"));
  EXPECT_THAT(Text(), Not(HasSubstr("rank=\"1\"")));
}

TEST_F(SampledMetricsTest, AVolumeThatTakesTooLongIsAbsentAndAJobThatIsOverHasNoSeries) {
  JobFront front = Front({{0.5, 0.5}});
  metrics_.SetFronts({{"job-1", front}});
  front.volume.reset();
  metrics_.SetFronts({{"job-1", front}});
  EXPECT_THAT(Text(), Not(HasSubstr("merganser_job_front_hypervolume{")));
  metrics_.SetFronts({});
  EXPECT_THAT(Text(), Not(HasSubstr("job-1")));
}

TEST(BackgroundSamplerTest, CallsAtOnceAndAgainUntilItEnds) {
  std::atomic<int> calls = 0;
  {
    const BackgroundSampler sampler(absl::Milliseconds(1), [&] { ++calls; });
    while (calls < 3) std::this_thread::yield();
  }
  const int at_end = calls;
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(calls, at_end);
}

}  // namespace
}  // namespace merganser
