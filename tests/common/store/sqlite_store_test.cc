#include "common/store/sqlite/sqlite_store.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kLong = absl::Hours(1);

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() {
    static int count = 0;
    dir_ = absl::StrCat(testing::TempDir(), "/sqlite-store-", getpid(), "-", ++count);
    std::filesystem::create_directories(dir_);
    path_ = dir_ + "/run.db";
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(dir_); }

  std::unique_ptr<SqliteStore> MustOpen(const SqliteOptions& options = {}) {
    auto store = SqliteStore::Open(path_, options);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  absl::Status OpenError(const SqliteOptions& options = {}) { return SqliteStore::Open(path_, options).status(); }

  std::string dir_, path_;
};

TEST_F(SqliteStoreTest, ASecondWriterIsRefusedWithTheFirstOnesName) {
  auto first = MustOpen();
  const absl::Status second = OpenError();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()),
              HasSubstr(absl::StrCat("sqlite:", path_, " is in use by pid ", getpid(), " on ")));
  EXPECT_THAT(std::string(second.message()), HasSubstr(path_ + ".lock"));
  first.reset();
  EXPECT_TRUE(OpenError().ok()) << "free again";
}

TEST_F(SqliteStoreTest, EventsBeforeATornPageAreRead) {
  {
    auto writer = MustOpen();
    ASSERT_TRUE(writer->Lead("a", kLong).ok());
    ASSERT_TRUE(writer->CreateJob(1, "", "name", "spec").ok());
    std::vector<std::string> events;
    for (int i = 1; i <= 400; ++i) events.push_back(absl::StrCat("event ", i, " ", std::string(200, '.')));
    ASSERT_TRUE(writer->Append(1, "job-1", 0, events).ok());
  }
  constexpr size_t kDiskPage = 4096;
  std::string bytes = *ReadFile(path_, 1 << 20);
  const size_t at = bytes.find("event 300 ");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at / kDiskPage * kDiskPage, kDiskPage, kDiskPage, '\0');
  ASSERT_TRUE(WriteFileAtomically(path_, bytes).ok());
  SqliteOptions options;
  options.read_only = true;
  auto reader = MustOpen(options);
  const auto events = reader->ReadEvents("job-1", 0, 1000);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_GT(events->size(), 250u) << "a page holds fewer than fifty";
  EXPECT_LT(events->size(), 300u);
  EXPECT_EQ(events->back().seq, static_cast<int64_t>(events->size()));
  EXPECT_TRUE(absl::IsDataLoss(reader->ReadEvents("job-1", events->back().seq, 1000).status()));
}

TEST_F(SqliteStoreTest, AReaderSeesWhatTheRunningWriterCommits) {
  auto writer = MustOpen();
  SqliteOptions options;
  options.read_only = true;
  auto reader = MustOpen(options);
  ASSERT_TRUE(writer->Lead("a", kLong).ok());
  ASSERT_TRUE(writer->CreateJob(1, "", "name", "spec").ok());
  ASSERT_TRUE(writer->Append(1, "job-1", 0, {"one"}).ok());
  EXPECT_EQ(reader->ListJobs()->size(), 1u);
  EXPECT_EQ(reader->ReadEvents("job-1", 0, 10)->at(0).body, "one");

  for (const absl::Status& refused : {reader->Lead("b", kLong).status(), reader->RenewLead(1, kLong), reader->ReleaseLead(1),
                                      reader->CreateJob(1, "", "n", "s").status(), reader->Append(1, "job-1", 1, {"two"}),
                                      reader->PutRecord("k", "v"), reader->PutSnapshot(1, "job-1", {1, "s"})}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("is open for reading only"));
  }
}

TEST_F(SqliteStoreTest, AReaderOfNoFileIsToldSoAndMakesNone) {
  SqliteOptions options;
  options.read_only = true;
  const absl::Status status = OpenError(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no results store at '" + path_));
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock"));
}

TEST_F(SqliteStoreTest, AMissingFolderIsNamed) {
  path_ = dir_ + "/absent/run.db";
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(dir_ + "/absent"));
}

TEST_F(SqliteStoreTest, AfterACrashTheNextProcessLeadsAtOnce) {
  auto store = MustOpen();
  ASSERT_EQ(store->Lead("a", kLong).value(), 1);
  store.reset();  // without ReleaseLead
  store = MustOpen();
  EXPECT_EQ(store->Lead("b", kLong).value(), 2);
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefusedWithBothVersions) {
  MustOpen().reset();
  {
    auto raw = SqliteConnection::Open(path_, false, absl::Seconds(1)).value();
    ASSERT_TRUE(raw->Run("UPDATE meta SET value = 9 WHERE name = 'schema'").ok());
  }
  for (const bool read_only : {false, true}) {
    SqliteOptions options;
    options.read_only = read_only;
    const absl::Status status = OpenError(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("has schema version 9; this build knows versions up to 1"));
  }
}

TEST_F(SqliteStoreTest, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  {
    auto raw = SqliteConnection::Open(path_, false, absl::Seconds(1)).value();
    ASSERT_TRUE(raw->Run("CREATE TABLE cookies(name TEXT)").ok());
  }
  const std::string before = ReadFile(path_).value();
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is a database of another program"));
  EXPECT_EQ(ReadFile(path_).value(), before);
}

TEST_F(SqliteStoreTest, AFileThatIsNoDatabaseIsDataLossNamingIt) {
  ASSERT_TRUE(WriteFileAtomically(path_, std::string(8192, 'x')).ok());
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("sqlite:" + path_));
}

TEST_F(SqliteStoreTest, DamageInTheMiddleIsDataLossWhereItIsRead) {
  auto store = MustOpen();
  ASSERT_TRUE(store->Lead("a", kLong).ok());
  ASSERT_TRUE(store->CreateJob(1, "", "name", "spec").ok());
  ASSERT_TRUE(store->Append(1, "job-1", 0, std::vector<std::string>(200, std::string(500, 'e'))).ok());
  store.reset();  // a clean end moves the WAL into the file
  std::string bytes = ReadFile(path_).value();
  ASSERT_GT(bytes.size(), 16u * 4096);
  for (size_t i = 8 * 4096; i < bytes.size(); ++i) bytes[i] = '\x5a';
  ASSERT_TRUE(WriteFileAtomically(path_, bytes).ok());
  store = MustOpen();
  const auto events = store->ReadEvents("job-1", 0, 1000);
  EXPECT_EQ(events.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(events.status().message()), HasSubstr(path_));
}

TEST_F(SqliteStoreTest, AFullDiskIsResourceExhaustedAndLeavesWhatWasAcked) {
  SqliteOptions options;
  options.pages_max = 40;
  auto store = MustOpen(options);
  ASSERT_TRUE(store->Lead("a", kLong).ok());
  ASSERT_TRUE(store->CreateJob(1, "", "name", "spec").ok());
  int64_t acked = 0;
  absl::Status status;
  for (; acked < 1000; ++acked) {
    status = store->Append(1, "job-1", acked, {std::string(4000, 'x'), std::string(4000, 'y')});
    if (!status.ok()) break;
    ++acked;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  EXPECT_GT(acked, 0);
  EXPECT_EQ(static_cast<int64_t>(store->ReadEvents("job-1", 0, 10000)->size()), acked)
      << "no half of the append that failed";
  store.reset();
  store = MustOpen();  // space again
  EXPECT_TRUE(store->Append(1, "job-1", acked, {"goes on"}).ok());
}

TEST_F(SqliteStoreTest, NetworkFileSystemsAreRefused) {
  for (const int64_t type : {int64_t{0x6969}, int64_t{0xff534d42}, int64_t{int32_t(0xfe534d42)}}) {
    const absl::Status status = CheckLocalFileSystem("/share/run.db", type);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << type;
    EXPECT_THAT(std::string(status.message()), HasSubstr("sqlite:/share/run.db: is on "));
    EXPECT_THAT(std::string(status.message()), HasSubstr("redis://"));
  }
  EXPECT_TRUE(CheckLocalFileSystem("/tmp/run.db", 0xef53).ok()) << "ext4";
}

// The child acks each append through a pipe and is killed in the middle of its loop.
TEST_F(SqliteStoreTest, AKilledWriterLosesNothingItAcked) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_fds[0]);
    auto store = SqliteStore::Open(path_);
    if (!store.ok() || !(*store)->Lead("child", kLong).ok()) _exit(1);
    if (!(*store)->CreateJob(1, "", "name", "spec").ok()) _exit(1);
    for (int64_t seq = 0;; ++seq) {
      if (!(*store)->Append(1, "job-1", seq, {absl::StrCat("event ", seq + 1)}).ok()) _exit(1);
      if (write(pipe_fds[1], "a", 1) != 1) _exit(1);
    }
  }
  close(pipe_fds[1]);
  int64_t acked = 0;
  char ack;
  while (acked < 50 && read(pipe_fds[0], &ack, 1) == 1) ++acked;
  kill(child, SIGKILL);
  while (read(pipe_fds[0], &ack, 1) == 1) ++acked;  // acks on their way
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  close(pipe_fds[0]);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
  ASSERT_GE(acked, 50);

  auto store = MustOpen();
  ASSERT_NE(store, nullptr) << "the lock went with the process";
  const auto events = store->ReadEvents("job-1", 0, 1'000'000);
  ASSERT_TRUE(events.ok()) << events.status();
  // One more may be there: committed, and killed before its ack.
  EXPECT_GE(static_cast<int64_t>(events->size()), acked);
  EXPECT_LE(static_cast<int64_t>(events->size()), acked + 1);
  for (size_t i = 0; i < events->size(); ++i) {
    ASSERT_EQ((*events)[i].seq, static_cast<int64_t>(i) + 1);
    ASSERT_EQ((*events)[i].body, absl::StrCat("event ", i + 1));
  }
  EXPECT_EQ(store->Lead("parent", kLong).value(), 2);
}

}  // namespace
}  // namespace merganser
