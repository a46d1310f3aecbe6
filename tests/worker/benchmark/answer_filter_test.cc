#include "worker/benchmark/answer_filter.h"

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/text_forms.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

FilterStep RegexStep(const std::string& pattern, int match = 0) {
  FilterStep step;
  step.kind = FilterStep::Kind::kRegex;
  step.pattern = pattern;
  step.match = match;
  return step;
}

FilterStep Step(FilterStep::Kind kind) {
  FilterStep step;
  step.kind = kind;
  return step;
}

std::string Apply(std::vector<FilterStep> steps, const std::string& text) {
  const auto filter = AnswerFilter::Create({"f", std::move(steps)});
  EXPECT_TRUE(filter.ok()) << filter.status();
  return filter.ok() ? filter->Apply(text) : "";
}

TEST(Regex, FindsWhatPythonFinds) {
  const auto find = [](const char* pattern, const char* text) { return Regex::Compile(pattern)->FindAll(text); };
  // The right sides are Python's re.findall.
  EXPECT_THAT(find("a*", "baac"), ElementsAre(ElementsAre(""), ElementsAre("aa"), ElementsAre(""), ElementsAre("")));
  EXPECT_THAT(find("(a)|(b)", "abc"), ElementsAre(ElementsAre("a", ""), ElementsAre("", "b")));
  EXPECT_THAT(find(R"(\d+)", "１２と34"), ElementsAre(ElementsAre("１２"), ElementsAre("34")));
  EXPECT_THAT(find("。", "日。本。"), ElementsAre(ElementsAre("。"), ElementsAre("。")));
  EXPECT_THAT(find("x", "abc"), ElementsAre());
  EXPECT_EQ(Regex::Compile("x*")->Without("axxb"), "ab");
  EXPECT_EQ(Regex::Compile("(?s).*#### ")->Without("a\nb #### 18"), "18");
}

TEST(Regex, ABrokenPatternSaysWhere) {
  ExpectError(Regex::Compile("a(b"), StatusCode::kInvalidArgument, AllOf(HasSubstr("pattern 'a(b'"), HasSubstr("at 3")));
}

TEST(Regex, APatternThatBacktracksForEverEnds) {
  EXPECT_TRUE(Regex::Compile("(a+)+$")->FindAll(std::string(50'000, 'a') + "b").empty());
}

TEST(AnswerFilter, StrictAndFlexibleExtractionOfGsm8k) {
  const FilterStep strict = RegexStep(R"(#### (\-?[0-9\.\,]+))");
  const FilterStep flexible = RegexStep(R"((-?[$0-9.,]{2,})|(-?[0-9]+))", -1);
  EXPECT_EQ(Apply({strict}, "So 18.\n#### 18"), "18");
  EXPECT_EQ(Apply({strict}, "The answer is 18."), "[invalid]");
  EXPECT_EQ(Apply({flexible}, "He pays $1,200 for 3"), "3");
  EXPECT_EQ(Apply({flexible}, "It costs $1,200."), "$1,200.");
  EXPECT_EQ(Apply({flexible}, "none"), "[invalid]");
}

TEST(AnswerFilter, AMatchIsChosenFromEitherEnd) {
  EXPECT_EQ(Apply({RegexStep(R"(\d)", 1)}, "1 2 3"), "2");
  EXPECT_EQ(Apply({RegexStep(R"(\d)", -2)}, "1 2 3"), "2");
  EXPECT_EQ(Apply({RegexStep(R"(\d)", 3)}, "1 2 3"), "[invalid]");
  FilterStep fallback = RegexStep("x");
  fallback.fallback = "";
  EXPECT_EQ(Apply({fallback}, "1"), "");
}

TEST(AnswerFilter, StepsFollowEachOther) {
  FilterStep number = Step(FilterStep::Kind::kNumber);
  number.pattern = "jp_lmeh";
  FilterStep map = Step(FilterStep::Kind::kMap);
  map.map = {{"yes", "1"}};
  EXPECT_EQ(Apply({Step(FilterStep::Kind::kStrip), Step(FilterStep::Kind::kLowercase), map}, " YES\u3000\n"), "1");
  EXPECT_EQ(Apply({map}, "no"), "no");
  EXPECT_EQ(Apply({number}, "1,000 and 2,500."), "2500");
  EXPECT_EQ(Apply({Step(FilterStep::Kind::kUppercase)}, "äß日"), "Äß日");
}

TEST(AnswerFilter, ErrorsNameFilterAndStep) {
  FilterStep number = Step(FilterStep::Kind::kNumber);
  number.pattern = "jp";
  ExpectError(AnswerFilter::Create({"strict", {Step(FilterStep::Kind::kStrip), RegexStep("(")}}),
              StatusCode::kInvalidArgument, HasSubstr("filter 'strict', step 2: pattern '('"));
  ExpectError(AnswerFilter::Create({"", {number}}), StatusCode::kInvalidArgument, HasSubstr("'jp' is not a number rule"));
}

TEST(TextForms, PythonListsAreReadAndNothingElse) {
  std::vector<std::string> list;
  EXPECT_TRUE(ParsePythonList(R"(['a', "it's", 'b\'c\n\u3042\x41', 3, -1,])", &list));
  EXPECT_THAT(list, ElementsAre("a", "it's", "b'c\nあA", "3", "-1"));
  EXPECT_TRUE(ParsePythonList(" [] ", &list));
  EXPECT_TRUE(list.empty());
  for (const char* bad :
       {"", "[", "['a'", "['a' 'b']", "['a'] x", "[a]", "('a')", "['\\q']", "[1.5]", "['\\ud800']", "[,]"}) {
    EXPECT_FALSE(ParsePythonList(bad, &list)) << bad;
  }
}

TEST(TextForms, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(StripWhitespace("\u3000 \n答え \u00A0"), "答え");
  EXPECT_EQ(StripTrailingWhitespace(" a \u3000"), " a");
  EXPECT_EQ(StripWhitespace(" \n"), "");
}

}  // namespace
}  // namespace merganser
