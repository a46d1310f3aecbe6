// What a client may ask for in a second.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/rpc/error_details.h"
#include "common/rpc/status_codec.h"
#include "coordinator/rpc/rate_limiter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.grpc.pb.h"
#include "merganser/v1/worker_service.grpc.pb.h"
#include "tests/coordinator/rpc/served_coordinator.h"
#include "tests/testing/fake_clock.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

TEST(RateLimiterTest, ABurstIsLetInAndThenTheRate) {
  FakeClock clock;
  RateLimiter limiter(10, clock);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(limiter.Take("a"), absl::ZeroDuration()) << i;
  EXPECT_EQ(limiter.Take("a"), absl::Milliseconds(100));
  EXPECT_EQ(limiter.Take("a"), absl::Milliseconds(100)) << "a refused call costs nothing";
  EXPECT_EQ(limiter.Take("b"), absl::ZeroDuration()) << "another client's calls are its own";
  clock.Advance(absl::Milliseconds(200));
  EXPECT_EQ(limiter.Take("a"), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a"), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a"), absl::Milliseconds(100));
  clock.Advance(absl::Hours(1));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(limiter.Take("a"), absl::ZeroDuration()) << "no more than a burst is saved, " << i;
  EXPECT_GT(limiter.Take("a"), absl::ZeroDuration());
}

TEST(RateLimiterTest, ARateBelowACallEachBurstStillLetsOneIn) {
  FakeClock clock;
  RateLimiter limiter(0.1, clock);
  EXPECT_EQ(limiter.Take("a"), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a"), absl::Seconds(10));
}

TEST(RateLimiterTest, NoRateIsNoBound) {
  FakeClock clock;
  RateLimiter limiter(0, clock);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(limiter.Take("a"), absl::ZeroDuration());
  EXPECT_EQ(limiter.clients(), 0u);
}

TEST(RateLimiterTest, ManyClientsTakeBoundedMemoryAndQuietOnesAreForgotten) {
  FakeClock clock;
  RateLimiter limiter(1, clock);
  const auto flood = [&](int from) {
    int let_in = 0;
    for (size_t i = 0; i < RateLimiter::kClientsMax + 100; ++i) {
      let_in += limiter.Take(absl::StrCat("client ", from + static_cast<int>(i))) == absl::ZeroDuration() ? 1 : 0;
    }
    EXPECT_LE(limiter.clients(), RateLimiter::kClientsMax);
    return let_in;
  };
  EXPECT_EQ(flood(0), static_cast<int>(RateLimiter::kClientsMax) + 4) << "those beyond the bound share one bucket";
  clock.Advance(absl::Minutes(1));
  EXPECT_EQ(flood(1'000'000), static_cast<int>(RateLimiter::kClientsMax) + 4);
}

TEST(RateLimiterTest, AHostIsOneClientWhateverItsPort) {
  EXPECT_EQ(HostOfPeer("ipv4:10.0.0.7:5123"), "ipv4:10.0.0.7");
  EXPECT_EQ(HostOfPeer("ipv6:%5B::1%5D:5123"), "ipv6:%5B::1%5D");
  EXPECT_EQ(HostOfPeer("unix:/run/x:1"), "unix:/run/x:1");
}

TEST(ErrorDetailsTest, ARetryDelayTravelsAsRetryInfo) {
  absl::Status status = absl::ResourceExhaustedError("slowly");
  EXPECT_EQ(EncodeErrorDetails(status), "");
  SetRetryDelay(&status, absl::Microseconds(1'500'200));
  const absl::Status received = FromGrpc(ToGrpc(status));
  EXPECT_EQ(received, status);
  EXPECT_EQ(RetryDelayOf(received), absl::Milliseconds(1501));
  // google.rpc.Status{code: 8, message: "slowly", details: [Any{type_url, value: RetryInfo{1.501 s}}]}, byte by byte.
  const std::string duration("\x08\x01\x10\xc0\xce\xf2\xee\x01", 8);
  const std::string info = "\x0a\x08" + duration;
  const std::string any = "\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0a" + info;
  EXPECT_EQ(EncodeErrorDetails(received),
            absl::StrCat("\x08\x08\x12\x06slowly\x1a", std::string(1, static_cast<char>(any.size())), any));
}

TEST(ErrorDetailsTest, DamagedDetailsAreLeftOut) {
  absl::Status status = absl::ResourceExhaustedError("slowly");
  SetRetryDelay(&status, absl::Seconds(1));
  const std::string whole = EncodeErrorDetails(status);
  for (size_t size = 0; size < whole.size(); ++size) {
    absl::Status cut = absl::ResourceExhaustedError("slowly");
    DecodeErrorDetails(whole.substr(0, size), &cut);
    EXPECT_EQ(RetryDelayOf(cut), std::nullopt) << size;
  }
  absl::Status noise = absl::InternalError("x");
  DecodeErrorDetails("\xff\xff\xff\xff\xff\xff\xff", &noise);
  EXPECT_EQ(noise, absl::InternalError("x"));
}

TEST(BadRequestTest, TheFieldOfAnInvalidArgumentIsADetail) {
  absl::Status status = absl::InvalidArgumentError("stages[1].budget.candidates: 3 is below 30: really");
  AddFieldViolation(&status);
  const absl::Status received = FromGrpc(ToGrpc(status));
  ASSERT_TRUE(FieldViolationOf(received).has_value());
  EXPECT_EQ(FieldViolationOf(received)->first, "stages[1].budget.candidates");
  EXPECT_EQ(FieldViolationOf(received)->second, "3 is below 30: really");
  for (absl::Status other : {absl::InvalidArgumentError("no field"), absl::InvalidArgumentError("Not a path: x"),
                             absl::InvalidArgumentError(": x"), absl::NotFoundError("job: x")}) {
    AddFieldViolation(&other);
    EXPECT_EQ(EncodeErrorDetails(other), "") << other;
  }
}

class RateLimitTest : public ServedCoordinator {
 protected:
  class Observer final : public RpcObserver {
   public:
    void OnCall(absl::string_view, absl::StatusCode, absl::Duration) override {}
    void OnRateLimited(absl::string_view method) override {
      absl::MutexLock lock(&mu_);
      methods_.push_back(std::string(method));
    }
    std::vector<std::string> methods() {
      absl::MutexLock lock(&mu_);
      return methods_;
    }

   private:
    absl::Mutex mu_;
    std::vector<std::string> methods_;
  };

  // Two calls at once of each user and worker, and then one in two seconds.
  void Start(const std::string& tokens) {
    ServerOptions options;
    options.client_rate = kRate;
    options.worker_rate = kRate;
    if (!tokens.empty()) {
      options.security.token_file = absl::StrCat(::testing::TempDir(), "/rate_limit_tokens");
      ASSERT_TRUE(WriteFileAtomically(options.security.token_file, tokens).ok());
    }
    ASSERT_NO_FATAL_FAILURE(Serve({}, options, &observer_));
    users_ = *CreateChannel(Users());
    workers_ = *CreateChannel(Workers());
    started_ = absl::Now();
  }
  absl::Status ListWorkers(const std::string& token = "") {
    users_.token = token;
    grpc::ClientContext context;
    users_.Prepare(&context, absl::Minutes(1));
    v1::ListWorkersResponse response;
    return FromGrpc(v1::FleetService::NewStub(users_.channel)->ListWorkers(&context, {}, &response));
  }
  absl::Status Report(const std::string& token = "") {
    workers_.token = token;
    grpc::ClientContext context;
    workers_.Prepare(&context, absl::Minutes(1));
    v1::ReportAttemptRequest request;
    request.mutable_failure()->set_failure("transient");
    v1::ReportAttemptResponse response;
    return FromGrpc(v1::WorkerService::NewStub(workers_.channel)->ReportAttempt(&context, request, &response));
  }

  // The first answer that is a refusal, of a caller that had its two calls at once: the next one, but for a call for each two
  // seconds that went by (on a machine that stalls). Another answer where it was granted more.
  template <typename Call>
  absl::Status Refusal(Call call) {
    for (int granted = 1;; ++granted) {
      const absl::Status status = call();
      if (absl::IsResourceExhausted(status) || granted > kRate * absl::ToDoubleSeconds(absl::Now() - started_))
        return status;
    }
  }

  static constexpr double kRate = 0.5;  // calls a second
  absl::Time started_;
  Observer observer_;
  ClientChannel users_, workers_;
};

TEST_F(RateLimitTest, AClientThatCallsTooOftenIsToldWhenToComeBack) {
  ASSERT_NO_FATAL_FAILURE(Start(""));
  EXPECT_TRUE(ListWorkers().ok());
  EXPECT_TRUE(ListWorkers().ok());
  const absl::Status refused = Refusal([&] { return ListWorkers(); });
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("too many calls of one client; try again in "));
  ASSERT_TRUE(RetryDelayOf(refused).has_value());
  EXPECT_GT(*RetryDelayOf(refused), absl::ZeroDuration());
  EXPECT_LE(*RetryDelayOf(refused), absl::Seconds(2));
  EXPECT_THAT(observer_.methods(), ::testing::ElementsAre("ListWorkers"));
  EXPECT_FALSE(absl::IsResourceExhausted(Report())) << "workers have a rate of their own";
}

TEST_F(RateLimitTest, AnErrorOfACallNamesItsFieldForPrograms) {
  ASSERT_NO_FATAL_FAILURE(Start(""));
  grpc::ClientContext context;
  users_.Prepare(&context, absl::Minutes(1));
  v1::QuarantineWorkerRequest request;
  request.set_reason(std::string(501, 'x'));
  v1::QuarantineWorkerResponse response;
  const absl::Status refused =
      FromGrpc(v1::FleetService::NewStub(users_.channel)->QuarantineWorker(&context, request, &response));
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  ASSERT_TRUE(FieldViolationOf(refused).has_value());
  EXPECT_EQ(FieldViolationOf(refused)->first, "reason");
  EXPECT_EQ(FieldViolationOf(refused)->second, "501 bytes, more than 500");
}

TEST_F(RateLimitTest, EveryTokenHasItsOwnRateAndTheUnknownOnesShareThatOfTheirHost) {
  ASSERT_NO_FATAL_FAILURE(
      Start("viewer alice-alice-alice-1 alice\nviewer bob-bob-bob-bob-bob bob\nworker worker-worker-worker\n"));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(ListWorkers("alice-alice-alice-1").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Refusal([&] { return ListWorkers("alice-alice-alice-1"); })));
  EXPECT_TRUE(ListWorkers("bob-bob-bob-bob-bob").ok());
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(absl::IsUnauthenticated(ListWorkers(absl::StrCat("guess-guess-guess-", i))));
  EXPECT_TRUE(absl::IsResourceExhausted(Refusal([&] { return ListWorkers("guess-guess-guess-2"); })))
      << "guessing has a rate as well";
  EXPECT_TRUE(ListWorkers("bob-bob-bob-bob-bob").ok()) << "and costs nobody else";
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(absl::IsResourceExhausted(Report("worker-worker-worker")));
  EXPECT_TRUE(absl::IsResourceExhausted(Refusal([&] { return Report("worker-worker-worker"); })));
}

}  // namespace
}  // namespace merganser
