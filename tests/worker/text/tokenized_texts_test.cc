#include "worker/text/tokenized_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/worker/text/temp_checkpoint.h"

namespace merganser {
namespace {

class TokenizedTextsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(MG_SOURCE_DIR "/examples/ja-math/base");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizedTextsTest, GivesTheTokensOfEachTextByItself) {
  TokenizedTexts texts(*tokenizer_);
  const std::vector<std::string> all = {"5+3=8", "", "答えは8個です。", "5+3=8", " 5+3=8", "書</s>"};
  for (const std::string& text : all) {
    for (const bool special : {true, false}) texts.Add(text, special);
  }
  texts.Tokenize();
  EXPECT_EQ(texts.size(), 10u);  // five, with and without special tokens
  for (const std::string& text : all) {
    for (const bool special : {true, false}) {
      EXPECT_EQ(texts.Encode(text, special).value(), tokenizer_->Encode(text, special).value()) << text << special;
    }
  }
}

TEST_F(TokenizedTextsTest, AChoicesContextIsTokenizedOnceAndABatchForgetsTheOneBefore) {
  TokenizedTexts texts(*tokenizer_);
  const std::string context(TokenizedTexts::kBatchBytes / 2, 'a');
  for (int choice = 0; choice < 4; ++choice) texts.Add(context, true);
  EXPECT_FALSE(texts.full());
  texts.Add(context + "b", true);
  EXPECT_TRUE(texts.full());
  texts.Tokenize();
  EXPECT_FALSE(texts.full());
  EXPECT_EQ(texts.size(), 2u);
  texts.Add("c", true);
  texts.Tokenize();
  EXPECT_EQ(texts.size(), 1u);
  EXPECT_EQ(texts.Encode("d", true).value(), tokenizer_->Encode("d", true).value());
}

TEST_F(TokenizedTextsTest, ATextThatCannotBeTokenizedSpoilsNoOther) {
  TokenizedTexts texts(*tokenizer_);
  for (const char* text : {"5+3", "\xff", "=8"}) texts.Add(text, false);
  texts.Tokenize();
  EXPECT_EQ(texts.Encode("=8", false).value(), tokenizer_->Encode("=8", false).value());
  EXPECT_EQ(texts.Encode("\xff", false).status(), tokenizer_->Encode("\xff", false).status());
}

}  // namespace
}  // namespace merganser
