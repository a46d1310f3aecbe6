#include "common/store/open_store.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Error(const std::string& uri) {
  const absl::Status status = OpenStore(uri).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(OpenStore, EachSchemeGivesItsStore) {
  EXPECT_EQ((*OpenStore("memory:"))->uri(), "memory:");
  const std::string path = absl::StrCat(testing::TempDir(), "/open-store-", getpid(), ".db");
  EXPECT_EQ((*OpenStore("sqlite:" + path))->uri(), "sqlite:" + path);
  EXPECT_EQ((*OpenStore("sqlite://" + path))->uri(), "sqlite:" + path);
  for (const char* end : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + end);
}

TEST(OpenStore, AnUnknownSchemeListsTheKnownOnesAndHidesTheRest) {
  const std::string message = Error("postgres://user:hush@host/db");
  EXPECT_THAT(message, HasSubstr("unknown store scheme 'postgres:'"));
  EXPECT_THAT(message, HasSubstr("memory:, sqlite:PATH, redis://HOST:PORT/DB"));
  EXPECT_THAT(message, Not(HasSubstr("hush")));
  EXPECT_THAT(Error("rediss://user:hush@host"), HasSubstr("(TLS) is not supported"));
  EXPECT_THAT(Error("out/run.db"), HasSubstr("has no scheme; known: "));
  EXPECT_THAT(Error("out/run.db"), HasSubstr("(a file: sqlite:out/run.db)"));
  EXPECT_THAT(Error("sqlite:"), HasSubstr("names no file"));
  EXPECT_THAT(Error("redis://host:99999"), HasSubstr("port '99999'"));
}

TEST(OpenRecordStore, OneProcessStoresAreNotForWorkersOfTheirOwn) {
  for (const char* uri : {"memory:", "sqlite:/tmp/x.db"}) {
    const absl::Status status = OpenRecordStore(uri).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("workers need redis://HOST:PORT/DB"));
  }
  EXPECT_THAT(std::string(OpenRecordStore("x:hush").status().message()), HasSubstr("unknown store scheme 'x:'"));
}

}  // namespace
}  // namespace merganser
