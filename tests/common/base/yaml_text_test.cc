#include "common/base/yaml_text.h"

#include <string>

#include "gtest/gtest.h"

namespace merganser {
namespace {

std::string What(absl::string_view text) { return std::string(CheckYamlText(text, "f.yaml").message()); }

TEST(YamlTextTest, AQuoteThatIsOpenAtTheEndIsToldByItsLine) {
  EXPECT_EQ(What("a: 1\ndtype: \"bfloat16\n"), "f.yaml:2: the quote \" is never closed");
  EXPECT_EQ(What("a: 1\n\ndtype: \""), "f.yaml:3: the quote \" is never closed");
  EXPECT_EQ(What("a:\n  b: {path: 'x}\nc: 1\nd: 2\n"), "f.yaml:2: the quote ' is never closed");
  EXPECT_EQ(What("# don't\na: &anchor \"b\\\"\n"), "f.yaml:2: the quote \" is never closed");
  EXPECT_EQ(What("a: '日本''\nb: 1\n"), "f.yaml:1: the quote ' is never closed");
  EXPECT_EQ(What("a: \"b\n\nc: d"), "f.yaml:1: the quote \" is never closed");
}

TEST(YamlTextTest, AQuoteThatTheNextOneClosesIsToldByItsLine) {
  EXPECT_EQ(What("models:\n  - model: 'a\ndtype: 'bfloat16'\n"),
            "f.yaml:2: the quote ' is closed only in line 3, in front of 'bfloat16''");
  EXPECT_EQ(What("a: {path: \"x}\nstacks:\n  - name: \"m\"\n    sources: [a]\n"),
            "f.yaml:1: the quote \" is closed only in line 3, in front of 'm\"'");
}

TEST(YamlTextTest, ASecondDocumentIsNotDropped) {
  EXPECT_EQ(What("a: 1\n---\nb: 2\n"),
            "f.yaml:2: a second document begins here (---); a file is read as one: write two files");
  EXPECT_EQ(What("---\n# one\na: 1\n---\n"), "");
  EXPECT_EQ(What("---\na: |\n  ---\n  b: 2\n...\n"), "");
}

TEST(YamlTextTest, TextThatTheParserCannotGetBeyondHasAnEnd) {
  EXPECT_EQ(What(", "), "");
  EXPECT_EQ(What(",acs: [pass@1,\n pass@4]\n"), "");
  EXPECT_EQ(What("a: 1\n---\n, b"), "");
}

TEST(YamlTextTest, TextThatIsRightAndOtherMistakesAreNotOfQuotes) {
  for (const char* text :
       {"", "a: b", "a: it's\nb: 5\" long\n", "a: \"x \\\" y\"\nb: 'it''s'", "a: |\n  \"open\nb: >\n  'open\n",
        "a: \"two\n  lines\"\nb: [\"x\", 'y'] # \"open\n",
        "\xEF\xBB\xBF"
        "a: \"b\"\n",
        "a: !!str \"b\"\n", "a: [1\n", "a: \"two\n  lines\"\nb: [1\nc: 2\n", "- \"a\"\n- &b 'c'\n- *b\n", "a: b: c\n"}) {
    EXPECT_EQ(What(text), "") << text;
  }
}

}  // namespace
}  // namespace merganser
