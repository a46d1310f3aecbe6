#include "worker/benchmark/language_id.h"

#include <cstdlib>
#include <sstream>
#include <thread>

#include "tests/worker/benchmark/test_files.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

class LanguageIdTest : public testing::Test {
 protected:
  void SetUp() override {
    auto model = LanguageId::Load(LanguageModelPath());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
  }
  double P(absl::string_view text, absl::string_view language = "ja") {
    const auto p = model_->Probability(text, language);
    EXPECT_TRUE(p.ok()) << p.status();
    return p.value_or(-1);
  }
  std::shared_ptr<const LanguageId> model_;
};

// Golden: the fastText 0.9.2 program and Python binding on the same file.
TEST_F(LanguageIdTest, ProbabilitiesAreTheOriginals) {
  EXPECT_NEAR(P("答えは18です。"), 0.999821, 1e-5);
  EXPECT_NEAR(P("答案是18。"), 0.517, 1e-3);
  EXPECT_NEAR(P("答案是18。", "zh"), 0.460, 1e-3);
  EXPECT_NEAR(P("", "en"), 0.1245, 1e-4);
  EXPECT_NEAR(P("18", "en"), 0.1245, 1e-4);
  EXPECT_LT(P("The answer is 18."), 0.01);
}

TEST_F(LanguageIdTest, LineFeedsAreRemovedNotReadAsSpaces) {
  EXPECT_EQ(P("\n答え\nは18\nです。\n"), P("答えは18です。"));
  EXPECT_EQ(P("now\nhere", "en"), P("nowhere", "en"));
  EXPECT_NE(P("now\nhere", "en"), P("now here", "en"));
}

TEST_F(LanguageIdTest, AnyBytesHaveAProbability) {
  for (const std::string& text : {std::string("\0\0", 2), std::string("\xff\xfe"), std::string(100000, ' '),
                                  std::string("</s> 日本"), std::string("\r\t\v\f")}) {
    EXPECT_GE(P(text), 0);
    EXPECT_LE(P(text), 1.001);
  }
}

TEST_F(LanguageIdTest, OneModelServesAllThreads) {
  const double want = P("答えは18です。");
  std::vector<std::thread> threads;
  std::vector<int> same(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) same[t] += *model_->Probability("答えは18です。", "ja") == want;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(same, testing::Each(50));
}

TEST_F(LanguageIdTest, ASecondLoadSharesTheFirst) {
  const auto again = LanguageId::Load(LanguageModelPath());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->get(), model_.get());
}

TEST_F(LanguageIdTest, UnknownLanguageIsAnError) {
  EXPECT_TRUE(model_->CheckLanguage("ja").ok());
  ExpectError(model_->CheckLanguage("xq"), StatusCode::kInvalidArgument,
              HasSubstr("language 'xq' is not one of the language model's 176"));
}

TEST(LanguageIdLoad, MissingFileSaysWhereToGetIt) {
  ExpectError(LanguageId::Load(TestFolder() + "/none.ftz"), StatusCode::kFailedPrecondition,
              AllOf(HasSubstr("none.ftz"), HasSubstr("LID176FTZ_PATH"), HasSubstr("https://")));
}

TEST(LanguageIdLoad, OtherFilesAreRefused) {
  ExpectError(LanguageId::Load(WriteTestFile("text.ftz", "not a model at all")), StatusCode::kInvalidArgument,
              HasSubstr("is not a whole fastText language model"));
  ExpectError(LanguageId::Load(WriteTestFile("empty.ftz", "")), StatusCode::kInvalidArgument,
              HasSubstr("is not a whole fastText language model"));
}

TEST(LanguageIdLoad, AFileThatEndsEarlyIsRefusedWhereverItEnds) {
  std::ostringstream bytes;
  bytes << std::ifstream(LanguageModelPath(), std::ios::binary).rdbuf();
  const std::string whole = bytes.str();
  ASSERT_GT(whole.size(), 900000u);
  for (const size_t size : {size_t{20}, size_t{100}, size_t{5000}, whole.size() / 2, whole.size() - 1}) {
    const std::string path = WriteTestFile(absl::StrCat("cut", size, ".ftz"), whole.substr(0, size));
    ExpectError(LanguageId::Load(path), StatusCode::kInvalidArgument, HasSubstr("is not a whole fastText language model"));
  }
}

class FindLanguageModelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("LID176FTZ_PATH")) saved_ = value;
    unsetenv("LID176FTZ_PATH");
  }
  void TearDown() override {
    unsetenv("LID176FTZ_PATH");
    if (!saved_.empty()) setenv("LID176FTZ_PATH", saved_.c_str(), 1);
  }
  std::string saved_;
};

TEST_F(FindLanguageModelTest, ExplicitThenVariableThenFolders) {
  const std::string a = WriteTestFile("a.ftz", "a");
  const std::string b = WriteTestFile("b.ftz", "b");
  const std::string beside = WriteTestFile("lid.176.ftz", "c");
  EXPECT_EQ(*FindLanguageModel("", {"/no-such-folder", TestFolder()}), beside);
  setenv("LID176FTZ_PATH", b.c_str(), 1);
  EXPECT_EQ(*FindLanguageModel("", {TestFolder()}), b);
  EXPECT_EQ(*FindLanguageModel(a, {TestFolder()}), a);
}

TEST_F(FindLanguageModelTest, NothingFoundNamesTheVariableAndTheSource) {
  const auto wants =
      AllOf(HasSubstr("LID176FTZ_PATH"), HasSubstr("https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz"));
  ExpectError(FindLanguageModel("", {"/no-such-folder"}), StatusCode::kFailedPrecondition,
              AllOf(wants, HasSubstr("/no-such-folder/lid.176.ftz")));
  ExpectError(FindLanguageModel("/no/such.ftz", {}), StatusCode::kFailedPrecondition,
              AllOf(wants, HasSubstr("'/no/such.ftz'")));
  setenv("LID176FTZ_PATH", "/no/other.ftz", 1);
  ExpectError(FindLanguageModel("", {}), StatusCode::kFailedPrecondition,
              HasSubstr("LID176FTZ_PATH names '/no/other.ftz', which is not a file"));
}

}  // namespace
}  // namespace merganser
