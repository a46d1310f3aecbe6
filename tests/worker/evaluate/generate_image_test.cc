// Pictures through `merganser generate`, and a language model merged into a model that sees.
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"
#include "tests/worker/evaluate/seeing_model.h"
#include "worker/evaluate/export.h"
#include "worker/evaluate/generate.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class GenerateImageTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/see" + std::to_string(::getpid());
    WriteSeeingModel(dir_ + "/vlm");
  }
  void TearDown() override { fs::remove_all(dir_); }

  static absl::StatusOr<GenerateResult> Ask(const std::string& model, std::vector<std::string> images,
                                            const std::string& prompt) {
    GenerateRequest request{model, prompt};
    request.images = std::move(images);
    request.max_new_tokens = 12;
    request.beams = 5;
    request.repetition_penalty = 1.5;
    return GenerateOnce(request, CpuOptions(), {});
  }

  std::string dir_;
};

TEST_F(GenerateImageTest, TheAnswerDependsOnThePicture) {
  const auto rocket = Ask(dir_ + "/vlm", {Picture("rocket.jpg")}, "これは何ですか。");
  ASSERT_TRUE(rocket.ok()) << rocket.status();
  const auto page = Ask(dir_ + "/vlm", {Picture("page.png")}, "これは何ですか。");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_NE(rocket->text, page->text);
  const auto blind = Ask(dir_ + "/vlm", {}, "これは何ですか。");
  ASSERT_TRUE(blind.ok()) << blind.status();
  EXPECT_GT(rocket->prompt_tokens, blind->prompt_tokens + 16);  // at least the whole picture's patches
  // Without a mark, a picture stands before the text on a line of its own.
  const auto marked = Ask(dir_ + "/vlm", {Picture("rocket.jpg")}, "<image>\nこれは何ですか。");
  ASSERT_TRUE(marked.ok()) << marked.status();
  EXPECT_EQ(marked->text, rocket->text);
}

// The article's own call of EvoVLM-JP: a system text, a picture and a question through the chat template, 5 beams,
// repetition penalty 1.5; and the same with LLaVA-1.6's template (tests/golden/seeing_chat_goldens.py).
TEST_F(GenerateImageTest, AChatIsAnsweredAsTransformersAnswersIt) {
  const auto golden =
      nlohmann::json::parse(ReadFile(MG_SOURCE_DIR "/tests/worker/evaluate/testdata/seeing_chat.json").value());
  LocalOptions options = CpuOptions();
  options.compute = "fp32";
  for (const auto& [name, chat] : golden["templates"].items()) {
    std::ofstream(dir_ + "/vlm/chat_template.jinja") << chat["template"].get<std::string>();
    GenerateRequest request{dir_ + "/vlm", golden["question"]};
    request.images = {Picture("rocket.jpg")};
    request.chat = true;
    request.system = golden["system"];
    request.max_new_tokens = golden["new_tokens"];
    request.beams = 5;
    request.repetition_penalty = 1.5;
    const auto answer = GenerateOnce(request, options, {});
    ASSERT_TRUE(answer.ok()) << name << ": " << answer.status();
    EXPECT_EQ(answer->prompt_tokens, chat["prompt_tokens"]) << name;
    EXPECT_EQ(answer->text, chat["answer"]) << name;
  }
  fs::remove(dir_ + "/vlm/chat_template.jinja");
  GenerateRequest request{dir_ + "/vlm", "?"};
  request.chat = true;
  EXPECT_THAT(GenerateOnce(request, options, {}).status().message(), HasSubstr("no chat template in '"));
  request.chat = false;
  request.system = "短く。";
  EXPECT_THAT(GenerateOnce(request, options, {}).status().message(), HasSubstr("add --chat"));
}

TEST_F(GenerateImageTest, ErrorsSayWhatIsWrong) {
  EXPECT_THAT(Ask(dir_ + "/vlm", {Picture("rocket.jpg")}, "<image> <image>").status().message(),
              HasSubstr("2 image tokens"));
  EXPECT_THAT(Ask(dir_ + "/vlm", {Picture("truncated.jpg")}, "x").status().message(), HasSubstr("truncated.jpg"));
  EXPECT_THAT(Ask(ExampleDir() + "/ja", {Picture("rocket.jpg")}, "x").status().message(), HasSubstr("does not see"));
  fs::remove(dir_ + "/vlm/preprocessor_config.json");
  EXPECT_THAT(Ask(dir_ + "/vlm", {Picture("rocket.jpg")}, "x").status().message(), HasSubstr("preprocessor_config.json"));
}

TEST_F(GenerateImageTest, ALanguageModelMergedIntoAVlmGivesAVlm) {
  ExportRequest request;
  request.out_dir = dir_ + "/merged";
  Recipe& recipe = request.recipe;
  recipe.models = {{"vlm", dir_ + "/vlm"}, {"ja", ExampleDir() + "/ja", "", {{"", "language_model."}}}};
  Stack stack;
  stack.name = "merged";
  stack.method = "linear";
  stack.sources = {"vlm", "ja"};
  stack.settings = {{{}, {{{"weight", 0.5}}, {{"weight", 0.5}}}, {}}};
  recipe.stacks = {stack};
  recipe.tokenizer_from = recipe.vocabulary_from = recipe.config_from = "vlm";
  recipe.dtype = "float32";
  const auto facts = ExportRecipe(request, CpuOptions(), {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_TRUE(fs::exists(dir_ + "/merged/preprocessor_config.json"));
  const auto merged = Ask(dir_ + "/merged", {Picture("rocket.jpg")}, "これは何ですか。");
  ASSERT_TRUE(merged.ok()) << merged.status();
  const auto source = Ask(dir_ + "/vlm", {Picture("rocket.jpg")}, "これは何ですか。");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_NE(merged->text, source->text);
}

TEST(GenerateTest, SettingsOutOfRangeAreNamedBeforeAnythingIsLoaded) {
  const auto message = [](const std::function<void(GenerateRequest&)>& change) {
    GenerateRequest request;
    request.model = ExampleDir() + "/ja";
    request.prompt = "1";
    change(request);
    return std::string(GenerateOnce(request, LocalOptions{.device = "cpu"}, {}).status().message());
  };
  EXPECT_EQ(message([](auto& r) { r.top_p = 3; }), "top_p is 3, not in (0, 1]");
  EXPECT_EQ(message([](auto& r) { r.beams = 65; }), "beams is 65, not in [1, 64]");
  EXPECT_EQ(message([](auto& r) { r.max_new_tokens = 0; }), "max_new_tokens is 0, below 1");
  EXPECT_EQ(message([](auto& r) { r.stop = {""}; }), "stop: a text to end at is empty");
  EXPECT_THAT(message([](auto& r) { r.max_new_tokens = 100'000; }),
              testing::AllOf(testing::StartsWith("max_new_tokens: a prompt of "), testing::HasSubstr("config.json")));
}

}  // namespace
}  // namespace merganser
