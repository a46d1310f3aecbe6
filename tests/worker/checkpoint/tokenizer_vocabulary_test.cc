#include "worker/checkpoint/tokenizer_vocabulary.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/checkpoint/test_files.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<TokenizerVocabulary> Read(const std::string& json) {
  const std::string dir = NewFolder();
  WriteText(dir + "/tokenizer.json", json);
  return TokenizerVocabulary::Read(dir);
}

TEST(TokenizerVocabularyTest, TokensStandByTheirIds) {
  const auto bpe = Read(
      R"({"model": {"vocab": {"b": 1, "a": 0}}, "added_tokens": [{"id": 3, "content": "<s>", "special": true}, {"id": 1, "content": "b"}]})");
  ASSERT_TRUE(bpe.ok()) << bpe.status();
  EXPECT_THAT(bpe->tokens, ElementsAre("a", "b", "", "<s>"));
  EXPECT_EQ(bpe->ids.at("<s>"), 3);
  EXPECT_THAT(bpe->added.at("<s>"), HasSubstr("special"));
  const auto unigram = Read(R"({"model": {"vocab": [["<unk>", 0], ["x", -1.5]]}})");
  ASSERT_TRUE(unigram.ok()) << unigram.status();
  EXPECT_THAT(unigram->tokens, ElementsAre("<unk>", "x"));
}

TEST(TokenizerVocabularyTest, BrokenFilesAreRefusedByName) {
  const auto message = [](const std::string& json) { return std::string(Read(json).status().message()); };
  EXPECT_THAT(message("{"), HasSubstr("tokenizer.json"));
  EXPECT_THAT(message("{}"), HasSubstr("has no model.vocab"));
  EXPECT_THAT(message(R"({"model": {"vocab": 3}})"), HasSubstr("neither a map nor a list"));
  EXPECT_THAT(message(R"({"model": {"vocab": {"a": "0"}}})"), HasSubstr("token 'a' no whole number"));
  EXPECT_THAT(message(R"({"model": {"vocab": {"a": -1}}})"), HasSubstr("the id -1"));
  EXPECT_THAT(message(R"({"model": {"vocab": {"a": 99999999999}}})"), HasSubstr("the id 99999999999"));
  EXPECT_THAT(message(R"({"model": {"vocab": {"a": 0, "b": 0}}})"), HasSubstr("the id 0 to 'a' and to 'b'"));
  EXPECT_THAT(message(R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "a"}]})"),
              HasSubstr("the ids 0 and 1"));
  EXPECT_THAT(message(R"({"model": {"vocab": [3]}})"), HasSubstr("entry 0 of model.vocab"));
  EXPECT_THAT(message(R"({"model": {"vocab": {}}, "added_tokens": [{}]})"), HasSubstr("added token without"));
  EXPECT_THAT(std::string(TokenizerVocabulary::Read(NewFolder()).status().message()),
              HasSubstr("has no tokenizer.json; make one"));
}

TEST(TokenizerVocabularyTest, AddedTokensGetTheNextIds) {
  const auto vocabulary = Read(R"({"model": {"vocab": {"a": 0, "b": 1}}})");
  ASSERT_TRUE(vocabulary.ok());
  const auto json = TokenizerJsonWith(*vocabulary, {"x", "<y>"}, {"", R"({"id": 77, "content": "<y>", "special": true})"});
  ASSERT_TRUE(json.ok()) << json.status();
  const auto added = nlohmann::json::parse(*json)["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[0]["id"], 2);
  EXPECT_EQ(added[0]["content"], "x");
  EXPECT_EQ(added[0]["special"], false);
  EXPECT_EQ(added[1]["id"], 3);
  EXPECT_EQ(added[1]["special"], true);
}

TEST(TokenizerVocabularyTest, TheChatTemplateIsAFileOrAField) {
  const std::string dir = NewFolder();
  EXPECT_EQ(*ReadChatTemplate(dir), "");
  WriteText(dir + "/tokenizer_config.json", R"({"chat_template": "field", "x": 1})");
  EXPECT_EQ(*ReadChatTemplate(dir), "field");
  WriteText(dir + "/chat_template.jinja", "file");
  EXPECT_EQ(*ReadChatTemplate(dir), "file");
  EXPECT_EQ(nlohmann::json::parse(*TokenizerConfigWithTemplate(dir, "new")),
            (nlohmann::json{{"chat_template", "new"}, {"x", 1}}));
}

}  // namespace
}  // namespace merganser
