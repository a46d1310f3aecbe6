#include "tests/chaos/chaos_fleet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "common/store/open_store.h"
#include "coordinator/job/job_state.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.grpc.pb.h"
#include "merganser/v1/job_service.grpc.pb.h"

namespace merganser {
namespace {

using testing_support::Eventually;
using testing_support::FreshDir;
using testing_support::Process;
using testing_support::RunToEnd;

std::string Built(const std::string& path) {
  return std::filesystem::absolute(absl::StrCat(MG_BINARY_DIR, "/", path)).string();
}

// Taken until the fleet's processes bind it; a restart keeps it.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  (void)bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  (void)getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

std::string At(const std::string& address, int port) { return absl::StrCat(address, ":", port); }

}  // namespace

absl::StatusOr<std::unique_ptr<ChaosFleet>> ChaosFleet::Start(ChaosOptions options) {
  std::unique_ptr<ChaosFleet> fleet(new ChaosFleet);
  fleet->dir_ = FreshDir("chaos");
  fleet->options_ = std::move(options);
  MG_ASSIGN_OR_RETURN(fleet->redis_, RedisServer::Start(fleet->options_.redis));
  MG_ASSIGN_OR_RETURN(fleet->store_, OpenStore(fleet->redis_->uri(), {}));
  for (int c = 0; c < kCoordinators; ++c) {
    fleet->user_ports_.push_back(FreePort());
    fleet->worker_ports_.push_back(FreePort());
    fleet->coordinators_.emplace_back();
    fleet->StartCoordinator(c);
  }
  for (int w = 0; w < fleet->options_.workers; ++w) {
    fleet->workers_.emplace_back();
    fleet->StartWorker(w);
  }
  if (!Eventually([&] { return fleet->Leader() >= 0; })) {
    return absl::UnavailableError(absl::StrCat("nobody leads: ", fleet->coordinators_[0]->Stderr()));
  }
  return fleet;
}

ChaosFleet::~ChaosFleet() {
  workers_.clear();
  coordinators_.clear();
}

ChaosOptions::Place ChaosFleet::PlaceOf(const std::map<int, ChaosOptions::Place>& places, int number) const {
  const auto it = places.find(number);
  return it == places.end() ? ChaosOptions::Place() : it->second;
}

std::string ChaosFleet::StoreAt(const ChaosOptions::Place& place) const {
  return absl::StrCat("redis://", At(place.redis, redis_->port()), "/0");
}

// As a worker reaches them that finds those which are here at `here`.
std::string ChaosFleet::WorkerServers(const std::string& here) const {
  std::vector<std::string> servers;
  for (int c = 0; c < kCoordinators; ++c) {
    const bool elsewhere = options_.coordinators.count(c) > 0;
    servers.push_back(At(elsewhere ? PlaceOf(options_.coordinators, c).address : here, worker_ports_[c]));
  }
  return absl::StrJoin(servers, ",");
}

std::string ChaosFleet::Servers() const {
  std::vector<std::string> servers;
  for (int c = 0; c < kCoordinators; ++c) servers.push_back(At(PlaceOf(options_.coordinators, c).address, user_ports_[c]));
  return absl::StrJoin(servers, ",");
}

void ChaosFleet::StartCoordinator(int c) {
  coordinators_[c].reset();
  const ChaosOptions::Place place = PlaceOf(options_.coordinators, c);
  // Here, and for workers elsewhere too.
  const std::string listen = options_.workers_at.empty() ? place.address : "0.0.0.0";
  std::vector<std::string> argv = place.prefix;
  for (const std::string& word :
       {Built("bin/merganser-coordinator"), std::string("--listen"), At(listen, user_ports_[c]),
        std::string("--worker-listen"), At(listen, worker_ports_[c]), std::string("--http"), std::string(),
        std::string("--store"), StoreAt(place), std::string("--holder"), absl::StrCat("coordinator-", c),
        std::string("--leader-lease"), std::string("2s"), std::string("--lease"), std::string("5s"),
        std::string("--heartbeat"), std::string("500ms"), std::string("--reattach"), std::string("2s")}) {
    argv.push_back(word);
  }
  if (listen != "127.0.0.1") argv.emplace_back("--insecure");
  coordinators_[c] = std::make_unique<Process>(absl::StrCat("coordinator-", c, "-", ++starts_), argv, dir_,
                                               std::map<std::string, std::string>{{"HF_HUB_OFFLINE", "1"}});
}

void ChaosFleet::StartWorker(int w) {
  workers_[w].reset();
  const ChaosOptions::Place place = PlaceOf(options_.workers_at, w);
  std::vector<std::string> argv = place.prefix;
  for (const std::string& word :
       {Built("tests/fake_worker"), std::string("--coordinator"), WorkerServers(place.redis), std::string("--store"),
        StoreAt(place), std::string("--spool-dir"), absl::StrCat(dir_, "/spool-", w), std::string("--acked"),
        dir_ + "/acked", std::string("--name"), absl::StrCat("fake-", w), std::string("--evaluate-ms"),
        absl::StrCat(options_.evaluate_ms)}) {
    argv.push_back(word);
  }
  workers_[w] = std::make_unique<Process>(absl::StrCat("worker-", w, "-", ++starts_), argv, dir_);
}

void ChaosFleet::Supervise() {
  for (int c = 0; c < kCoordinators; ++c) {
    if (!coordinators_[c]->Running()) StartCoordinator(c);
  }
  for (int w = 0; w < workers(); ++w) {
    if (!workers_[w]->Running()) StartWorker(w);
  }
}

int ChaosFleet::Leader() {
  for (int c = 0; c < kCoordinators; ++c) {
    const absl::StatusOr<ClientChannel> channel =
        CreateChannel(At(PlaceOf(options_.coordinators, c).address, user_ports_[c]));
    if (!channel.ok()) continue;
    grpc::ClientContext context;
    channel->Prepare(&context, absl::Seconds(1));
    v1::ListWorkersResponse response;
    if (v1::FleetService::NewStub(channel->channel)->ListWorkers(&context, {}, &response).ok()) return c;
  }
  return -1;
}

int ChaosFleet::AwaitLeader() {
  int leader = -1;
  Eventually([&] { return (leader = Leader()) >= 0; });
  return leader;
}

int64_t ChaosFleet::FinishedBy(int w) {
  v1::ListWorkersResponse response;
  // A machine that is busy elsewhere may let the second pass in which a leader answers.
  const bool answered = Eventually([&] {
    const int leader = Leader();
    if (leader < 0) return false;
    const absl::StatusOr<ClientChannel> channel =
        CreateChannel(At(PlaceOf(options_.coordinators, leader).address, user_ports_[leader]));
    grpc::ClientContext context;
    channel->Prepare(&context, absl::Seconds(1));
    return v1::FleetService::NewStub(channel->channel)->ListWorkers(&context, {}, &response).ok();
  });
  if (!answered) return -1;
  int64_t finished = 0;
  for (const v1::Worker& worker : response.workers()) {
    if (worker.name() == absl::StrCat("fake-", w)) finished += worker.finished();
  }
  return finished;
}

bool ChaosFleet::EventuallyLeads(int c) {
  return Eventually([&] {
    if (!coordinators_[c]->Running()) StartCoordinator(c);
    return Leader() == c;
  });
}

std::string ChaosFleet::Submit(const JobSpec& spec) {
  std::string id;
  Eventually([&] {
    const int c = Leader();
    if (c < 0) return false;
    const absl::StatusOr<ClientChannel> channel =
        CreateChannel(At(PlaceOf(options_.coordinators, c).address, user_ports_[c]));
    grpc::ClientContext context;
    channel->Prepare(&context, absl::Seconds(10));
    v1::CreateJobRequest request;
    *request.mutable_spec() = ToProto(spec);
    request.set_request_id(spec.name);
    v1::CreateJobResponse response;
    const absl::Status status = FromGrpc(v1::JobService::NewStub(channel->channel)->CreateJob(&context, request, &response));
    EXPECT_FALSE(absl::IsInvalidArgument(status)) << status;  // all else passes: one that leaves in the call may cancel it
    id = response.job().id();
    return !id.empty();
  });
  return id;
}

namespace {

absl::StatusOr<JobState> Replay(ResultsStore& store, const std::string& id, const JobSpec& spec) {
  JobState state(id, spec);
  while (true) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> page, store.ReadEvents(id, state.seq(), 1000));
    if (page.empty()) return state;
    for (const StoredEvent& stored : page) {
      MG_ASSIGN_OR_RETURN(const JobEvent event, ProtoJobCodec().DecodeEvent(stored.body));
      MG_RETURN_IF_ERROR(state.Apply(stored.seq, event));
    }
  }
}

absl::StatusOr<JobState> StateOf(ResultsStore& store, const std::string& id) {
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> jobs, store.ListJobs());
  for (const StoredJob& job : jobs) {
    if (job.id != id) continue;
    MG_ASSIGN_OR_RETURN(const JobSpec spec, ProtoJobCodec().DecodeSpec(job.spec));
    return Replay(store, id, spec);
  }
  return absl::NotFoundError(id);
}

}  // namespace

int64_t ChaosFleet::SearchFinished(const std::string& job) {
  const absl::StatusOr<JobState> state = StateOf(*store_, job);
  return state.ok() ? state->search_finished() : -1;
}

bool ChaosFleet::Over(const std::string& job) {
  const absl::StatusOr<JobState> state = StateOf(*store_, job);
  return state.ok() && state->over();
}

void ChaosFleet::Redis(const std::vector<std::string>& args) {
  std::vector<std::string> argv = {"/usr/bin/redis-cli", "-s", redis_->socket_path()};
  argv.insert(argv.end(), args.begin(), args.end());
  (void)RunToEnd(argv, dir_, absl::Seconds(10));
}

std::vector<AckedResult> ChaosFleet::Acked() const {
  std::vector<AckedResult> acked;
  std::ifstream in(dir_ + "/acked");
  for (AckedResult result; in >> result.job_id >> result.candidate >> result.record_key;) acked.push_back(result);
  return acked;
}

HistoryReport ChaosFleet::Check(const std::string& job) {
  HistoryOptions options;
  options.acked = Acked();
  options.must_be_over = true;
  const std::vector<StoredJob> jobs = store_->ListJobs().value_or(std::vector<StoredJob>());
  for (const StoredJob& stored : jobs) {
    if (stored.id != job) continue;
    const absl::StatusOr<HistoryReport> report = CheckHistory(store_.get(), ProtoJobCodec(), stored, options);
    EXPECT_TRUE(report.ok()) << report.status();
    if (report.ok()) return *report;
  }
  ADD_FAILURE() << "no job " << job;
  return {};
}

JobSpec ChaosJob(const std::string& name, int candidates, int population) {
  JobSpec spec;
  spec.name = name;
  spec.seed = 7;
  spec.models = {{"base", "m/base"}, {"ja", "m/ja"}, {"math", "m/math"}};
  spec.parameter.method = "task_arithmetic";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds = {{"weight", {0, 2}}};
  spec.optimizer.name = "random";
  spec.optimizer.numbers = {{"population", population}};
  spec.objectives = {{"sphere", "acc"}};
  spec.benchmarks = {{.name = "sphere", .use = "mgsm_ja", .data = "train.jsonl"}};
  spec.budget.candidates = candidates;
  spec.max_attempts = 20;  // workers die all the time here
  return spec;
}

}  // namespace merganser
