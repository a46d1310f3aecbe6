#include "worker/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <thread>
#include <vector>

#include "tests/worker/text/temp_checkpoint.h"

namespace merganser {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

struct GoldenFamily {
  std::string name;
  std::string dir;
  std::string golden;
};
void PrintTo(const GoldenFamily& value, std::ostream* out) { *out << value.name; }

class TokenizerGoldenTest : public testing::TestWithParam<GoldenFamily> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(GetParam().dir);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    cases_ = ReadGolden(GetParam().golden);
    ASSERT_GE(cases_.size(), 60u);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::ordered_json cases_;
};

TEST_P(TokenizerGoldenTest, EncodesAndDecodesAsThePythonLibrary) {
  for (const auto& golden : cases_) {
    const std::string text = golden["text"];
    SCOPED_TRACE(golden.dump());
    const std::vector<int32_t> ids = golden["ids"];
    EXPECT_EQ(tokenizer_->Encode(text, true).value(), ids);
    EXPECT_EQ(tokenizer_->Encode(text, false).value(), golden["plain"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer_->Decode(ids, false).value(), golden["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer_->Decode(ids, true).value(), golden["skipped"].get<std::string>());
  }
}

TEST_P(TokenizerGoldenTest, BatchEqualsOneByOne) {
  std::vector<std::string> texts;
  for (const auto& golden : cases_) texts.push_back(golden["text"]);
  const auto batch = tokenizer_->EncodeBatch(texts, true);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ((*batch)[i], cases_[i]["ids"].get<std::vector<int32_t>>()) << texts[i];
  }
}

TEST_P(TokenizerGoldenTest, EightThreadsShareOne) {
  constexpr int kThreads = 8;
  std::vector<int> wrong(kThreads, 0);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &wrong] {
        for (size_t i = 0; i < cases_.size(); ++i) {
          const auto& golden = cases_[(i + t * 7) % cases_.size()];
          const std::vector<int32_t> want = golden["ids"];
          const auto ids = tokenizer_->Encode(golden["text"].get<std::string>(), true);
          const auto text = tokenizer_->Decode(want, false);
          if (!ids.ok() || *ids != want || !text.ok() || *text != golden["decoded"].get<std::string>()) {
            ++wrong[t];
          }
        }
      });
    }
  }
  EXPECT_THAT(wrong, testing::Each(0));
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerGoldenTest,
                         testing::Values(GoldenFamily{"ByteFallback", ByteFallbackDir(), "byte_fallback.json"},
                                         GoldenFamily{"ByteLevel", ByteLevelDir(), "byte_level.json"}),
                         [](const auto& info) { return info.param.name; });

TEST(TokenizerTest, KnowsItsVocabularyAndSpecialTokens) {
  auto tokenizer = Tokenizer::Load(ByteFallbackDir()).value();
  EXPECT_EQ(tokenizer->vocab_size(), 1024);
  EXPECT_EQ(tokenizer->TokenId("</s>"), 2);
  EXPECT_EQ(tokenizer->TokenId("<0x00>"), 3);
  EXPECT_EQ(tokenizer->TokenId("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->TokenId("\xff"), std::nullopt);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
}

TEST(TokenizerTest, EmptyBatchIsEmpty) {
  auto tokenizer = Tokenizer::Load(ByteFallbackDir()).value();
  EXPECT_TRUE(tokenizer->EncodeBatch({}, true).value().empty());
}

TEST(TokenizerTest, FingerprintIsEqualForTheSameFileOnly) {
  const std::string base = Tokenizer::Load(ByteFallbackDir()).value()->Fingerprint();
  EXPECT_EQ(base.size(), 64u);
  EXPECT_EQ(base, Tokenizer::Load(ByteFallbackDir()).value()->Fingerprint());
  EXPECT_NE(base, Tokenizer::Load(ByteLevelDir()).value()->Fingerprint());
}

TEST(TokenizerTest, StoredTruncationAndPaddingAreIgnored) {
  // The file asks for at most 4 ids and pads to 8.
  const std::string file = ReadFile(ByteLevelDir() + "/tokenizer.json").value();
  ASSERT_THAT(file, AllOf(HasSubstr("\"max_length\":4"), HasSubstr("\"Fixed\":8")));
  auto tokenizer = Tokenizer::Load(ByteLevelDir()).value();
  EXPECT_EQ(tokenizer->Encode("", true)->size(), 0u);
  EXPECT_EQ(tokenizer->Encode("~!~!~!~!~!~!", true)->size(), 12u);
}

// A byte-level tokenizer whose post-processor adds nothing, with this tokenizer_config.json.
std::vector<int32_t> EncodeWithConfig(absl::string_view config) {
  TempCheckpoint dir;
  dir.CopyFrom(ByteLevelDir() + "/tokenizer.json");
  dir.Write("tokenizer_config.json", config);
  auto tokenizer = Tokenizer::Load(dir.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::vector<int32_t> ids = tokenizer.value()->Encode("~", true).value();
  EXPECT_EQ(tokenizer.value()->EncodeBatch({"~"}, true).value(), std::vector<std::vector<int32_t>>{ids});
  return ids;
}

TEST(TokenizerTest, ConfigAddsBosAndEosThatThePostProcessorLacks) {
  const int32_t plain = EncodeWithConfig("{}").at(0);
  const std::string tokens = R"("bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"})";
  EXPECT_THAT(EncodeWithConfig(absl::StrCat("{", tokens, "}")), ElementsAre(plain));
  EXPECT_THAT(EncodeWithConfig(absl::StrCat("{\"add_bos_token\": true,", tokens, "}")), ElementsAre(0, plain));
  EXPECT_THAT(EncodeWithConfig(absl::StrCat("{\"add_eos_token\": true,", tokens, "}")), ElementsAre(plain, 0));
  // Nothing to add: the token is unset.
  EXPECT_THAT(EncodeWithConfig(R"({"add_bos_token": true, "bos_token": null})"), ElementsAre(plain));
}

TEST(TokenizerTest, PostProcessorsBosIsNotDoubledAndEosIsAdded) {
  TempCheckpoint dir;
  dir.CopyFrom(ByteFallbackDir() + "/tokenizer.json");
  dir.Write("tokenizer_config.json", R"({"add_bos_token": true, "add_eos_token": true, "bos_token": "<unk>"})");
  dir.Write("special_tokens_map.json", R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}})");
  auto tokenizer = Tokenizer::Load(dir.path()).value();
  EXPECT_THAT(tokenizer->Encode("", true).value(), ElementsAre(1, 2));
}

TEST(TokenizerTest, TokensDeclaredOnlyInTheConfigJoinTheVocabulary) {
  TempCheckpoint dir;
  dir.CopyFrom(ByteFallbackDir() + "/tokenizer.json");
  dir.Write("tokenizer_config.json", R"({"added_tokens_decoder": {
      "2": {"content": "</s>", "special": true, "normalized": false},
      "1024": {"content": "<image>", "special": true, "normalized": false},
      "1025": {"content": "<pad>", "special": true, "normalized": false}}})");
  auto tokenizer = Tokenizer::Load(dir.path()).value();
  EXPECT_EQ(tokenizer->vocab_size(), 1026);
  EXPECT_EQ(tokenizer->TokenId("<image>"), 1024);
  EXPECT_THAT(tokenizer->Encode("<image><pad>", false).value(), ElementsAre(1024, 1025));
  EXPECT_EQ(tokenizer->Decode({1024}, true).value(), "");
}

TEST(TokenizerTest, DeclaredTokenThatCannotHaveItsIdIsAnError) {
  TempCheckpoint dir;
  dir.CopyFrom(ByteFallbackDir() + "/tokenizer.json");
  dir.Write("tokenizer_config.json", R"({"added_tokens_decoder": {"2000": {"content": "<image>", "special": true}}})");
  const absl::Status status = Tokenizer::Load(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr("added_tokens_decoder"), HasSubstr("2000 '<image>'"), HasSubstr("1024")));
}

TEST(TokenizerTest, AVocabularyAloneNamesTheConversion) {
  TempCheckpoint dir;
  dir.Write("vocab.json", "{}");
  const absl::Status status = Tokenizer::Load(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status),
              HasSubstr(absl::StrCat("python -c \"from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('",
                                     dir.path(), "', use_fast=True).save_pretrained('", dir.path(), "')\"")));
}

TEST(TokenizerTest, NoTokenizerAndNoDirectoryAreNotFound) {
  TempCheckpoint dir;
  const absl::Status empty = Tokenizer::Load(dir.path()).status();
  EXPECT_EQ(empty.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(empty), AllOf(HasSubstr(dir.path()), HasSubstr("tokenizer.json is missing")));
  const absl::Status absent = Tokenizer::Load(dir.path() + "/absent").status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(absent), HasSubstr("no directory '" + dir.path() + "/absent'"));
}

struct BrokenFile {
  std::string name;
  std::string file;
  std::string bytes;
  std::string message;
};
void PrintTo(const BrokenFile& value, std::ostream* out) { *out << value.name; }

class BrokenFileTest : public testing::TestWithParam<BrokenFile> {};

TEST_P(BrokenFileTest, IsAnErrorThatNamesFileAndFault) {
  TempCheckpoint dir;
  if (GetParam().file != "tokenizer.json") dir.CopyFrom(ByteFallbackDir() + "/tokenizer.json");
  dir.Write(GetParam().file, GetParam().bytes);
  const absl::Status status = Tokenizer::Load(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  if (GetParam().message.find("added_tokens_decoder") == std::string::npos) {
    EXPECT_THAT(MessageOf(status), HasSubstr(dir.path() + "/" + GetParam().file));
  }
  EXPECT_THAT(MessageOf(status), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Files, BrokenFileTest,
    testing::Values(
        BrokenFile{"TokenizerCutShort", "tokenizer.json", "{\"model\": ", "EOF"},
        BrokenFile{"TokenizerEmpty", "tokenizer.json", "", "EOF"},
        BrokenFile{"TokenizerNotUtf8", "tokenizer.json", "\xff\xfe", "expected value"},
        BrokenFile{"TokenizerWithoutModel", "tokenizer.json", "{\"version\": \"1.0\"}", "odel"},
        BrokenFile{"ConfigCutShort", "tokenizer_config.json", "{", "parse error"},
        BrokenFile{"ConfigNotAnObject", "tokenizer_config.json", "[]", "not a JSON object"},
        BrokenFile{"AddBosNotBool", "tokenizer_config.json", R"({"add_bos_token": "yes"})",
                   "add_bos_token is not true or false"},
        BrokenFile{"EosNotString", "tokenizer_config.json", R"({"eos_token": 7})", "eos_token is neither a string"},
        BrokenFile{"MapNotString", "special_tokens_map.json", R"({"bos_token": [1]})", "bos_token is neither a string"},
        BrokenFile{"AddedTokensList", "tokenizer_config.json", R"({"added_tokens_decoder": [1]})",
                   "added_tokens_decoder: invalid type"},
        BrokenFile{"AddedTokenKey", "tokenizer_config.json", R"({"added_tokens_decoder": {"x": {}}})",
                   "added_tokens_decoder: 'x' is not a token id"},
        BrokenFile{"AddedTokenContent", "tokenizer_config.json", R"({"added_tokens_decoder": {"5": {}}})",
                   "added_tokens_decoder: token 5 has no string 'content'"}),
    [](const auto& info) { return info.param.name; });

TEST(TokenizerTest, TextThatIsNotUtf8NamesTheByte) {
  auto tokenizer = Tokenizer::Load(ByteFallbackDir()).value();
  const absl::Status one = tokenizer->Encode("abc\xff", true).status();
  EXPECT_EQ(one.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(one), "text is not valid UTF-8 at byte 3");
  const absl::Status batch = tokenizer->EncodeBatch({"fine", "\xc3"}, true).status();
  EXPECT_EQ(MessageOf(batch), "text 1 is not valid UTF-8 at byte 0");
}

TEST(TokenizerTest, TextBeyondTheBoundIsRefused) {
  auto tokenizer = Tokenizer::Load(ByteFallbackDir()).value();
  const std::string text(Tokenizer::kTextBytesMax + 1, 'a');
  const absl::Status status = tokenizer->Encode(text, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status), "text has 67108865 bytes, more than the 67108864 allowed");
  EXPECT_THAT(MessageOf(tokenizer->EncodeBatch({"a", text}, true).status()), HasSubstr("text 1 has 67108865 bytes"));
}

TEST(TokenizerTest, NegativeIdIsAnErrorAndIdBeyondTheVocabularyGivesNoText) {
  auto tokenizer = Tokenizer::Load(ByteFallbackDir()).value();
  const absl::Status status = tokenizer->Decode({5, -3}, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status), "token id -3 at position 1 is negative");
  EXPECT_EQ(tokenizer->Decode({1024, 100000}, true).value(), "");
}

}  // namespace
}  // namespace merganser
