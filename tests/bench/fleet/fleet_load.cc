// Workers that evaluate nothing, thousands of them in one process: real sessions over gRPC (a connection each), real records
// in Redis, real reports; no thread of their own. Prints one JSON object.
//
//   fleet_load --user HOST:PORT --worker HOST:PORT --store redis://HOST:PORT --workers 16 --candidates 10000
//              --candidate-ms 1000 --population 1000
//
// With --leave-after N it goes once N candidates are finished, and leaves the job as it is; with --attach JOB it works on
// that job, until it has finished --candidates more, instead of creating one.
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/sha256.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/time_codec.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "common/store/open_store.h"
#include "coordinator/rpc/call_pool.h"
#include "merganser/v1/job_service.grpc.pb.h"
#include "merganser/v1/worker_service.grpc.pb.h"
#include "nlohmann/json.hpp"

namespace merganser {
namespace {

struct Flags {
  std::string user, worker, store, attach, prefix = "load-";
  int workers = 16, candidates = 1000, population = 100, candidate_ms = 0;
  int64_t leave_after = 0;
  double seconds_max = 3600;
};

// Steps at their time, on one thread.
class Timers {
 public:
  Timers() : thread_([this] { Run(); }) {}
  ~Timers() {
    {
      absl::MutexLock lock(&mu_);
      stop_ = true;
    }
    thread_.join();
  }
  void At(absl::Time time, std::function<void()> step) {
    absl::MutexLock lock(&mu_);
    steps_.emplace(time, std::move(step));
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> step;
      {
        absl::MutexLock lock(&mu_);
        if (stop_) return;
        if (steps_.empty() || steps_.begin()->first > absl::Now()) {
          mu_.Unlock();
          absl::SleepFor(absl::Milliseconds(1));
          mu_.Lock();
          continue;
        }
        step = std::move(steps_.begin()->second);
        steps_.erase(steps_.begin());
      }
      step();
    }
  }
  absl::Mutex mu_;
  std::multimap<absl::Time, std::function<void()>> steps_;
  bool stop_ = false;
  std::thread thread_;
};

struct Shared {
  const Flags& flags;
  Timers timers;
  // Of real workers each has a thread and a connection of its own for its records: here 128 of both, which is RedisPool's
  // bound eight times.
  CallPool pool{128, 1 << 20};
  std::vector<std::unique_ptr<RecordStore>> records;
  absl::Mutex mu;
  std::map<int64_t, absl::Time> received;  // of search candidates
  std::string refusal;                     // the first one's message
  std::atomic<int64_t> committed{0}, welcomed{0}, broken{0}, refused{0};
  std::atomic<int64_t> first_assign_us{0};  // since the epoch
  std::atomic<bool> over{false};
};

class Worker final : public grpc::ClientBidiReactor<v1::SessionRequest, v1::SessionResponse> {
 public:
  Worker(Shared* shared, int number)
      : shared_(*shared),
        id_(absl::StrCat(shared->flags.prefix, number)),
        records_(*shared->records[number % shared->records.size()]) {
    channel_ = *CreateChannel(shared_.flags.worker);
    stub_ = v1::WorkerService::NewStub(channel_.channel);
    channel_.Prepare(&context_, absl::InfiniteDuration());
    stub_->async()->Session(&context_, this);
    AddHold();
    v1::SessionRequest hello;
    hello.mutable_hello()->set_worker_id(id_);
    hello.mutable_hello()->set_name(id_);
    hello.mutable_hello()->set_slots(1);
    StartRead(&incoming_);
    StartCall();
    Send(std::move(hello));
    shared_.timers.At(absl::Now() + absl::Milliseconds(number % 5000), [this] { Beat(); });
  }

  void Leave() {
    context_.TryCancel();
    RemoveHold();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&done_));
  }

 private:
  void Send(v1::SessionRequest message) {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    writes_.push_back(std::move(message));
    if (writes_.size() == 1) StartWrite(&writes_.front());
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writes_.pop_front();
    if (!ok) closed_ = true;
    if (!closed_ && !writes_.empty()) StartWrite(&writes_.front());
  }
  void Beat() {
    v1::SessionRequest message;
    message.mutable_heartbeat();
    {
      absl::MutexLock lock(&mu_);
      for (const auto& [number, assign] : held_) {
        v1::RunningAttempt* running = message.mutable_heartbeat()->add_running();
        running->set_job_id(assign.job_id());
        running->set_candidate(assign.candidate());
        running->set_attempt(assign.attempt());
        running->set_token(assign.token());
        running->set_phase("evaluate");
      }
    }
    Send(std::move(message));
    if (!shared_.over) shared_.timers.At(absl::Now() + absl::Seconds(5), [this] { Beat(); });
  }
  void OnReadDone(bool ok) override {
    if (!ok) {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      if (!shared_.over) ++shared_.broken;
      return;
    }
    if (incoming_.has_welcome()) ++shared_.welcomed;
    if (incoming_.has_assign()) {
      const v1::Assign& assign = incoming_.assign();
      int64_t none = 0;
      shared_.first_assign_us.compare_exchange_strong(none, absl::ToUnixMicros(absl::Now()));
      if (assign.kind() == "search") {
        absl::MutexLock lock(&shared_.mu);
        shared_.received.emplace(assign.candidate(), absl::Now());
      }
      absl::MutexLock lock(&mu_);
      held_[assign.candidate()] = assign;
      queue_.push_back(assign.candidate());
      if (queue_.size() == 1) Begin();
    }
    StartRead(&incoming_);
  }
  void Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const int64_t number = queue_.front();
    shared_.timers.At(absl::Now() + absl::Milliseconds(shared_.flags.candidate_ms), [this, number] {
      v1::Assign assign;
      {
        absl::MutexLock lock(&mu_);
        assign = held_[number];
        queue_.pop_front();
        if (!queue_.empty()) Begin();
      }
      shared_.pool.Run([this, assign] { Record(assign); });
    });
  }
  void Record(const v1::Assign& assign) {
    v1::ResultRecord record;
    record.set_job_id(assign.job_id());
    record.set_candidate(assign.candidate());
    record.set_attempt(assign.attempt());
    record.set_token(assign.token());
    record.set_worker(id_);
    if (assign.kind() == "prepare") {
      record.mutable_facts()->set_num_layers(2);
    } else {
      for (const std::string& name : assign.benchmarks()) {
        v1::BenchmarkResult* result = record.mutable_evaluation()->add_results();
        result->set_benchmark(name);
        (*result->mutable_metrics())["acc"] = static_cast<double>(assign.candidate() % 97) / 97;
        result->add_samples()->set_completion(std::string(1000, 'x'));  // the 1 KiB of a small record
      }
    }
    const std::string bytes = SerializeDeterministic(record);
    while (!shared_.over && !records_.PutRecord(assign.record_key(), bytes).ok()) absl::SleepFor(absl::Milliseconds(50));
    auto call = std::make_shared<Call>();
    call->request.set_job_id(assign.job_id());
    call->request.set_candidate(assign.candidate());
    call->request.set_attempt(assign.attempt());
    call->request.set_token(assign.token());
    call->request.set_worker_id(id_);
    call->request.mutable_record()->set_key(assign.record_key());
    call->request.mutable_record()->set_sha256(Sha256Hex(bytes));
    Report(call);
  }
  struct Call {
    v1::ReportAttemptRequest request;
    v1::ReportAttemptResponse response;
    std::unique_ptr<grpc::ClientContext> context;
  };
  void Report(const std::shared_ptr<Call>& call) {
    call->context = std::make_unique<grpc::ClientContext>();
    channel_.Prepare(call->context.get(), absl::Seconds(60));
    stub_->async()->ReportAttempt(call->context.get(), &call->request, &call->response, [this, call](grpc::Status status) {
      if (!status.ok()) {
        if (++shared_.refused == 1) {
          absl::MutexLock lock(&shared_.mu);
          shared_.refusal = status.error_message();
        }
        if (!shared_.over) shared_.timers.At(absl::Now() + absl::Milliseconds(200), [this, call] { Report(call); });
        return;
      }
      if (call->response.disposition() == "committed") ++shared_.committed;
      absl::MutexLock lock(&mu_);
      held_.erase(call->request.candidate());
    });
  }
  void OnDone(const grpc::Status&) override {
    absl::MutexLock lock(&mu_);
    closed_ = done_ = true;
  }

  Shared& shared_;
  const std::string id_;
  RecordStore& records_;
  ClientChannel channel_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  v1::SessionResponse incoming_;
  absl::Mutex mu_;
  std::deque<v1::SessionRequest> writes_;
  std::map<int64_t, v1::Assign> held_;
  std::deque<int64_t> queue_;
  bool closed_ = false, done_ = false;
};

JobSpec Job(const Flags& flags) {
  JobSpec spec;
  spec.name = "load";
  spec.models = {{"base", "m/base"}, {"a", "m/a"}, {"b", "m/b"}};
  spec.parameter.method = "task_arithmetic";
  spec.parameter.base = "base";
  spec.parameter.sources = {"a", "b"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds = {{"weight", {0, 2}}};
  spec.optimizer.name = "random";
  spec.optimizer.numbers = {{"population", flags.population}};
  spec.objectives = {{"b", "acc"}};
  spec.benchmarks = {{.name = "b", .use = "mgsm_ja", .data = "train.jsonl"}};
  spec.budget.candidates = flags.candidates;
  return spec;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<int64_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

int Run(const Flags& flags) {
  Shared shared{.flags = flags};
  for (int i = 0; i < 8; ++i) {
    auto records = OpenRecordStore(flags.store);
    if (records.ok()) {
      shared.records.push_back(*std::move(records));
      continue;
    }
    std::cerr << records.status() << "\n";
    return 1;
  }
  std::vector<std::unique_ptr<Worker>> workers;
  const absl::Time dial = absl::Now();
  for (int i = 0; i < flags.workers; ++i) workers.push_back(std::make_unique<Worker>(&shared, i));
  while (shared.welcomed < flags.workers && absl::Now() - dial < absl::Minutes(2)) absl::SleepFor(absl::Milliseconds(10));
  const double connect_s = absl::ToDoubleSeconds(absl::Now() - dial);

  const ClientChannel channel = *CreateChannel(flags.user);
  const auto jobs = v1::JobService::NewStub(channel.channel);
  v1::CreateJobRequest request;
  *request.mutable_spec() = ToProto(Job(flags));
  v1::CreateJobResponse created;
  if (flags.attach.empty()) {
    grpc::ClientContext context;
    channel.Prepare(&context, absl::Seconds(30));
    if (const absl::Status status = FromGrpc(jobs->CreateJob(&context, request, &created)); !status.ok()) {
      std::cerr << status << "\n";
      return 1;
    }
  }
  const std::string job = flags.attach.empty() ? created.job().id() : flags.attach;
  const absl::Time begin = absl::Now();
  v1::Job last;
  int64_t done_before = -1;
  while (absl::ToDoubleSeconds(absl::Now() - begin) < flags.seconds_max) {
    grpc::ClientContext context;
    channel.Prepare(&context, absl::Seconds(30));
    v1::GetJobRequest get;
    get.set_job(job);
    v1::GetJobResponse response;
    if (jobs->GetJob(&context, get, &response).ok()) last = response.job();
    if (last.has_end_time()) break;
    if (done_before < 0) done_before = last.search_finished();
    if (flags.leave_after > 0 && last.search_finished() >= flags.leave_after) break;
    if (!flags.attach.empty() && last.search_finished() - done_before >= flags.candidates) break;
    absl::SleepFor(absl::Milliseconds(200));
  }
  shared.over = true;
  if (!flags.attach.empty() || flags.leave_after > 0) {
    std::cout << nlohmann::json({{"job", job},
                                 {"workers", flags.workers},
                                 {"search_finished", last.search_finished()},
                                 {"first_assign_unix_s", static_cast<double>(shared.first_assign_us) / 1e6},
                                 {"wall_s", absl::ToDoubleSeconds(absl::Now() - begin)}})
                     .dump(1)
              << std::endl;
    _exit(0);
  }

  // From the log: when the search began and ended, and when each candidate was queued.
  OpenStoreOptions read_only;
  read_only.read_only = true;
  const auto store = *OpenStore(flags.store, read_only);
  absl::Time first = absl::InfiniteFuture(), end = absl::InfinitePast();
  std::vector<double> latency_ms;
  for (int64_t seq = 0;;) {
    const auto page = store->ReadEvents(job, seq, 1000);
    if (!page.ok() || page->empty()) break;
    for (const StoredEvent& stored : *page) {
      seq = stored.seq;
      const JobEvent event = *ProtoJobCodec().DecodeEvent(stored.body);
      const auto* proposed = std::get_if<CandidatesProposed>(&event.body);
      if (std::get_if<CandidateFinished>(&event.body) != nullptr) end = std::max(end, event.time);
      if (proposed == nullptr || proposed->candidates.empty() || proposed->candidates[0].kind != CandidateKind::kSearch)
        continue;
      first = std::min(first, event.time);
      absl::MutexLock lock(&shared.mu);
      for (const Candidate& candidate : proposed->candidates) {
        const auto received = shared.received.find(candidate.number);
        if (received != shared.received.end())
          latency_ms.push_back(absl::ToDoubleMilliseconds(received->second - event.time));
      }
    }
  }
  const double seconds = absl::ToDoubleSeconds(end - first);
  std::cout << nlohmann::json({{"workers", flags.workers},
                               {"candidates", flags.candidates},
                               {"candidate_ms", flags.candidate_ms},
                               {"population", flags.population},
                               {"state", last.state()},
                               {"search_finished", last.search_finished()},
                               {"committed", shared.committed.load()},
                               {"sessions_broken", shared.broken.load()},
                               {"reports_refused", shared.refused.load()},
                               {"first_refusal", shared.refusal},
                               {"connect_s", connect_s},
                               {"search_s", seconds},
                               {"completions_per_s", static_cast<double>(last.search_finished()) / seconds},
                               {"proposed_to_received_ms_p50", Quantile(latency_ms, 0.5)},
                               {"proposed_to_received_ms_p99", Quantile(latency_ms, 0.99)}})
                   .dump(1)
            << std::endl;
  for (auto& worker : workers) worker->Leave();
  _exit(last.state() == "succeeded" ? 0 : 1);  // timers may hold steps of workers that are gone
}

int Main(int argc, char** argv) {
  CLI::App app("fleet_load: thousands of workers that evaluate nothing");
  Flags flags;
  app.add_option("--user", flags.user)->required();
  app.add_option("--worker", flags.worker)->required();
  app.add_option("--store", flags.store)->required();
  app.add_option("--workers", flags.workers);
  app.add_option("--candidates", flags.candidates);
  app.add_option("--population", flags.population);
  app.add_option("--candidate-ms", flags.candidate_ms);
  app.add_option("--leave-after", flags.leave_after);
  app.add_option("--attach", flags.attach);
  app.add_option("--id-prefix", flags.prefix);  // of the workers' ids: those of another are other workers
  app.add_option("--seconds-max", flags.seconds_max);
  CLI11_PARSE(app, argc, argv);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as the coordinator
  return Run(flags);
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }
