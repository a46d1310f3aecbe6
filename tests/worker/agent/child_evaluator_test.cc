// An evaluator in another process: its answers come through, and its death is one attempt's.
#include "worker/agent/child_evaluator.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"
#include "tests/testing/process.h"
#include "worker/agent/failure_class.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::Eventually;

std::string Child() { return std::filesystem::absolute(MG_BINARY_DIR "/tests/odd_evaluator").string(); }

// Until it is dead, though its parent has not asked for it yet.
void AwaitDeath(pid_t child) {
  siginfo_t info;
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
}

class ChildEvaluatorTest : public testing::Test {
 protected:
  void SetUp() override { Start({.argv = {Child()}}); }
  void Start(const ChildEvaluatorOptions& options) {
    auto started = ChildEvaluator::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    evaluator_ = *std::move(started);
  }
  absl::StatusOr<Evaluation> Run(const std::string& what, std::stop_token stop = {}) {
    phases_.clear();
    Recipe recipe;
    recipe.stacks.resize(3);
    return evaluator_->Evaluate(
        SphereSpec(), recipe, {what}, [this](absl::string_view phase) { phases_.emplace_back(phase); }, stop);
  }

  std::unique_ptr<ChildEvaluator> evaluator_;
  std::vector<std::string> phases_;
};

TEST_F(ChildEvaluatorTest, AnswersComeThroughAndOneChildServesThemAll) {
  const absl::StatusOr<JobFacts> facts = evaluator_->Prepare(SphereSpec("mine"), [](absl::string_view) {}, {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->num_layers, 7);
  EXPECT_EQ(facts->architecture, "mine");
  const absl::StatusOr<Evaluation> first = Run("b"), second = Run("b");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->results[0].metrics.at("acc"), 3);
  EXPECT_EQ(first->results[0].metrics.at("pid"), second->results[0].metrics.at("pid"));
  EXPECT_THAT(phases_, ElementsAre("evaluate"));
}

TEST_F(ChildEvaluatorTest, WhatIsExpectedReachesTheChildWhileItEvaluates) {
  Recipe next;
  next.stacks.resize(5);
  evaluator_->Expect(next);  // before the call: forgotten
  EXPECT_EQ(Run("forgets").status().message(), "told nothing");
  const auto told = [&](absl::string_view phase) {
    if (phase == "evaluate") evaluator_->Expect(next);  // as the agent does; other threads do, too
  };
  const auto evaluation = evaluator_->Evaluate(SphereSpec(), Recipe(), {"expects"}, told, {});
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_EQ(evaluation->results[0].metrics.at("acc"), 5);
}

TEST_F(ChildEvaluatorTest, ErrorsKeepTheirCodeAndTheChildLives) {
  const pid_t child = evaluator_->child_pid();
  const absl::Status status = Run("infeasible").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "weights are NaN");
  EXPECT_TRUE(Run("b").ok());
  EXPECT_EQ(evaluator_->child_pid(), child);
}

TEST_F(ChildEvaluatorTest, AKilledChildIsACrashOfOneAttemptAndIsReplaced) {
  const absl::Status status = Run("killed").status();
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCrashed);
  EXPECT_THAT(status.message(), HasSubstr("killed by signal 9"));
  EXPECT_TRUE(Run("b").ok());
}

// What it leaves running, a program that scores for one, does not have its connection.
TEST_F(ChildEvaluatorTest, ItsDeathShowsThoughAProgramOfItsLives) {
  const std::string file = testing_support::FreshDir("child_evaluator") + "/program";
  setenv("ODD_EVALUATOR_FILE", file.c_str(), 1);
  Start({.argv = {Child()}});
  unsetenv("ODD_EVALUATOR_FILE");
  const absl::Status status = Run("leaves").status();
  pid_t program = 0;
  std::ifstream(file) >> program;
  ASSERT_GT(program, 0);
  EXPECT_EQ(kill(program, SIGKILL), 0) << "it ran when the death was told";
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCrashed) << status;
  EXPECT_TRUE(Run("b").ok());
}

TEST_F(ChildEvaluatorTest, AChildThatMayBePoisonedIsReplaced) {
  for (const char* what : {"throws", "internal"}) {
    const pid_t child = evaluator_->child_pid();
    EXPECT_FALSE(Run(what).ok());
    EXPECT_TRUE(Run("b").ok()) << what;
    EXPECT_NE(evaluator_->child_pid(), child) << what;
  }
}

TEST_F(ChildEvaluatorTest, AChildThatDiedInTheMeantimeIsNoFaultOfTheNextCandidate) {
  kill(evaluator_->child_pid(), SIGKILL);
  AwaitDeath(evaluator_->child_pid());
  const absl::StatusOr<Evaluation> next = Run("b");
  EXPECT_TRUE(next.ok()) << next.status();
}

// As one of which the kernel still takes down the memory: it has let go of its end, but is no zombie yet.
TEST_F(ChildEvaluatorTest, NorIsOneThatHungUpAndIsNotGoneYet) {
  Start({.argv = {"/bin/sh", "-c", "\"$0\" \"$@\" & exec 3<&-; wait; exec sleep 1000", Child()}});
  const pid_t shell = evaluator_->child_pid();
  const auto child = static_cast<pid_t>(Run("b")->results[0].metrics.at("pid"));
  ASSERT_NE(child, shell);
  kill(child, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return kill(child, 0) != 0; })) << "the shell has taken it";
  const absl::StatusOr<Evaluation> next = Run("b");
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_NE(evaluator_->child_pid(), shell);
}

TEST_F(ChildEvaluatorTest, AStopReachesTheChild) {
  const pid_t child = evaluator_->child_pid();
  std::stop_source stop;
  std::thread stopper([&] {
    absl::SleepFor(absl::Milliseconds(50));
    stop.request_stop();
  });
  EXPECT_TRUE(absl::IsCancelled(Run("stops", stop.get_token()).status()));
  stopper.join();
  EXPECT_EQ(evaluator_->child_pid(), child);
}

TEST_F(ChildEvaluatorTest, AChildThatDoesNotStopIsKilled) {
  Start({.argv = {Child()}, .stop_grace = absl::Milliseconds(300)});
  std::stop_source stop;
  stop.request_stop();
  const absl::Status killed = Run("hangs", stop.get_token()).status();
  EXPECT_TRUE(absl::IsCancelled(killed));
  EXPECT_THAT(killed.message(), HasSubstr("was killed"));
  EXPECT_TRUE(Run("b").ok());
}

TEST(ChildEvaluatorStartTest, AChildThatEndsAtOnceIsAnErrorAtTheStart) {
  const absl::Status status = ChildEvaluator::Start({.argv = {Child(), "broken"}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("exit code 78"));
  EXPECT_FALSE(ChildEvaluator::Start({.argv = {"/no/such/program"}}).ok());
}

TEST(ChildEvaluatorStartTest, AChildThatIsKilledAtTheStartMayStartLater) {
  const absl::Status status = ChildEvaluator::Start({.argv = {"/bin/sh", "-c", "kill -9 $$"}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("did not start: killed by signal 9"));
}

}  // namespace
}  // namespace merganser
