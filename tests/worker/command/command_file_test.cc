#include "worker/command/command_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(CommandFileTest, EveryField) {
  const auto file = ParseCommandFile(
      "run: [python3, score.py, --fast]\nmodel: checkpoint\ntimeout: 1.5\nenv: {SEED: 7}\noutput_bytes: 100\n"
      "max_length: 512\nmetrics: [acc, f1]\n",
      "/jobs/score.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->program.argv, ElementsAre("python3", "score.py", "--fast"));
  EXPECT_EQ(file->program.directory, "/jobs");
  EXPECT_EQ(file->program.timeout, absl::Seconds(1.5));
  EXPECT_THAT(file->program.env, ElementsAre(Pair("SEED", "7")));
  EXPECT_EQ(file->program.output_bytes_max, 100);
  EXPECT_EQ(file->model, CommandModel::kCheckpoint);
  EXPECT_EQ(file->max_length, 512);
  EXPECT_THAT(file->metrics, ElementsAre("acc", "f1"));
}

TEST(CommandFileTest, ATextIsReadByAShell) {
  const auto file = ParseCommandFile("run: ./score.sh | tail -1\n", "score.yaml");
  EXPECT_THAT(file->program.argv, ElementsAre("/bin/sh", "-c", "./score.sh | tail -1"));
  EXPECT_EQ(file->model, CommandModel::kEndpoint);
}

TEST(CommandFileTest, ErrorsNameLineAndField) {
  const std::pair<const char*, const char*> cases[] = {
      {"model: checkpoint\n", "s.yaml:1: run: missing: the program and its arguments"},
      {"run: [a]\nmodel: onnx\n", "s.yaml:2: model: 'onnx' is neither endpoint nor checkpoint"},
      {"run: [a]\ntimeuot: 3\n", "s.yaml:2: timeuot: no such field; did you mean 'timeout'?"},
      {"run: [a]\ntimeout: soon\n", "s.yaml:2: timeout: must be a number"},
      {"run: [a]\ntimeout: 0\n", "s.yaml:2: timeout: 0 is not in [0.001, 2.592e+06]"},
      {"run: [a, [b]]\n", "s.yaml:1: run: must be a list of texts"},
      {"run: [a]\nenv: [x]\n", "s.yaml:2: env: must be a map of names and texts"},
      {"- a\n", "s.yaml: no map with 'run'"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(ParseCommandFile(text, "s.yaml").status().message(), message) << text;
  EXPECT_FALSE(ParseCommandFile("run: [a\n", "s.yaml").ok());
}

}  // namespace
}  // namespace merganser
