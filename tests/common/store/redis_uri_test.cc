#include "common/store/redis/redis_uri.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/store/redis/redis_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RedisUri, HostAloneGivesTheDefaults) {
  const auto options = ParseRedisUri("redis://store");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->host, "store");
  EXPECT_EQ(options->port, 6379);
  EXPECT_EQ(options->db, 0);
  EXPECT_EQ(options->user, "");
  EXPECT_EQ(options->prefix, "mg:");
}

TEST(RedisUri, EveryPartIsRead) {
  const auto options = ParseRedisUri("redis://mg-worker:p%40s%2Fs:w@[::1]:7000/3?prefix=team%3A");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->user, "mg-worker");
  EXPECT_EQ(options->password, "p@s/s:w");
  EXPECT_EQ(options->host, "::1");
  EXPECT_EQ(options->port, 7000);
  EXPECT_EQ(options->db, 3);
  EXPECT_EQ(options->prefix, "team:");
  EXPECT_EQ(options->Display(), "redis://[::1]:7000/3") << "without the login";
}

TEST(RedisUri, APasswordAloneIsTheDefaultUsers) {
  const auto options = ParseRedisUri("redis://:secret@store:1");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->user, "");
  EXPECT_EQ(options->password, "secret");
}

TEST(RedisUri, APasswordMayComeFromAFile) {
  const std::string path = absl::StrCat(testing::TempDir(), "/redis-password-", getpid());
  ASSERT_TRUE(WriteFileAtomically(path, "from file\nnot this\n").ok());
  const auto options = ParseRedisUri(absl::StrCat("redis://u@store?password_file=", path));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->user, "u");
  EXPECT_EQ(options->password, "from file");
  unlink(path.c_str());
  const auto absent = ParseRedisUri(absl::StrCat("redis://u@store?password_file=", path));
  EXPECT_TRUE(absl::IsNotFound(absent.status())) << absent.status();
}

TEST(RedisUri, ErrorsNameThePartAndNeverThePassword) {
  struct Case {
    const char* uri;
    const char* want;
  };
  for (const Case& c :
       {Case{"redis://", "no host"}, Case{"redis://:6379", "no host"},
        Case{"redis://u:hush@h:0", "port '0' is not in 1..65535"}, Case{"redis://u:hush@h:66000", "port '66000'"},
        Case{"redis://u:hush@h:abc", "port 'abc'"}, Case{"redis://u:hush@h/x", "database 'x' is not a number"},
        Case{"redis://u:hush@h/-1", "database '-1'"}, Case{"redis://u:hush%zz@h", "two hexadecimal digits"},
        Case{"redis://u:hush@h?prefx=a", "did you mean 'prefix'?"}, Case{"redis://u:hush@h?prefix=", "prefix is empty"},
        Case{"redis://u:hush@[::1", "'[' without ']'"}, Case{"redis://u@h", "user 'u' without a password"}}) {
    SCOPED_TRACE(c.uri);
    const auto options = ParseRedisUri(c.uri);
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(c.want));
    EXPECT_THAT(std::string(options.status().message()), Not(HasSubstr("hush")));
  }
}

TEST(RedisErrors, MapToWhatTheCallerDoesNext) {
  using absl::StatusCode;
  struct Case {
    const char* error;
    StatusCode want;
  };
  for (const Case& c :
       {Case{"LOADING Redis is loading the dataset in memory", StatusCode::kUnavailable},
        Case{"BUSY Redis is busy running a script.", StatusCode::kUnavailable},
        Case{"READONLY You can't write against a read only replica.", StatusCode::kUnavailable},
        Case{"NOREPLICAS Not enough good replicas to write.", StatusCode::kUnavailable},
        Case{"MOVED 3999 127.0.0.1:6381", StatusCode::kUnavailable},
        Case{"OOM command not allowed when used memory > 'maxmemory'.", StatusCode::kResourceExhausted},
        Case{"MISCONF Errors writing to the AOF file: No space left on device", StatusCode::kResourceExhausted},
        Case{"NOAUTH Authentication required.", StatusCode::kUnauthenticated},
        Case{"WRONGPASS invalid username-password pair", StatusCode::kUnauthenticated},
        Case{"NOPERM this user has no permissions to run the 'get' command", StatusCode::kPermissionDenied},
        Case{"ERR Function not found", StatusCode::kNotFound},
        Case{"ERR unknown command 'FCALL'", StatusCode::kUnimplemented},
        Case{"WRONGTYPE Operation against a key", StatusCode::kInternal}, Case{"", StatusCode::kInternal}}) {
    EXPECT_EQ(StatusFromRedisError(c.error).code(), c.want) << c.error;
  }
}

}  // namespace
}  // namespace merganser
