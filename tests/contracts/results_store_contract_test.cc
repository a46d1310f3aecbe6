// The three results stores under their contract.
#include "tests/contracts/results_store_contract.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/store/memory/memory_store.h"
#include "common/store/redis/redis_store.h"
#include "common/store/sqlite/sqlite_store.h"
#include "tests/common/store/redis_server.h"

namespace merganser {
namespace {

// Stands still until it is told to move.
class StoppedClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'700'000'000) + Monotonic(); }
  absl::Duration Monotonic() const override {
    absl::MutexLock lock(&mu_);
    return elapsed_;
  }
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mu_);
    elapsed_ += by;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mu_) = absl::Seconds(1000);
};

class MemoryWorld final : public StoreWorld {
 public:
  ResultsStore& store() override { return store_; }
  bool Reopen() override { return false; }
  void Advance(absl::Duration by) override { clock_.Advance(by); }

 private:
  StoppedClock clock_;
  MemoryStore store_{clock_};
};

class SqliteWorld final : public StoreWorld {
 public:
  SqliteWorld() {
    static int count = 0;
    dir_ = absl::StrCat(testing::TempDir(), "/store-contract-", getpid(), "-", ++count);
    std::filesystem::create_directories(dir_);
    Open();
  }
  ~SqliteWorld() override {
    store_.reset();
    std::filesystem::remove_all(dir_);
  }
  ResultsStore& store() override { return *store_; }
  bool Reopen() override {
    store_.reset();
    Open();
    return true;
  }
  void Advance(absl::Duration by) override { clock_.Advance(by); }

 private:
  void Open() {
    SqliteOptions options;
    options.clock = &clock_;
    store_ = SqliteStore::Open(dir_ + "/run.db", options).value();
  }
  StoppedClock clock_;
  std::string dir_;
  std::unique_ptr<SqliteStore> store_;
};

// One server for the whole run of this binary; each test has keys of its own.
class RedisWorld final : public StoreWorld {
 public:
  static absl::StatusOr<std::unique_ptr<RedisServer>>& Server() {
    static auto* server = new absl::StatusOr<std::unique_ptr<RedisServer>>(RedisServer::Start());
    return *server;
  }
  RedisWorld() {
    static int count = 0;
    options_.port = (*Server())->port();
    options_.prefix = absl::StrCat("test", ++count, ":");
    Reopen();
  }
  ResultsStore& store() override { return *store_; }
  bool Reopen() override {
    store_ = RedisStore::Open(options_).value();
    return true;
  }

 private:
  RedisOptions options_;
  std::unique_ptr<RedisStore> store_;
};

class StopRedis final : public testing::Environment {
 public:
  void TearDown() override {
    if (RedisWorld::Server().ok()) RedisWorld::Server()->reset();
  }
};
const testing::Environment* const kStopRedis = testing::AddGlobalTestEnvironment(new StopRedis);

INSTANTIATE_TEST_SUITE_P(All, ResultsStoreContract,
                         testing::Values(StoreKind{"memory", [](std::string&) { return std::make_unique<MemoryWorld>(); }},
                                         StoreKind{"sqlite", [](std::string&) { return std::make_unique<SqliteWorld>(); }},
                                         StoreKind{"redis",
                                                   [](std::string& reason) -> std::unique_ptr<StoreWorld> {
                                                     if (!RedisWorld::Server().ok()) {
                                                       reason = RedisWorld::Server().status().ToString();
                                                       // Only a missing program excuses; one that does not start is a failure.
                                                       if (!absl::IsNotFound(RedisWorld::Server().status()))
                                                         ADD_FAILURE() << reason;
                                                       return nullptr;
                                                     }
                                                     return std::make_unique<RedisWorld>();
                                                   }}),
                         [](const testing::TestParamInfo<StoreKind>& info) { return info.param.name; });

}  // namespace
}  // namespace merganser
