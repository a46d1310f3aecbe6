#include "worker/command/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "common/base/clock.h"
#include "tests/testing/process.h"
#include "worker/command/program_score.h"

namespace merganser {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

Program Shell(const std::string& script) { return {.argv = {"sh", "-c", script}}; }

TEST(ProgramTest, GivesWhatItWrote) {
  const auto outcome = RunProgram(Shell("echo some text; echo a warning >&2; echo '{\"acc\": 0.5}'"), {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->output, "some text\n{\"acc\": 0.5}\n");
  EXPECT_EQ(outcome->error_tail, "a warning\n");
}

TEST(ProgramTest, RunsInItsFolderWithItsEnvironment) {
  Program program = Shell("pwd; echo $MERGANSER_BASE_URL; cat");
  program.directory = "/usr";
  program.env["MERGANSER_BASE_URL"] = "http://x/v1";
  EXPECT_EQ(RunProgram(program, {})->output, "/usr\nhttp://x/v1\n");
}

TEST(ProgramTest, HasNoFileOfOursOpen) {
  constexpr int kOurs = 100;
  ASSERT_EQ(dup2(STDERR_FILENO, kOurs), kOurs);  // as a library opens files, which programs inherit
  EXPECT_EQ(RunProgram(Shell("if [ -e /proc/$$/fd/100 ]; then echo open; else echo closed; fi"), {})->output, "closed\n");
  close(kOurs);
}

TEST(ProgramTest, AFailureHasItsStatusAndTheEndOfStandardError) {
  const absl::Status status = RunProgram(Shell("yes line | head -c 100000 >&2; echo the reason >&2; exit 3"), {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("ended with status 3"), HasSubstr("the reason")));
  EXPECT_LT(status.message().size(), 5000u);
  EXPECT_EQ(RunProgram(Shell("exit 75"), {}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(RunProgram(Shell("kill -9 $$"), {}).status().message()), HasSubstr("signal 9"));
}

TEST(ProgramTest, ATimeoutEndsItsChildrenToo) {
  const std::string file = testing_support::FreshDir("program") + "/child";
  // It ignores SIGTERM, and so does its child.
  Program program = Shell("trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > " + file + "; while :; do sleep 1; done' & wait");
  pid_t child = 0;
  // On a busy machine the child may not have begun in half a second.
  for (program.timeout = absl::Milliseconds(500); child == 0 && program.timeout < absl::Minutes(2); program.timeout *= 2) {
    EXPECT_EQ(RunProgram(program, {}).status().code(), absl::StatusCode::kDeadlineExceeded);
    std::ifstream(file) >> child;
  }
  ASSERT_GT(child, 0);
  const auto gone = [&] {  // init may be slow to take it
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string text;
    std::getline(stat, text);
    return !stat || text.find(") Z") != std::string::npos;
  };
  EXPECT_TRUE(testing_support::Eventually(gone));
}

TEST(ProgramTest, AChildLeftBehindDoesNotHoldUpTheResult) {
  const absl::Duration start = Clock::Real().Monotonic();
  EXPECT_EQ(RunProgram(Shell("sleep 1000 & echo 1"), {})->output, "1\n");
  EXPECT_LT(Clock::Real().Monotonic() - start, absl::Seconds(500)) << "a bound for hangs";
}

TEST(ProgramTest, OutputIsBounded) {
  Program program = Shell("yes");
  program.output_bytes_max = 1000;
  EXPECT_THAT(std::string(RunProgram(program, {}).status().message()), HasSubstr("wrote more than 1000 bytes"));
}

TEST(ProgramTest, StoppingEndsIt) {
  std::stop_source stop;
  const std::jthread later([&] {
    usleep(200000);
    stop.request_stop();
  });
  EXPECT_EQ(RunProgram(Shell("sleep 30"), stop.get_token()).status().code(), absl::StatusCode::kCancelled);
}

TEST(ProgramTest, AProgramThatIsNotThereIsNamed) {
  EXPECT_EQ(RunProgram({.argv = {"no-such-program"}}, {}).status().message(),
            "there is no program 'no-such-program' in PATH");
  EXPECT_EQ(FindProgram("./score.sh", "/nowhere").status().message(), "there is no program './score.sh'");
  EXPECT_EQ(RunProgram({.argv = {"/etc/passwd"}}, {}).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST(ProgramScoreTest, TheLastLineIsTheScore) {
  EXPECT_THAT(*ReadProgramScore("loading\n{\"acc\": 0.5, \"n\": 200, \"model\": \"x\"}\n\n"),
              UnorderedElementsAre(Pair("acc", 0.5), Pair("n", 200)));
  EXPECT_THAT(*ReadProgramScore("0.25"), UnorderedElementsAre(Pair("score", 0.25)));
}

TEST(ProgramScoreTest, WhatIsNoScoreIsShown) {
  EXPECT_THAT(std::string(ReadProgramScore("  \n").status().message()), HasSubstr("wrote nothing"));
  EXPECT_THAT(std::string(ReadProgramScore("0.5\ndone").status().message()), HasSubstr("'done'"));
  EXPECT_THAT(std::string(ReadProgramScore("{\"acc\": \"high\"}").status().message()), HasSubstr("no object with one"));
}

}  // namespace
}  // namespace merganser
