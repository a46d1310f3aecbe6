// A crowd of bad clients: watches that read nothing, clients that send requests of 4 MB as fast as they can, and one good
// client that asks for the job ten times a second meanwhile. Prints one JSON object.
//
//   fleet_crowd --user HOST:PORT --job job-1 --watches 400 --senders 200 --seconds 20
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "merganser/v1/job_service.grpc.pb.h"
#include "nlohmann/json.hpp"

namespace merganser {
namespace {

struct Flags {
  std::string user, job = "job-1";
  int watches = 400, senders = 200;
  double seconds = 20;
};

// A call that never reads.
class DeafWatch final : public grpc::ClientReadReactor<v1::WatchJobResponse> {
 public:
  explicit DeafWatch(const Flags& flags) : channel_(*CreateChannel(flags.user)) {
    stub_ = v1::JobService::NewStub(channel_.channel);
    channel_.Prepare(&context_, absl::InfiniteDuration());
    request_.set_job(flags.job);
    stub_->async()->WatchJob(&context_, &request_, this);
    AddHold();
    StartCall();
  }
  ~DeafWatch() override {
    context_.TryCancel();
    RemoveHold();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&done_));
  }

 private:
  void OnDone(const grpc::Status&) override {
    absl::MutexLock lock(&mu_);
    done_ = true;
  }
  ClientChannel channel_;
  std::unique_ptr<v1::JobService::Stub> stub_;
  grpc::ClientContext context_;
  v1::WatchJobRequest request_;
  absl::Mutex mu_;
  bool done_ = false;
};

int Run(const Flags& flags) {
  std::vector<std::unique_ptr<DeafWatch>> watches;
  for (int i = 0; i < flags.watches; ++i) watches.push_back(std::make_unique<DeafWatch>(flags));
  std::atomic<bool> over = false;
  std::atomic<int64_t> sent = 0, refused = 0;
  v1::GetJobRequest large;
  large.set_job(std::string(4'000'000, 'x'));
  std::vector<std::thread> senders;
  for (int i = 0; i < flags.senders; ++i) {
    senders.emplace_back([&] {
      const ClientChannel channel = *CreateChannel(flags.user);
      const auto stub = v1::JobService::NewStub(channel.channel);
      while (!over) {
        grpc::ClientContext context;
        channel.Prepare(&context, absl::Seconds(30));
        v1::GetJobResponse response;
        const absl::Status status = FromGrpc(stub->GetJob(&context, large, &response));
        ++(absl::IsResourceExhausted(status) || absl::IsUnavailable(status) ? refused : sent);
      }
    });
  }
  const ClientChannel channel = *CreateChannel(flags.user);
  const auto stub = v1::JobService::NewStub(channel.channel);
  std::vector<double> answers;
  int64_t failed = 0, first = -1, last = 0;
  absl::Time first_time, last_time;
  for (const absl::Time end = absl::Now() + absl::Seconds(flags.seconds); absl::Now() < end;) {
    grpc::ClientContext context;
    channel.Prepare(&context, absl::Seconds(30));
    v1::GetJobRequest request;
    request.set_job(flags.job);
    v1::GetJobResponse response;
    const absl::Time begin = absl::Now();
    if (stub->GetJob(&context, request, &response).ok()) {
      last_time = absl::Now();
      last = response.job().search_finished();
      answers.push_back(absl::ToDoubleSeconds(last_time - begin));
      if (first < 0) first = last, first_time = last_time;
    } else {
      ++failed;
    }
    absl::SleepFor(absl::Milliseconds(100));
  }
  over = true;
  for (std::thread& sender : senders) sender.join();
  std::sort(answers.begin(), answers.end());
  const auto quantile = [&](double q) {
    return answers.empty() ? 0 : answers[static_cast<size_t>(q * static_cast<double>(answers.size() - 1))];
  };
  const double seconds = first < 0 ? 0 : absl::ToDoubleSeconds(last_time - first_time);
  std::cout << nlohmann::json({{"watches", flags.watches},
                               {"senders", flags.senders},
                               {"requests_of_4_mb", sent.load()},
                               {"refused", refused.load()},
                               {"answers", answers.size()},
                               {"answers_failed", failed},
                               {"answer_s_p50", quantile(0.5)},
                               {"answer_s_p99", quantile(0.99)},
                               {"answer_s_max", quantile(1)},
                               {"candidates_per_s", seconds > 0 ? static_cast<double>(last - first) / seconds : 0}})
                   .dump(1)
            << std::endl;
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("fleet_crowd: bad clients");
  Flags flags;
  app.add_option("--user", flags.user)->required();
  app.add_option("--job", flags.job);
  app.add_option("--watches", flags.watches);
  app.add_option("--senders", flags.senders);
  app.add_option("--seconds", flags.seconds);
  CLI11_PARSE(app, argc, argv);
  return Run(flags);
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }
