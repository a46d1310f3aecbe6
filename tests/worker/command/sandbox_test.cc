#include "worker/command/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"

namespace merganser {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = Sandbox::Create();
    ASSERT_TRUE(created.ok()) << created.status();
    sandbox_.emplace(*std::move(created));
  }
  SandboxOutcome Run(const std::string& program, absl::Duration timeout = absl::Seconds(20)) const {
    SandboxLimits limits;
    limits.timeout = timeout;
    limits.memory_bytes = int64_t{256} << 20;
    limits.file_bytes = 1 << 20;
    const auto outcome = sandbox_->Run(program, limits, {});
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.value_or(SandboxOutcome{});
  }
  bool HasGap(absl::string_view kind) const {
    for (const std::string& gap : sandbox_->gaps()) {
      if (absl::StartsWith(gap, kind)) return true;
    }
    return false;
  }
  std::optional<Sandbox> sandbox_;
};

TEST_F(SandboxTest, AProgramPassesThatRunsToItsEnd) {
  EXPECT_TRUE(Run("x = 1\nprint('text ' * 1000000)\nassert x == 1\n").passed);
  EXPECT_THAT(Run("assert 1 == 2, 'no'\n").why, "AssertionError: no");
  EXPECT_THAT(Run("def broken(:\n").why, HasSubstr("SyntaxError"));
  EXPECT_THAT(Run("raise SystemExit(3)\n").why, HasSubstr("status 3"));
}

TEST_F(SandboxTest, LeavingEarlyIsNotPassing) {
  EXPECT_EQ(Run("import sys\nsys.exit(0)\n").why, "it left before its end");
  EXPECT_EQ(Run("import os\nos._exit(0)\n").why, "it left before its end");
}

TEST_F(SandboxTest, ALoopForEverEnds) {
  EXPECT_EQ(Run("while True: pass\n", absl::Seconds(1)).passed, false);
  EXPECT_EQ(Run("import time\ntime.sleep(1000)\n", absl::Seconds(1)).why, "took longer than 1s");
}

TEST_F(SandboxTest, ItCannotForkOrStartPrograms) {
  if (HasGap("user")) GTEST_SKIP() << sandbox_->gaps()[0];
  EXPECT_THAT(Run("import os\nwhile True: os.fork()\n").why, HasSubstr("BlockingIOError"));
  EXPECT_THAT(Run("import subprocess\nsubprocess.run(['true'])\n").why, HasSubstr("BlockingIOError"));
}

TEST_F(SandboxTest, MemoryAndFilesAreBounded) {
  EXPECT_THAT(Run("x = bytearray(1 << 29)\n").why, HasSubstr("MemoryError"));
  const SandboxOutcome file = Run("with open('f', 'wb') as f:\n  for _ in range(64): f.write(bytes(1 << 16))\n");
  EXPECT_FALSE(file.passed);
  EXPECT_TRUE(Run("with open('f', 'wb') as f: f.write(bytes(1 << 16))\nimport os\nos.remove('f')\n").passed);
}

TEST_F(SandboxTest, ItWritesInItsFolderOnly) {
  if (HasGap("files")) GTEST_SKIP() << "this machine does not permit it";
  const std::string outside = testing::TempDir() + "/sandbox_test_" + std::to_string(getpid());
  std::filesystem::create_directories(outside);
  std::filesystem::permissions(outside, std::filesystem::perms::all);
  std::ofstream(outside + "/there") << "before";
  std::filesystem::permissions(outside + "/there", std::filesystem::perms::all);
  for (const std::string& action : {absl::StrCat("open('", outside, "/new', 'w').write('x')"),
                                    absl::StrCat("open('", outside, "/there', 'w').write('x')"),
                                    absl::StrCat("import os; os.remove('", outside, "/there')"),
                                    absl::StrCat("import os; os.mkdir('", outside, "/folder')")}) {
    EXPECT_THAT(Run(action + "\n").why, HasSubstr("PermissionError")) << action;
  }
  EXPECT_EQ(*ReadFile(outside + "/there"), "before");
  std::filesystem::remove_all(outside);
}

TEST_F(SandboxTest, ItsFolderIsGoneAfterwards) {
  // What it can read it may read: its own name tells where it ran.
  const SandboxOutcome outcome = Run("import os\nopen('left', 'w').write('x')\nraise ValueError(os.getcwd())\n");
  ASSERT_THAT(outcome.why, HasSubstr("ValueError: /"));
  EXPECT_FALSE(std::filesystem::exists(outcome.why.substr(outcome.why.find('/'))));
}

TEST_F(SandboxTest, ThereIsNoNetwork) {
  if (HasGap("network")) GTEST_SKIP() << "this machine does not permit it";
  EXPECT_THAT(
      Run("import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('127.0.0.1', 9))\n").why,
      AnyOf(HasSubstr("unreachable"), HasSubstr("Permission")));
}

TEST_F(SandboxTest, OurEnvironmentIsNotItsOwn) {
  setenv("MERGANSER_SECRET", "key", 1);
  EXPECT_TRUE(Run("import os\nassert 'MERGANSER_SECRET' not in os.environ\n").passed);
  unsetenv("MERGANSER_SECRET");
}

TEST_F(SandboxTest, StoppingEndsIt) {
  std::stop_source stop;
  const std::jthread later([&] {
    usleep(300000);
    stop.request_stop();
  });
  EXPECT_EQ(sandbox_->Run("import time\ntime.sleep(1000)\n", SandboxLimits{.timeout = absl::Seconds(100)}, stop.get_token())
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace merganser
