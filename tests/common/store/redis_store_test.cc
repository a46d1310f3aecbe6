#include "common/store/redis/redis_store.h"

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/store/open_store.h"
#include "common/store/redis/functions_lua.h"
#include "common/store/redis/redis_persistence.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/store/redis_server.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kLong = absl::Hours(1);

class RedisStoreTest : public testing::Test {
 protected:
  void SetUp() override { StartServer({}); }

  void StartServer(RedisServer::Options options) {
    auto server = RedisServer::Start(std::move(options));
    if (absl::IsNotFound(server.status())) GTEST_SKIP() << server.status();
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  RedisOptions Options() {
    RedisOptions options = ParseRedisUri(server_->uri()).value();
    // Failures come at once in the tests that look at them.
    options.backoff = absl::Milliseconds(1);
    options.backoff_max = absl::Milliseconds(1);
    return options;
  }
  std::unique_ptr<RedisStore> MustOpen() { return RedisStore::Open(Options()).value(); }
  // Runs a command as the default user.
  RedisReply Raw(std::vector<absl::string_view> args) {
    RedisClient client(Options());
    auto reply = client.Command(args);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or(RedisReply());
  }

  std::unique_ptr<RedisServer> server_;
};

TEST_F(RedisStoreTest, TellsHowOftenItsLogWaitedForTheDisk) {
  const auto probe = OpenPersistenceProbe(server_->uri());
  ASSERT_TRUE(probe != nullptr);
  const absl::StatusOr<StorePersistence> answer = probe();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->delayed_fsyncs, 0) << "every write waits for its own fsync";
  EXPECT_TRUE(OpenPersistenceProbe("memory:") == nullptr);
  server_->Kill();
  EXPECT_TRUE(absl::IsUnavailable(probe().status())) << probe().status();
}

TEST(RedisPersistenceTest, TheCountIsALineOfInfo) {
  EXPECT_EQ(*ParseDelayedFsyncs("# Persistence\r\naof_enabled:1\r\naof_delayed_fsync:17\r\nx:1\r\n"), 17);
  EXPECT_TRUE(absl::IsInternal(ParseDelayedFsyncs("# Persistence\r\naof_enabled:0\r\n").status()));
}

TEST_F(RedisStoreTest, AServerThatIsAwayIsUnavailableAndNamed) {
  auto store = MustOpen();
  server_->Kill();
  const std::string want =
      absl::StrCat("redis://127.0.0.1:", server_->port(), "/0: connection refused; is redis-server running?");
  const absl::Status lost = store->Lead("a", kLong).status();
  EXPECT_EQ(lost.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(lost.message(), want);
  const absl::Status never = RedisStore::Open(Options()).status();
  EXPECT_EQ(never.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(never.message(), want);
}

TEST_F(RedisStoreTest, ARestartedServerIsFoundAgainWithAllItAcked) {
  auto store = MustOpen();
  ASSERT_EQ(store->Lead("a", kLong).value(), 1);
  ASSERT_TRUE(store->CreateJob(1, "", "name", "spec").ok());
  server_->Kill();
  ASSERT_TRUE(server_->Restart().ok());
  EXPECT_TRUE(store->Append(1, "job-1", 0, {"one"}).ok()) << "functions are kept too";
  EXPECT_EQ(store->ListJobs()->size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(store->Lead("b", kLong).status())) << "the lease is kept";
}

// A leader appends, repeating whatever ends Unavailable, while the server is killed again and
// again.
TEST_F(RedisStoreTest, KillingTheServerDuringAppendsLosesAndDoublesNothing) {
  auto store = MustOpen();
  ASSERT_EQ(store->Lead("a", kLong).value(), 1);
  ASSERT_TRUE(store->CreateJob(1, "", "name", "spec").ok());
  constexpr int64_t kEvents = 300;
  std::atomic<int64_t> acked = 0;
  std::atomic<bool> failed = false;
  std::thread writer([&] {
    const absl::Time give_up = absl::Now() + absl::Minutes(5);
    while (acked < kEvents && absl::Now() < give_up) {
      const int64_t seq = acked;
      const std::string record = RecordKey("job-1", seq, 1, "token");
      absl::Status status = store->PutRecord(record, absl::StrCat("record ", seq));
      if (status.ok()) {
        status = store->Append(1, "job-1", seq, {absl::StrCat("event ", seq + 1)}, {record});
      }
      if (status.ok()) {
        ++acked;
      } else if (!absl::IsUnavailable(status)) {
        ADD_FAILURE() << status;
        break;
      }
    }
    failed = acked < kEvents;
  });
  for (int64_t kill_at = 50; kill_at < kEvents; kill_at += 100) {
    while (acked < kill_at && !failed) std::this_thread::yield();
    server_->Kill();
    ASSERT_TRUE(server_->Restart().ok());
  }
  writer.join();
  ASSERT_EQ(acked, kEvents);
  const auto events = store->ReadEvents("job-1", 0, 10'000);
  ASSERT_EQ(static_cast<int64_t>(events->size()), kEvents);
  for (int64_t i = 0; i < kEvents; ++i) {
    EXPECT_EQ((*events)[i].body, absl::StrCat("event ", i + 1));
    EXPECT_EQ(store->GetRecord(RecordKey("job-1", i, 1, "token")).value(), absl::StrCat("record ", i));
  }
}

TEST_F(RedisStoreTest, AFrozenServerIsUnavailableWithinTheTimeout) {
  RedisOptions options = Options();
  options.timeout = absl::Seconds(2);  // a busy server answers in that time
  options.attempts = 1;
  (void)MustOpen();  // writes the library, which takes the disk's time
  auto store = RedisStore::Open(options).value();
  ASSERT_EQ(kill(server_->pid(), SIGSTOP), 0);
  const absl::Status status = store->Lead("a", kLong).status();
  ASSERT_EQ(kill(server_->pid(), SIGCONT), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no reply within 2s"));
}

TEST_F(RedisStoreTest, ALostLibraryIsLoadedAgain) {
  auto store = MustOpen();
  Raw({"FUNCTION", "FLUSH"});
  EXPECT_EQ(store->Lead("a", kLong).value(), 1);
}

TEST_F(RedisStoreTest, AnOlderLibraryIsReplaced) {
  Raw({"FUNCTION", "LOAD", "REPLACE",
       "#!lua name=mg\nredis.register_function{function_name='mg_version', flags={'no-writes'}, "
       "callback=function() return 0 end}"});
  EXPECT_EQ(MustOpen()->Lead("a", kLong).value(), 1);
  EXPECT_GE(Raw({"FCALL", "mg_version", "0"}).integer, 1);
}

// As during an upgrade: a stand-by of the version before lost the library and loaded its own, which lacks mg_fleet.
TEST_F(RedisStoreTest, AnOlderLibraryThatComesBackIsReplacedWhereItsLackIsMet) {
  auto store = MustOpen();
  ASSERT_EQ(store->Lead("a", kLong).value(), 1);
  const std::string version = absl::StrCat("local VERSION = ", kRedisLibraryVersion);
  const std::string older = absl::StrReplaceAll(
      kRedisFunctions, {{version, "local VERSION = 2"}, {"redis.register_function('mg_fleet', fleet)", ""}});
  Raw({"FUNCTION", "LOAD", "REPLACE", older});
  ASSERT_EQ(Raw({"FCALL", "mg_version", "0"}).integer, 2);
  EXPECT_EQ(store->RenewLead(1, kLong), absl::OkStatus()) << "what both have goes on";
  EXPECT_EQ(store->PutFleet(1, "quarantines 1"), absl::OkStatus());
  EXPECT_EQ(store->GetFleet().value(), "quarantines 1");
  EXPECT_EQ(Raw({"FCALL", "mg_version", "0"}).integer, kRedisLibraryVersion);
}

TEST_F(RedisStoreTest, ANewerSchemaIsRefusedWithBothVersions) {
  Raw({"SET", "mg:schema", "9"});
  const absl::Status status = RedisStore::Open(Options()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has schema version 9 under prefix 'mg:'; "
                                                       "this build knows versions up to 1"));
}

TEST_F(RedisStoreTest, AReaderWritesNothing) {
  EXPECT_THAT(std::string(RedisStore::Open(Options(), /*read_only=*/true).status().message()),
              HasSubstr("holds no results store under prefix 'mg:'"));
  auto writer = MustOpen();
  ASSERT_TRUE(writer->Lead("a", kLong).ok());
  ASSERT_TRUE(writer->CreateJob(1, "", "name", "spec").ok());
  auto reader = RedisStore::Open(Options(), /*read_only=*/true).value();
  EXPECT_EQ(reader->ListJobs()->at(0).name, "name");
  for (const absl::Status& refused : {reader->Lead("b", kLong).status(), reader->Append(1, "job-1", 0, {"x"}),
                                      reader->PutRecord("result:{job-1}:1:1:t", "x")}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("is open for reading only"));
  }
}

TEST_F(RedisStoreTest, PrefixesAreStoresOfTheirOwn) {
  auto a = OpenStore(server_->uri() + "?prefix=a:").value();
  auto b = OpenStore(server_->uri() + "?prefix=b:").value();
  EXPECT_EQ(a->Lead("x", kLong).value(), 1);
  EXPECT_EQ(b->Lead("y", kLong).value(), 1);
  ASSERT_TRUE(a->CreateJob(1, "", "of a", "").ok());
  EXPECT_EQ(b->ListJobs()->size(), 0u);
}

TEST_F(RedisStoreTest, FullMemoryIsResourceExhaustedAndPasses) {
  auto store = MustOpen();
  ASSERT_TRUE(store->Lead("a", kLong).ok());
  ASSERT_TRUE(store->CreateJob(1, "", "name", "spec").ok());
  Raw({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(store->Append(1, "job-1", 0, {"one"}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store->PutRecord("result:{job-1}:1:1:t", "x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store->ReadEvents("job-1", 0, 10)->size(), 0u) << "reading goes on";
  const auto opened = RedisStore::Open(Options());
  EXPECT_TRUE(opened.ok()) << "what starts meanwhile waits with the others: " << opened.status();
  Raw({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(store->Append(1, "job-1", 0, {"one"}).ok());
}

// The users that deploy/redis ships.
class RedisUsersTest : public RedisStoreTest {
 protected:
  void SetUp() override {
    const std::string acl = ReadFile(MG_SOURCE_DIR "/deploy/redis/users.acl").value();
    RedisServer::Options options;
    options.acl = absl::StrReplaceAll(acl, {{"change-me-", "pw-"}});
    StartServer(options);
  }
  std::string Uri(const std::string& role) { return server_->uri(absl::StrCat("mg-", role, ":pw-", role)); }
};

TEST_F(RedisUsersTest, TheCoordinatorCanDoAllThatTheStoreNeeds) {
  auto opened = OpenStore(Uri("coordinator"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  ResultsStore& store = **opened;
  ASSERT_EQ(store.Lead("a", kLong).value(), 1);
  EXPECT_TRUE(store.RenewLead(1, kLong).ok());
  ASSERT_EQ(store.CreateJob(1, "r", "name", "spec").value(), "job-1");
  EXPECT_TRUE(store.PutRecord(RecordKey("job-1", 1, 1, "t"), "x").ok());
  EXPECT_EQ(store.GetRecord(RecordKey("job-1", 1, 1, "t")).value(), "x");
  EXPECT_TRUE(store.Append(1, "job-1", 0, {"one"}, {RecordKey("job-1", 1, 1, "t")}).ok());
  EXPECT_TRUE(store.Append(1, "job-1", 0, {"one"}).ok());
  EXPECT_EQ(store.ReadEvents("job-1", 0, 10)->size(), 1u);
  EXPECT_TRUE(store.PutSnapshot(1, "job-1", {1, "s"}).ok());
  EXPECT_TRUE((*store.GetSnapshot("job-1")).has_value());
  EXPECT_EQ(store.ListJobs()->size(), 1u);
  EXPECT_TRUE(store.ReleaseLead(1).ok());
  EXPECT_EQ(store.uri(), server_->uri()) << "without the login";
}

TEST_F(RedisUsersTest, TheWorkerCreatesRecordsAndNothingElse) {
  auto coordinator = OpenStore(Uri("coordinator")).value();
  auto worker = OpenRecordStore(Uri("worker"));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string key = RecordKey("job-1", 1, 1, "t");
  EXPECT_TRUE((*worker)->PutRecord(key, "first").ok());
  EXPECT_TRUE((*worker)->PutRecord(key, "first").ok());
  EXPECT_TRUE((*worker)->PutRecord(key, "second").ok()) << "it cannot look; the first bytes stay";
  EXPECT_EQ(coordinator->GetRecord(key).value(), "first");
  EXPECT_TRUE(absl::IsPermissionDenied((*worker)->GetRecord(key).status()));
  EXPECT_TRUE(absl::IsPermissionDenied((*worker)->PutRecord("leader", "me")));
  EXPECT_TRUE(absl::IsPermissionDenied(OpenStore(Uri("worker")).status()));
  RedisClient raw(ParseRedisUri(Uri("worker")).value());
  const std::string stored = "mg:" + key;  // the commands only point to it
  for (const std::vector<absl::string_view>& command : {std::vector<absl::string_view>{"SET", stored, "x"},
                                                        {"DEL", stored},
                                                        {"EXPIRE", stored, "1"},
                                                        {"FCALL", "mg_version", "0"},
                                                        {"FLUSHALL"}}) {
    EXPECT_TRUE(absl::IsPermissionDenied(raw.Command(command).status())) << command[0];
  }
}

TEST_F(RedisUsersTest, TheReaderReadsBesideTheCoordinator) {
  auto coordinator = OpenStore(Uri("coordinator")).value();
  ASSERT_TRUE(coordinator->Lead("a", kLong).ok());
  ASSERT_TRUE(coordinator->CreateJob(1, "", "name", "spec").ok());
  OpenStoreOptions options;
  options.read_only = true;
  auto reader = OpenStore(Uri("reader"), options);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->ListJobs()->size(), 1u);
  EXPECT_EQ((*reader)->ReadEvents("job-1", 0, 10)->size(), 0u);
  EXPECT_FALSE((*reader)->GetSnapshot("job-1")->has_value());
}

TEST_F(RedisUsersTest, AWrongPasswordFailsTheStartWithoutShowingIt) {
  for (const absl::Status& status :
       {OpenStore(server_->uri("mg-coordinator:hush")).status(), OpenRecordStore(server_->uri("mg-worker:hush")).status(),
        OpenRecordStore(server_->uri(":hush")).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("login as '"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("hush")));
  }
  const absl::Status none = OpenRecordStore(server_->uri()).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kUnauthenticated) << none;
}

}  // namespace
}  // namespace merganser
