#include "common/base/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(FindInvalidUtf8Test, EveryCodePointButSurrogatesIsText) {
  for (uint32_t c = 0; c <= 0x10ffff; ++c) {
    std::string text;
    if (c < 0x80) {
      text = {static_cast<char>(c)};
    } else if (c < 0x800) {
      text = {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text = {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      text = {static_cast<char>(0xf0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
    const bool surrogate = c >= 0xd800 && c <= 0xdfff;
    ASSERT_EQ(FindInvalidUtf8("a" + text + "b"), surrogate ? 1u : std::string::npos) << c;
  }
}

TEST(WithLoneBytesAsCharactersTest, OnlyBytesThatAreNoTextChange) {
  EXPECT_EQ(WithLoneBytesAsCharacters("é\xa0né\x85"), "é\u00a0né\u0085");
  EXPECT_EQ(WithLoneBytesAsCharacters("\xa0"), "\u00a0");
  EXPECT_EQ(WithLoneBytesAsCharacters("日本語"), "日本語");
  EXPECT_EQ(WithLoneBytesAsCharacters(""), "");
}

TEST(FindInvalidUtf8Test, TheFirstBadByteIsFound) {
  EXPECT_EQ(FindInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FindInvalidUtf8("\x80"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xc0\xaf"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("\xe0\x80\xaf"), 0u);      // overlong
  EXPECT_EQ(FindInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(FindInvalidUtf8("é\xe2\x82"), 2u);         // cut short
  EXPECT_EQ(FindInvalidUtf8("\xc3("), 0u);
  EXPECT_EQ(FindInvalidUtf8(""), std::string::npos);
}

TEST(CheckUtf8Test, FileAndLineAreNamed) {
  EXPECT_TRUE(CheckUtf8("a: é\n", "f.yaml").ok());
  EXPECT_EQ(CheckUtf8("a: b\nc: \xff\n", "f.yaml"), absl::InvalidArgumentError("f.yaml:2: not UTF-8 text"));
}

}  // namespace
}  // namespace merganser
