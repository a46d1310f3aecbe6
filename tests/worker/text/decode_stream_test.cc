#include "worker/text/decode_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/worker/text/temp_checkpoint.h"

namespace merganser {
namespace {

std::string Joined(DecodeStream stream, const std::vector<int32_t>& ids, size_t chunk) {
  std::string text;
  for (size_t i = 0; i < ids.size(); i += chunk) {
    const size_t n = std::min(chunk, ids.size() - i);
    text += stream.Append(absl::MakeConstSpan(ids).subspan(i, n)).value();
  }
  return text + stream.Finish().value();
}

// The ids of the byte-fallback tokens <0xNN>.
std::vector<int32_t> Bytes(const Tokenizer& tokenizer, absl::string_view bytes) {
  std::vector<int32_t> ids;
  for (unsigned char byte : bytes) {
    ids.push_back(tokenizer.TokenId(absl::StrFormat("<0x%02X>", byte)).value());
  }
  return ids;
}

class DecodeStreamTest : public testing::Test {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::Load(ByteFallbackDir()).value();
};

TEST_F(DecodeStreamTest, PiecesJoinedAreTheWholeDecodingOfEveryGolden) {
  auto byte_level = Tokenizer::Load(ByteLevelDir()).value();
  const std::vector<std::pair<const Tokenizer*, std::string>> families = {{tokenizer_.get(), "byte_fallback.json"},
                                                                          {byte_level.get(), "byte_level.json"}};
  for (const auto& [tokenizer, file] : families) {
    for (const auto& golden : ReadGolden(file)) {
      SCOPED_TRACE(file + golden.dump());
      const std::vector<int32_t> ids = golden["ids"];
      for (size_t chunk : {1, 2, 3, 7}) {
        EXPECT_EQ(Joined(DecodeStream(tokenizer, false), ids, chunk), golden["decoded"].get<std::string>());
        EXPECT_EQ(Joined(DecodeStream(tokenizer, true), ids, chunk), golden["skipped"].get<std::string>());
      }
    }
  }
}

TEST_F(DecodeStreamTest, EveryPieceIsWholeCharacters) {
  const std::vector<int32_t> ids = Bytes(*tokenizer_, "é字🍎");
  const std::vector<std::string> want = {"", "é", "", "", "字", "", "", "", "🍎"};
  DecodeStream stream(tokenizer_.get(), true);
  std::vector<std::string> pieces;
  for (int32_t id : ids) pieces.push_back(stream.Append(id).value());
  EXPECT_EQ(pieces, want);
  EXPECT_EQ(stream.Finish().value(), "");
}

TEST_F(DecodeStreamTest, SpaceBeforeAWordStaysAfterASpecialToken) {
  const std::vector<int32_t> word = tokenizer_->Encode("a", false).value();
  std::vector<int32_t> ids = word;
  ids.push_back(2);
  ids.insert(ids.end(), word.begin(), word.end());
  EXPECT_EQ(Joined(DecodeStream(tokenizer_.get(), true), ids, 1), "a a");
  EXPECT_EQ(tokenizer_->Decode(ids, true).value(), "a a");
}

TEST_F(DecodeStreamTest, IncompleteBytesAtTheEndComeOutOfFinish) {
  DecodeStream stream(tokenizer_.get(), true);
  const std::vector<int32_t> ids = Bytes(*tokenizer_, "字");
  EXPECT_EQ(stream.Append({ids.data(), 2}).value(), "");
  EXPECT_EQ(stream.Finish().value(), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_F(DecodeStreamTest, TextHandedOutStaysWhenGarbageFollows) {
  std::vector<int32_t> ids = Bytes(*tokenizer_, "é\xE5");
  const std::vector<int32_t> word = tokenizer_->Encode("b", false).value();
  ids.insert(ids.end(), word.begin(), word.end());
  EXPECT_EQ(Joined(DecodeStream(tokenizer_.get(), true), ids, 1), "é\xEF\xBF\xBD b");
}

TEST_F(DecodeStreamTest, CopyGoesItsOwnWay) {
  const std::vector<int32_t> bytes = Bytes(*tokenizer_, "字");
  DecodeStream one(tokenizer_.get(), true);
  ASSERT_EQ(one.Append({bytes.data(), 2}).value(), "");
  DecodeStream two = one;
  EXPECT_EQ(one.Append(bytes[2]).value(), "字");
  EXPECT_EQ(two.Append(Bytes(*tokenizer_, "\x96")[0]).value(),
            "\xE5\xAD\x96");  // the neighbour character
}

TEST_F(DecodeStreamTest, NegativeIdIsAnErrorThatLeavesTheStreamAsItWas) {
  const std::vector<int32_t> ids = Bytes(*tokenizer_, "字");
  DecodeStream stream(tokenizer_.get(), true);
  ASSERT_EQ(stream.Append({ids.data(), 2}).value(), "");
  EXPECT_EQ(stream.Append(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stream.Append(ids[2]).value(), "字");
}

}  // namespace
}  // namespace merganser
