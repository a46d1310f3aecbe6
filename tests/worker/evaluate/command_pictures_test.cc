// A user's program that asks a candidate's endpoint about pictures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/evaluate/seeing_model.h"
#include "worker/evaluate/generate.h"
#include "worker/evaluate/local_evaluator.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Asks about the picture in its folder, twice, writes the answers to a file and prints how many differ.
constexpr char kProgram[] = R"(import base64, json, os, urllib.request
url = "data:image/png;base64," + base64.b64encode(open("page.png", "rb").read()).decode()
parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "これは何ですか。"}]
body = {"model": os.environ["MERGANSER_MODEL"], "messages": [{"role": "user", "content": parts}], "max_tokens": 3, "temperature": 0}
answers = []
for turn in range(2):
    request = urllib.request.Request(os.environ["MERGANSER_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
                                     {"Authorization": "Bearer " + os.environ["MERGANSER_API_KEY"], "Content-Type": "application/json"})
    answers.append(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
open("answer.txt", "w", encoding="utf-8").write(answers[0])
print(json.dumps({"different": float(len(set(answers)) - 1)}))
)";

class CommandPicturesTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/command_pictures" + std::to_string(::getpid());
    WriteSeeingModel(dir_ + "/vlm");
    std::ofstream(dir_ + "/vlm/chat_template.jinja")
        << "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}A:\n";
    fs::copy_file(Picture("page.png"), dir_ + "/page.png");
    std::ofstream(dir_ + "/ask.py") << kProgram;
    std::ofstream(dir_ + "/score.yaml") << "run: [python3, ask.py]\ntimeout: 120\nmax_length: 256\n";
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string dir_;
};

TEST_F(CommandPicturesTest, AProgramIsAnsweredAsGenerateAnswers) {
  LocalOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.allow_commands = true;
  JobSpec spec;
  spec.name = "command";
  spec.models = {{"vlm", dir_ + "/vlm"}};
  spec.parameter.method = "linear";
  spec.parameter.sources = {"vlm"};
  spec.dtype = "float32";
  BenchmarkSpec command;
  command.name = "asked";
  command.use = "command";
  command.data = dir_ + "/score.yaml";
  spec.benchmarks = {command};
  Recipe recipe;
  recipe.models = spec.models;
  recipe.stacks = {{.name = "vlm", .sources = {"vlm"}}};
  recipe.tokenizer_from = "vlm";
  recipe.dtype = "float32";

  LocalEvaluator evaluator(options);
  const auto evaluation = evaluator.Evaluate(spec, recipe, {"asked"}, [](absl::string_view) {}, {});
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_EQ(evaluation->results.at(0).metrics.at("different"), 0);

  GenerateRequest request{dir_ + "/vlm", "これは何ですか。"};
  request.images = {dir_ + "/page.png"};
  request.chat = true;
  request.max_new_tokens = 3;
  const auto generated = GenerateOnce(request, options, {});
  ASSERT_TRUE(generated.ok()) << generated.status();
  EXPECT_EQ(ReadFile(dir_ + "/answer.txt").value(), generated->text);
  EXPECT_NE(generated->text, "");
}

}  // namespace
}  // namespace merganser
