// `merganser run`, as a user runs it.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "common/store/open_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cluster/cluster_fixture.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::Eventually;
using testing_support::Finished;
using testing_support::FreshDir;
using testing_support::Process;
using testing_support::RunToEnd;

constexpr int kCandidates = 60;  // five generations of 12
constexpr int kSamples = 60;

std::vector<std::string> RunCommand(const std::string& job, const std::string& out) {
  return {Binary("merganser"), "run", job, "--out", out, "--threads", "1", "--device", "cpu"};
}

std::unique_ptr<ResultsStore> OpenReadOnly(const std::string& out) {
  OpenStoreOptions options;
  options.read_only = true;
  auto store = OpenStore("sqlite:" + out + "/run.db", options);
  return store.ok() ? *std::move(store) : nullptr;
}

// One uninterrupted run that the tests compare with.
class RunTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = FreshDir("run");
    job_ = WriteJob(dir_, kCandidates, kSamples);
    reference_ = new Finished(RunToEnd(RunCommand(job_, dir_ + "/reference"), dir_));
  }
  // Of a run that was stopped, with results in `out`.
  static void ExpectResumeGoesOn(const std::string& out) {
    {
      const auto store = OpenReadOnly(out);
      ASSERT_NE(store, nullptr);
      ASSERT_LT(SearchFinished(*store, "job-1"), kCandidates) << "it was over before it was stopped";
    }
    std::vector<std::string> resume = RunCommand(job_, out);
    resume.push_back("--resume");
    const Finished resumed = RunToEnd(resume, dir_);
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    const auto store = OpenReadOnly(out), reference = OpenReadOnly(dir_ + "/reference");
    ASSERT_TRUE(store != nullptr && reference != nullptr);
    const LogFacts facts = ReadLog(*store, "job-1");
    ExpectNothingLost(*store, facts, kCandidates);
    EXPECT_EQ(Results(facts), Results(ReadLog(*reference, "job-1")));
  }
  static std::string dir_, job_;
  static Finished* reference_;
};
std::string RunTest::dir_, RunTest::job_;
Finished* RunTest::reference_ = nullptr;

TEST_F(RunTest, LeavesCheckpointTableAndEvidence) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string out = dir_ + "/reference";
  for (const char* file : {"best/config.json", "best/model.safetensors", "best/tokenizer.json", "best/recipe.yaml",
                           "best/mergekit.yaml", "best/README.md", "report.html", "candidates.jsonl", "summary.json"}) {
    EXPECT_TRUE(fs::exists(out + "/" + file)) << file;
  }
  const auto summary = nlohmann::json::parse(std::ifstream(out + "/summary.json"));
  EXPECT_EQ(summary["job"], "ja-math");
  EXPECT_EQ(summary["state"], "succeeded");
  EXPECT_EQ(summary["candidates"]["failed"].get<int>(), 0);
  EXPECT_TRUE(summary["best"]["fitness"].is_object());
  for (const char* model : {"base", "ja", "math", "average", "winner"}) {
    const auto& metric = summary["held_out"]["ja_math_test"][model]["acc_ja"];
    EXPECT_EQ(metric["n"], kSamples) << model;
    EXPECT_LE(metric["low"], metric["value"]);
    EXPECT_LE(metric["value"], metric["high"]);
  }
  EXPECT_TRUE(summary["timing"].contains("materialize")) << summary["timing"];
  EXPECT_THAT(reference_->out + reference_->err, HasSubstr("winner"));
  int lines = 0;
  std::ifstream candidates(out + "/candidates.jsonl");
  for (std::string line; std::getline(candidates, line); ++lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_GE(lines, kCandidates + 3);
}

TEST_F(RunTest, SecondRunIntoTheSameFolderAsksForResume) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const Finished again = RunToEnd(RunCommand(job_, dir_ + "/reference"), dir_);
  EXPECT_EQ(again.exit_code, 2) << again.err;
  EXPECT_THAT(again.err, HasSubstr("--resume"));
}

TEST_F(RunTest, TheStoreAnswersTheReadingVerbsAfterwards) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string store = "sqlite:" + dir_ + "/reference/run.db";
  const auto ask = [&](std::vector<std::string> args) {
    args.insert(args.begin(), Binary("merganser"));
    args.insert(args.end(), {"--store", store});
    return RunToEnd(args, dir_);
  };
  EXPECT_THAT(ask({"jobs"}).out, HasSubstr("60/60"));
  EXPECT_THAT(ask({"describe", "ja-math"}).out, HasSubstr("task_arithmetic"));
  EXPECT_THAT(ask({"watch", "ja-math"}).err, HasSubstr("succeeded, best"));
  EXPECT_EQ(ask({"wait", "ja-math", "--for", "best>=2"}).exit_code, 1);
  EXPECT_THAT(ask({"best", "ja-math"}).out, HasSubstr("stacks:"));
  const std::string held_out = ask({"candidates", "ja-math", "--kind", "held_out"}).out;
  EXPECT_THAT(held_out, HasSubstr("winner"));
  EXPECT_THAT(held_out, HasSubstr("ja_math_test acc 0.")) << "they have scores, not a fitness";
  EXPECT_THAT(ask({"describe", "ja-math"}).out, HasSubstr("held out     ja_math_test.acc_ja: base 0.0 %"));
  const Finished logs = ask({"logs", "ja-math/1", "--samples"});
  EXPECT_EQ(logs.exit_code, 0) << logs.err;
  for (const char* told : {"proposed: source base", "attempt 1 on ", "succeeded, fitness 0.", "ja_math.acc_ja 0.", "decode ",
                           "ja_math 0: wrong"}) {
    EXPECT_THAT(logs.out, HasSubstr(told));
  }
  EXPECT_EQ(ask({"logs", "ja-math/9999"}).exit_code, 3);
  EXPECT_THAT(ask({"logs", "ja-math"}).err,
              HasSubstr("'ja-math' is not JOB/CANDIDATE (a number); `merganser events ja-math`"));
  EXPECT_THAT(ask({"events", "ja-math"}).out, HasSubstr("proposed"));
  EXPECT_EQ(ask({"describe", "no-such-job"}).exit_code, 3);
  const Finished report = ask({"report", "ja-math", "--out", dir_ + "/again.html"});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  EXPECT_TRUE(fs::exists(dir_ + "/again.html"));
  const Finished replay = RunToEnd({Binary("merganser"), "replay", "ja-math", "--store", dir_ + "/reference", "--seeds", "1",
                                    "--budget", "2000", "--optimizer", "random", "--skip-error"},
                                   dir_);
  EXPECT_EQ(replay.exit_code, 0) << replay.err;
  EXPECT_THAT(replay.err, HasSubstr("60 recipes of 16 genes")) << "a run's folder is a store";
}

TEST_F(RunTest, ExportedCheckpointScoresAsTheWinnerDid) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string config = dir_ + "/evaluate.yaml";
  std::ofstream(config) << "models: {best: {path: " << dir_ << "/reference/best}}\n"
                        << "benchmarks:\n  ja_math_test:\n    use: mgsm_ja\n    data: "
                        << fs::absolute(MG_SOURCE_DIR).string()
                        << "/examples/ja-math/tasks/ja_math.test.jsonl\n    prompt: \"Q: {{question}}\\nA:\\n\"\n"
                        << "    max_new_tokens: 36\n    stop: []\n    limit: " << kSamples << "\n";
  const Finished evaluated = RunToEnd(
      {Binary("merganser"), "evaluate", config, "--output", dir_ + "/results.json", "--threads", "1", "--device", "cpu"},
      dir_);
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
  const auto results = nlohmann::json::parse(std::ifstream(dir_ + "/results.json"));
  const auto summary = nlohmann::json::parse(std::ifstream(dir_ + "/reference/summary.json"));
  EXPECT_EQ(results["ja_math_test"]["metrics"]["acc_ja"], summary["held_out"]["ja_math_test"]["winner"]["acc_ja"]["value"]);
  EXPECT_EQ(results["ja_math_test"]["results"].size(), kSamples);
}

TEST_F(RunTest, RecipeMergesToTheSameWeights) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string best = dir_ + "/reference/best";
  const Finished merged = RunToEnd({Binary("merganser"), "merge", best + "/recipe.yaml", dir_ + "/merged"}, dir_);
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  const auto bytes = [](const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  };
  EXPECT_EQ(bytes(best + "/model.safetensors"), bytes(dir_ + "/merged/model.safetensors"));
}

struct Interruption {
  std::string name;
  int signal;
  int exit_code;
};

class ResumeTest : public RunTest, public testing::WithParamInterface<Interruption> {};

TEST_P(ResumeTest, GoesOnWithNothingLostAndNothingRunTwice) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string out = dir_ + "/" + GetParam().name;
  {
    Process process("interrupted", RunCommand(job_, out), dir_);
    ASSERT_TRUE(Eventually([&] {
      const auto store = OpenReadOnly(out);
      return store != nullptr && SearchFinished(*store, "job-1") >= 15;
    })) << process.Stderr();
    process.Signal(GetParam().signal);
    EXPECT_EQ(process.Wait(absl::Minutes(2)), GetParam().exit_code) << process.Stderr();
    EXPECT_THAT(process.Stderr(), Not(HasSubstr("lease ended"))) << "a stop that was asked for is no fault";
    if (GetParam().signal == SIGINT) {
      EXPECT_THAT(process.Stderr(), HasSubstr(" run " + job_ + " --out " + out + " --device cpu --threads 1 --resume\n"));
    }
  }
  ASSERT_NO_FATAL_FAILURE(ExpectResumeGoesOn(out));
  const auto best = [&](const std::string& dir) {
    return nlohmann::json::parse(std::ifstream(dir + "/summary.json"))["best"];
  };
  EXPECT_EQ(best(out), best(dir_ + "/reference"));
}

INSTANTIATE_TEST_SUITE_P(All, ResumeTest,
                         testing::Values(Interruption{"ctrl_c", SIGINT, 130}, Interruption{"kill_9", SIGKILL, 137}),
                         [](const auto& info) { return info.param.name; });

TEST_F(RunTest, AFullDiskIsToldOfAndEndsTheRunInTimeAndResumeGoesOn) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string out = dir_ + "/full_disk";
  // A limit on file sizes does to the database what a full disk does.
  const auto blocks = fs::file_size(dir_ + "/reference/run.db") / 2 / 512;
  std::vector<std::string> limited = {"/bin/sh", "-c", absl::StrCat("trap '' XFSZ; ulimit -f ", blocks, "; exec \"$@\""),
                                      "sh"};
  for (const std::string& word : RunCommand(job_, out)) limited.push_back(word);
  limited.insert(limited.end(), {"--store-wait", "6s"});
  const Finished stopped = RunToEnd(limited, dir_);
  EXPECT_EQ(stopped.exit_code, 6) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("waiting: results cannot be written: sqlite:"));
  EXPECT_THAT(stopped.err, HasSubstr("at most for 6.0s (--store-wait)"));
  EXPECT_THAT(stopped.err, HasSubstr("; this run has waited for "));
  EXPECT_THAT(stopped.err, HasSubstr("--resume"));
  ASSERT_NO_FATAL_FAILURE(ExpectResumeGoesOn(out));
}

TEST_F(RunTest, ResumeRefusesAnotherJob) {
  ASSERT_EQ(reference_->exit_code, 0) << reference_->err;
  const std::string dir = FreshDir("run_other");
  const std::string other = WriteJob(dir, kCandidates, kSamples, /*seed=*/7);
  std::vector<std::string> command = RunCommand(other, dir_ + "/reference");
  command.push_back("--resume");
  const Finished finished = RunToEnd(command, dir);
  EXPECT_EQ(finished.exit_code, 2) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("seed"));
}

TEST_F(RunTest, ResumeSaysThatAModelWasReplacedAndDoesNotGoOn) {
  const std::string dir = FreshDir("run_replaced");
  const std::string example = fs::absolute(MG_SOURCE_DIR "/examples/ja-math").string();
  fs::copy(example + "/ja", dir + "/ja");
  const std::string job = WriteJob(dir, 12, /*samples=*/8);
  std::stringstream text;
  text << std::ifstream(job).rdbuf();
  std::ofstream(job) << absl::StrReplaceAll(text.str(), {{example + "/ja}", dir + "/ja}"}});
  std::vector<std::string> command = RunCommand(job, dir + "/out");
  const Finished first = RunToEnd(command, dir);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  fs::remove(dir + "/ja/model.safetensors");
  fs::copy(example + "/base/model.safetensors", dir + "/ja");
  command.push_back("--resume");
  const Finished refused = RunToEnd(command, dir);
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  const std::string replaced = fs::path(dir + "/ja").lexically_normal().string();
  EXPECT_THAT(refused.err, HasSubstr("models.ja.path: '" + replaced + "' has the content "));
}

TEST_F(RunTest, AFinishedRunGoesOnWithALargerBudget) {
  const std::string dir = FreshDir("run_longer");
  ASSERT_EQ(RunToEnd(RunCommand(WriteJob(dir, 12, kSamples), dir + "/out"), dir).exit_code, 0);
  std::vector<std::string> command = RunCommand(WriteJob(dir, kCandidates, kSamples), dir + "/out");
  command.push_back("--resume");
  const Finished longer = RunToEnd(command, dir);
  ASSERT_EQ(longer.exit_code, 0) << longer.err;
  const auto best = [](const std::string& out) {
    nlohmann::json best = nlohmann::json::parse(std::ifstream(out + "/summary.json"))["best"];
    best.erase("candidate");  // the held-out ones of the smaller budget have numbers too
    return best;
  };
  EXPECT_EQ(best(dir + "/out"), best(dir_ + "/reference")) << "as if it had been submitted with it";
}

TEST_F(RunTest, TwoRunsCannotShareOneStore) {
  const std::string dir = FreshDir("run_two");
  const std::string job = WriteJob(dir, 2000, 200);
  Process first("first", RunCommand(job, dir + "/out"), dir);
  ASSERT_TRUE(Eventually([&] { return OpenReadOnly(dir + "/out") != nullptr; })) << first.Stderr();
  std::vector<std::string> command = RunCommand(job, dir + "/out");
  command.push_back("--resume");
  const Finished second = RunToEnd(command, dir);
  EXPECT_NE(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("run.db"));
  EXPECT_THAT(second.err, HasSubstr(std::to_string(first.pid())));
}

}  // namespace
}  // namespace merganser
