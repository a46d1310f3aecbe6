// Directories that hold only tokenizer.model. Golden values: tests/golden/sentencepiece_goldens.py (transformers).
#include <gmock/gmock.h>

#include <array>
#include <cstdlib>

#include "tests/worker/text/temp_checkpoint.h"
#include "worker/text/sentencepiece_model.h"
#include "worker/text/tokenizer.h"

namespace merganser {
namespace {

using nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

void Prepare(const ordered_json& golden, TempCheckpoint* dir) {
  const std::string model = golden["model"];
  dir->Write(golden["file"].get<std::string>(),
             ReadFile(model.front() == '/' ? model : TextTestData("sentencepiece/" + model)).value());
  for (const auto& [name, content] : golden["files"].items()) dir->Write(name, content.dump());
}

void ExpectGolden(const ordered_json& golden) {
  SCOPED_TRACE(golden["name"].get<std::string>());
  TempCheckpoint dir;
  Prepare(golden, &dir);
  const auto tokenizer = Tokenizer::Load(dir.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), golden["vocab_size"]);
  EXPECT_EQ((*tokenizer)->bos_id(), golden["bos_id"].is_null() ? std::nullopt : std::optional<int32_t>(golden["bos_id"]));
  EXPECT_EQ((*tokenizer)->eos_id(), golden["eos_id"].is_null() ? std::nullopt : std::optional<int32_t>(golden["eos_id"]));
  for (const ordered_json& one : golden["encodings"]) {
    const std::string text = one["text"];
    const Ids ids = one["ids"];
    EXPECT_EQ((*tokenizer)->Encode(text, false).value(), ids) << text;
    EXPECT_EQ((*tokenizer)->Encode(text, true).value(), one["with_special"].get<Ids>()) << text;
    EXPECT_EQ((*tokenizer)->Decode(ids, false).value(), one["decoded"].get<std::string>()) << text;
    EXPECT_EQ((*tokenizer)->Decode(ids, true).value(), one["skipped"].get<std::string>()) << text;
  }
}

TEST(SentencePieceTest, GivesTheIdsOfTransformers) {
  const ordered_json goldens = ReadGolden("sentencepiece/cases.json");
  ASSERT_EQ(goldens.size(), 22u);
  for (const ordered_json& golden : goldens) ExpectGolden(golden);
}

// A model that is not in the tree: see the script's DIR argument.
TEST(SentencePieceTest, GivesTheIdsOfTransformersForAGivenModel) {
  const char* const file = std::getenv("MERGANSER_SENTENCEPIECE");
  if (file == nullptr) GTEST_SKIP() << "MERGANSER_SENTENCEPIECE names no file of tests/golden/sentencepiece_goldens.py";
  for (const ordered_json& golden : ordered_json::parse(ReadFile(file).value())) ExpectGolden(golden);
}

TEST(SentencePieceTest, TokenizerJsonWinsWhereThereIsOne) {
  TempCheckpoint dir;
  dir.CopyFrom(ByteFallbackDir() + "/tokenizer.json");
  dir.Write("tokenizer.model", "broken");
  EXPECT_TRUE(Tokenizer::Load(dir.path()).ok());
}

TEST(SentencePieceTest, AClassOfItsOwnKindNamesTheConversion) {
  TempCheckpoint dir;
  dir.CopyFrom(TextTestData("sentencepiece/unigram.model"));
  std::filesystem::rename(dir.path() + "/unigram.model", dir.path() + "/tokenizer.model");
  dir.Write("tokenizer_config.json", R"({"tokenizer_class": "AlbertTokenizer"})");
  const absl::Status status = Tokenizer::Load(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("tokenizer.model"), HasSubstr("tokenizer_class AlbertTokenizer"), HasSubstr("save_pretrained")));
}

TEST(SentencePieceTest, SentinelsThatDifferFromTheModelsOwnAreAnError) {
  TempCheckpoint dir;
  // A piece "<extra_id_0>" of the user-defined type (4), and its model type.
  dir.Write("spiece.model", std::string("\x0a\x10\x0a\x0c<extra_id_0>\x18\x04", 18));
  dir.Write("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer", "extra_ids": 5})");
  EXPECT_THAT(std::string(Tokenizer::Load(dir.path()).status().message()),
              AllOf(HasSubstr("spiece.model: extra_ids is 5, but 1 of its pieces are <extra_id_N>")));
  dir.Write("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer", "extra_ids": -1})");
  EXPECT_THAT(std::string(Tokenizer::Load(dir.path()).status().message()),
              HasSubstr("tokenizer_config.json: extra_ids is -1, not a number from 0 to 100000"));
}

TEST(SentencePieceTest, BrokenAddedTokensAreErrorsThatNameTheFile) {
  ordered_json golden = ReadGolden("sentencepiece/cases.json")[0];
  for (const auto& [name, content, message] : std::vector<std::array<std::string, 3>>{
           {"added_tokens.json", R"({"<a>": "x"})", "added_tokens.json: the id of '<a>' is \"x\""},
           {"added_tokens.json", R"({"<a>": 500})", "token 500 '<a>' would have the id 420"},
           {"special_tokens_map.json", R"({"pad_token": 3})", "special_tokens_map.json: pad_token is neither"},
           {"tokenizer_config.json", R"({"extra_special_tokens": ["<a>", 3]})",
            "extra_special_tokens has 3, which is no token"}}) {
    TempCheckpoint dir;
    Prepare(golden, &dir);
    dir.Write(name, content);
    EXPECT_THAT(std::string(Tokenizer::Load(dir.path()).status().message()), HasSubstr(message));
  }
}

TEST(SentencePieceTest, ADeclaredTokenThatCannotHaveItsIdIsAnError) {
  ordered_json golden = ReadGolden("sentencepiece/cases.json")[1];
  ordered_json& declared = golden["files"]["tokenizer_config.json"]["added_tokens_decoder"];
  declared["500"] = declared["420"];
  declared.erase("420");
  declared.erase("421");
  TempCheckpoint dir;
  Prepare(golden, &dir);
  EXPECT_THAT(
      std::string(Tokenizer::Load(dir.path()).status().message()),
      AllOf(HasSubstr("tokenizer.model"), HasSubstr("token 500 '<extra>' would have the id 420 behind the 420 pieces")));
}

TEST(SentencePieceTest, BrokenModelsAreErrorsThatNameThePlace) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "it has no pieces"},
      {"x", "at byte 0 a number is cut off"},
      {"\x0a", "a length is cut off"},
      {std::string("\x0a\x05\x0a\x03\xff\xfe", 6), "longer than what is left"},
      {std::string("\x0a\x04\x0a\x02\xff\xfe", 6), "piece 0 is not UTF-8"},
      {std::string("\x0a\x03\x0a\x01"
                   "a\x12\x02\x18\x03",
                   9),
       "model type is 3"},
      {std::string("\x0a\x03\x0a\x01"
                   "a\x12\x03\xc0\x02\x05",
                   10),
       "unk_id 5 is not in [0, 1)"},
      {"\x0b", "unknown wire type 3"},
  };
  for (const auto& [bytes, message] : cases) {
    const absl::Status status = SentencePieceModel::Parse(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  // Cut anywhere: an error or fewer pieces, never a crash.
  const std::string whole = ReadFile(TextTestData("sentencepiece/bpe.model")).value();
  for (size_t size = 0; size < whole.size(); size += 7) (void)SentencePieceModel::Parse(whole.substr(0, size));
}

}  // namespace
}  // namespace merganser
