// Redis, a coordinator and two workers as separate processes, killed in the middle.
#include <httplib.h>
#include <signal.h>

#include <fstream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/store/open_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cluster/cluster_fixture.h"
#include "tests/common/store/redis_server.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using testing_support::Eventually;
using testing_support::Finished;
using testing_support::FreshDir;
using testing_support::Process;
using testing_support::RunToEnd;

constexpr int kCandidates = 60;
constexpr int kSamples = 60;

class FleetTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = FreshDir("fleet");
    job_ = WriteJob(dir_, kCandidates, kSamples);
    auto redis = RedisServer::Start();
    if (absl::IsNotFound(redis.status())) GTEST_SKIP() << redis.status();
    ASSERT_TRUE(redis.ok()) << redis.status();
    redis_ = *std::move(redis);
    auto store = OpenStore(redis_->uri(), {});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    StartCoordinator("127.0.0.1:0", "127.0.0.1:0");
  }

  // Ports of 0 are chosen by the system; a restart keeps those of the first start.
  void StartCoordinator(const std::string& listen, const std::string& worker_listen, const std::string& store = "") {
    const std::string ports = dir_ + "/ports";
    std::remove(ports.c_str());
    coordinator_ = std::make_unique<Process>(
        "coordinator",
        std::vector<std::string>{Binary("merganser-coordinator"), "--listen", listen, "--worker-listen", worker_listen,
                                 "--http", "127.0.0.1:0", "--store", store.empty() ? redis_->uri() : store, "--port-file",
                                 ports, "--leader-lease", "2s", "--lease", "5s", "--heartbeat", "500ms", "--reattach", "2s"},
        dir_);
    ASSERT_TRUE(Eventually([&] { return std::ifstream(ports).good(); })) << coordinator_->Stderr();
    std::ifstream in(ports);
    std::string name, address;
    while (in >> name >> address) {
      if (name == "user") server_ = address;
      if (name == "worker") worker_server_ = address;
      if (name == "http") http_ = address;
    }
    ASSERT_FALSE(server_.empty() || worker_server_.empty());
  }

  std::unique_ptr<Process> StartWorker(const std::string& name, const std::string& store = "") {
    return std::make_unique<Process>(
        name,
        std::vector<std::string>{Binary("merganser-worker"), "--coordinator", worker_server_, "--store",
                                 store.empty() ? redis_->uri() : store, "--device", "cpu", "--threads", "1", "--name", name,
                                 "--http", "127.0.0.1:0", "--spool-dir", absl::StrCat(dir_, "/spool-", name)},
        dir_);
  }

  Finished Client(std::vector<std::string> args) {
    args.insert(args.begin(), Binary("merganser"));
    args.push_back("--server");
    args.push_back(server_);
    return RunToEnd(args, dir_);
  }

  bool Finished_(int at_least) {
    return Eventually([&] { return SearchFinished(*store_, "job-1") >= at_least; });
  }

  void ExpectSameAsOneProcess() {
    const Finished run =
        RunToEnd({Binary("merganser"), "run", job_, "--out", dir_ + "/run", "--threads", "1", "--device", "cpu"}, dir_);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    OpenStoreOptions options;
    options.read_only = true;
    auto reference = OpenStore(absl::StrCat("sqlite:", dir_, "/run/run.db"), options);
    ASSERT_TRUE(reference.ok()) << reference.status();
    EXPECT_EQ(Results(ReadLog(*store_, "job-1")), Results(ReadLog(**reference, "job-1")));
  }

  std::string dir_, job_, server_, worker_server_, http_;
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<ResultsStore> store_;
  std::unique_ptr<Process> coordinator_;
};

TEST_F(FleetTest, FindsTheSameBestCandidateAsOneProcess) {
  const auto first = StartWorker("first"), second = StartWorker("second");
  const Finished submitted = Client({"submit", job_, "--wait"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted.err << coordinator_->Stderr() << first->Stderr();
  ExpectNothingLost(*store_, ReadLog(*store_, "job-1"), kCandidates);
  ExpectSameAsOneProcess();

  const Finished jobs = Client({"jobs", "-o", "json"});
  EXPECT_EQ(jobs.exit_code, 0) << jobs.err;
  EXPECT_THAT(jobs.out, HasSubstr("succeeded"));
  const Finished workers = Client({"workers"});
  EXPECT_THAT(workers.out, HasSubstr("first"));
  EXPECT_THAT(workers.out, HasSubstr("second"));
  const Finished best = Client({"best", "job-1", "-o", "json"});
  EXPECT_EQ(best.exit_code, 0) << best.err;
  const Finished exported = Client({"export", "job-1", "--out", dir_ + "/exported"});
  EXPECT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_TRUE(std::ifstream(dir_ + "/exported/model.safetensors").good());
  const Finished published = Client({"export", "job-1", "--out", dir_ + "/published", "--form", "evomistral"});
  EXPECT_EQ(published.exit_code, 0) << published.err;
  EXPECT_THAT(*ReadFile(dir_ + "/published/config.json", 1 << 20), HasSubstr("EvoMistralForCausalLM"));
  EXPECT_EQ(Client({"describe", "job-9"}).exit_code, 3);
  const Finished logs = Client({"logs", "job-1/1", "--samples"});
  EXPECT_THAT(logs.out, HasSubstr("ja_math 0: ")) << "a coordinator hands records out too: " << logs.err;
}

TEST_F(FleetTest, KilledWorkerAndKilledCoordinatorLoseNothing) {
  auto first = StartWorker("first"), second = StartWorker("second");
  ASSERT_EQ(Client({"submit", job_}).exit_code, 0);
  ASSERT_TRUE(Finished_(10)) << coordinator_->Stderr() << first->Stderr();
  first->Signal(SIGKILL);
  first->Wait(absl::Minutes(1));
  ASSERT_TRUE(Finished_(20)) << coordinator_->Stderr() << second->Stderr();
  coordinator_->Signal(SIGKILL);
  coordinator_->Wait(absl::Minutes(1));
  StartCoordinator(server_, worker_server_);
  first = StartWorker("third");
  const Finished waited = Client({"wait", "job-1", "--timeout", "4m"});
  ASSERT_EQ(waited.exit_code, 0) << waited.err << coordinator_->Stderr() << second->Stderr();
  ExpectNothingLost(*store_, ReadLog(*store_, "job-1"), kCandidates);
  ExpectSameAsOneProcess();
}

// As a probe sees it.
TEST_F(FleetTest, ACoordinatorIsReadyWhileItLeadsAndItsStoreIsThere) {
  const auto get = [&](const std::string& address, const char* path) {
    const httplib::Result result = httplib::Client("http://" + address).Get(path);
    return result ? absl::StrCat(result->status, " ", result->body) : httplib::to_string(result.error());
  };
  const auto eventually = [&](const std::string& address, const char* path, const char* said) {
    return Eventually([&] { return absl::StrContains(get(address, path), said); });
  };
  EXPECT_TRUE(eventually(http_, "/readyz", "200 ready")) << get(http_, "/readyz");
  const auto leader = std::move(coordinator_);
  const std::string leading = http_;
  StartCoordinator("127.0.0.1:0", "127.0.0.1:0");
  EXPECT_TRUE(eventually(http_, "/readyz", "503 not ready: this coordinator does not lead")) << get(http_, "/readyz");
  EXPECT_TRUE(eventually(http_, "/metrics", "merganser_store_up 1"));
  redis_->Kill();
  EXPECT_TRUE(eventually(leading, "/readyz", "503 not ready: the results store is away")) << get(leading, "/readyz");
  EXPECT_TRUE(eventually(http_, "/metrics", "merganser_store_up 0")) << "one that stands by looks, too";
  EXPECT_THAT(get(leading, "/healthz"), HasSubstr("200 ok")) << "a restart would not help";
  ASSERT_TRUE(redis_->Restart().ok());
  EXPECT_TRUE(
      Eventually([&] { return get(leading, "/readyz") == "200 ready\n" || get(http_, "/readyz") == "200 ready\n"; }));
}

TEST_F(FleetTest, KilledStoreLosesNothing) {
  const auto first = StartWorker("first"), second = StartWorker("second");
  ASSERT_EQ(Client({"submit", job_}).exit_code, 0);
  ASSERT_TRUE(Finished_(10)) << coordinator_->Stderr() << first->Stderr();
  redis_->Kill();
  ASSERT_TRUE(redis_->Restart().ok());
  const Finished waited = Client({"wait", "job-1", "--timeout", "4m"});
  if (waited.exit_code == 6 || !coordinator_->Running()) {
    // The leader's lease may run out while the store is away: it stands down, and its supervisor
    // starts it again.
    coordinator_->Signal(SIGKILL);
    coordinator_->Wait(absl::Minutes(1));
    StartCoordinator(server_, worker_server_);
    ASSERT_EQ(Client({"wait", "job-1", "--timeout", "4m"}).exit_code, 0) << coordinator_->Stderr();
  } else {
    ASSERT_EQ(waited.exit_code, 0) << waited.err << coordinator_->Stderr();
  }
  ExpectNothingLost(*store_, ReadLog(*store_, "job-1"), kCandidates);
}

TEST_F(FleetTest, TerminatedWorkerFinishesItsCandidateAndLeaves) {
  const auto first = StartWorker("first"), second = StartWorker("second");
  ASSERT_EQ(Client({"submit", job_}).exit_code, 0);
  ASSERT_TRUE(Finished_(10)) << coordinator_->Stderr() << first->Stderr();
  first->Signal(SIGTERM);
  EXPECT_EQ(first->Wait(absl::Minutes(2)), 143) << first->Stderr();
  const Finished waited = Client({"wait", "job-1", "--timeout", "4m"});
  ASSERT_EQ(waited.exit_code, 0) << waited.err << coordinator_->Stderr();
  ExpectNothingLost(*store_, ReadLog(*store_, "job-1"), kCandidates);
}

TEST_F(FleetTest, ADamagedLogSetsItsJobAsideAndWhatIsSalvagedGoesOn) {
  const std::string brief = WriteJob(dir_, 4, 10);
  const std::string other = dir_ + "/other.yaml";
  ASSERT_TRUE(
      WriteFileAtomically(other, absl::StrReplaceAll(*ReadFile(brief, 1 << 20), {{"name: ja-math", "name: other"}})).ok());
  ASSERT_EQ(Client({"submit", brief}).exit_code, 0);
  ASSERT_EQ(Client({"submit", other}).exit_code, 0);
  const auto stop = [&] {
    coordinator_->Signal(SIGTERM);
    EXPECT_EQ(coordinator_->Wait(absl::Minutes(1)), 143) << coordinator_->Stderr();
  };
  stop();
  const int64_t end = ReadLog(*store_, "job-1").seq;
  const int64_t epoch = *store_->Lead("test", absl::Seconds(5));
  ASSERT_TRUE(store_->Append(epoch, "job-1", end, {"\xff\xff damaged"}).ok());
  ASSERT_TRUE(store_->ReleaseLead(epoch).ok());

  StartCoordinator(server_, worker_server_);
  auto worker = StartWorker("first");
  const std::string reason = absl::StrCat("job-1 event ", end + 1, ": ");
  Finished waited = Client({"wait", "job-2", "--timeout", "4m"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err << coordinator_->Stderr() << worker->Stderr();
  waited = Client({"wait", "job-1", "--timeout", "2m"});
  EXPECT_EQ(waited.exit_code, 1);
  EXPECT_THAT(waited.err, HasSubstr(reason));
  const Finished watched = Client({"watch", "job-1"});
  EXPECT_EQ(watched.exit_code, 1);
  EXPECT_THAT(watched.err, HasSubstr(reason));
  const Finished jobs = Client({"jobs"});
  EXPECT_THAT(jobs.out, HasSubstr("damaged"));
  EXPECT_THAT(jobs.err, HasSubstr(reason));
  const Finished described = Client({"describe", "job-1"});
  EXPECT_THAT(described.out, HasSubstr(absl::StrCat("`merganser store migrate --salvage ", store_->uri(), " NEW_STORE`")));
  EXPECT_EQ(Client({"events", "job-1"}).exit_code, 1);
  const Finished submitted = Client({"submit", brief});
  EXPECT_NE(submitted.exit_code, 0);
  EXPECT_THAT(submitted.err, HasSubstr("submit under another name"));
  EXPECT_NE(Client({"resume", "job-1"}).exit_code, 0) << "nothing has mended it";
  EXPECT_EQ(RunToEnd({Binary("merganser"), "store", "verify", redis_->uri()}, dir_).exit_code, 1);

  // The way out, as it is told.
  worker->Signal(SIGTERM);
  worker->Wait(absl::Minutes(2));
  stop();
  const std::string mended = absl::StrReplaceAll(absl::StrCat(redis_->uri(), "\n"), {{"/0\n", "/1"}});
  ASSERT_NE(mended, redis_->uri());
  const Finished salvaged = RunToEnd({Binary("merganser"), "store", "migrate", "--salvage", redis_->uri(), mended}, dir_);
  ASSERT_EQ(salvaged.exit_code, 0) << salvaged.err;
  EXPECT_THAT(salvaged.err, HasSubstr(reason));
  StartCoordinator(server_, worker_server_, mended);
  worker = StartWorker("second", mended);
  waited = Client({"wait", "job-1", "--timeout", "4m"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err << coordinator_->Stderr() << worker->Stderr();
  EXPECT_EQ(Client({"wait", "job-2", "--timeout", "2m"}).exit_code, 0);
}

}  // namespace
}  // namespace merganser
