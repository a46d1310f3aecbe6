#include "worker/benchmark/number_rule.h"

#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/text_lines.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

using testing::HasSubstr;

const NumberRule& Rule(const char* name) { return **NumberRule::ByName(name); }

struct Trap {
  const char* completion;
  const char* want;  // nullptr: nothing
};

void ExpectTraps(const NumberRule& rule, const std::vector<Trap>& traps) {
  for (const Trap& trap : traps) {
    const auto number = rule.Extract(trap.completion);
    EXPECT_EQ(number.has_value(), trap.want != nullptr) << trap.completion;
    if (number && trap.want != nullptr) {
      EXPECT_EQ(number->text, trap.want) << trap.completion;
    }
  }
}

TEST(NumberRule, SakanaKeepsThePublishedTraps) {
  ExpectTraps(Rule("sakana"), {{"答えは18です。", "18.0"},
                               {"1,234", "234.0"},
                               {"100,000", "0.0"},
                               {"−5", "5.0"},
                               {"-5", "5.0"},
                               {"1.2.3", "0.3"},
                               {"2024年5月", "5.0"},
                               {"１２", "12.0"},
                               {"十八", nullptr},
                               {"", nullptr},
                               {"...", nullptr}});
}

TEST(NumberRule, JpLmehKeepsThePublishedTraps) {
  ExpectTraps(Rule("jp_lmeh"), {{"答えは18です。", "18"},
                                {"1,234", "1234"},
                                {"-5", "-5"},
                                {"5.0.", "5"},
                                {"1.5", nullptr},
                                {"1.2.3", nullptr},
                                {"12 と .", nullptr},
                                {"１２", nullptr},
                                {"-0", "0"},
                                {"", nullptr}});
}

// Golden: what Python's re and float find (tests/golden/number_rules.py).
TEST(NumberRule, BothRulesFindWhatPythonFinds) {
  const std::string path = SourcePath("tests/worker/benchmark/testdata/number_rules.jsonl");
  const auto lines = ReadTextLines(path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_GT(lines->size(), 600u);
  for (const TextLine& line : *lines) {
    const auto golden = ParseJsonObject(path, line);
    ASSERT_TRUE(golden.ok()) << golden.status();
    const auto text = (*golden)["text"].get<std::string>();
    for (const char* name : {"sakana", "jp_lmeh"}) {
      const auto number = Rule(name).Extract(text);
      const auto& want = (*golden)[name];
      ASSERT_EQ(number.has_value(), !want.is_null()) << name << " line " << line.number;
      if (!number) continue;
      EXPECT_EQ(number->value, std::strtod(want.get_ref<const std::string&>().c_str(), nullptr))
          << name << " line " << line.number;
      if (std::fabs(number->value) < 1e15) {
        EXPECT_EQ(number->text, want.get<std::string>());
      }
    }
  }
}

TEST(NumberRule, RandomBytesNeverCrashAndOnlyValidPartsMatch) {
  std::mt19937 random(7);
  const std::string likely = "0123456789.,-\xEF\xBC\x91\xF0\x9D";
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 == 0 ? random() : likely[random() % likely.size()]);
    for (const char* name : {"sakana", "jp_lmeh"}) {
      const auto raw = Rule(name).Extract(text);
      const auto valid = Rule(name).Extract(ToValidUtf8(text));
      ASSERT_EQ(raw.has_value(), valid.has_value());
      if (raw) {
        EXPECT_EQ(raw->text, valid->text);
      }
    }
  }
}

// Quadratic matching of any of these would take hours.
TEST(NumberRule, LongRepetitiveTextsTakeLinearTime) {
  const size_t n = 1'000'000;
  std::string spaced;
  for (size_t i = 0; i < n; ++i) spaced += "1 ";
  EXPECT_EQ(Rule("sakana").Extract(spaced)->text, "1.0");
  EXPECT_EQ(Rule("jp_lmeh").Extract(spaced)->text, "1");
  EXPECT_EQ(Rule("sakana").Extract(std::string(n, '7'))->text, "Infinity");
  EXPECT_FALSE(Rule("jp_lmeh").Extract(std::string(n, '7')));
  EXPECT_FALSE(Rule("sakana").Extract(std::string(n, '.')));
  EXPECT_FALSE(Rule("jp_lmeh").Extract(std::string(n, '-')));
  EXPECT_EQ(Rule("sakana").Extract(std::string(n, '.') + "5")->text, "0.5");
}

TEST(NumberRule, ThreadsShareOneRule) {
  std::vector<std::thread> threads;
  std::vector<int> good(8, 0);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([t, &good] {
      for (int i = 0; i < 500; ++i) {
        good[t] += Rule("sakana").Extract(absl::StrCat("答えは", t * 1000 + i, "です"))->value == t * 1000 + i;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(good, testing::Each(500));
}

TEST(NumberRule, UnknownNameIsAnErrorWithTheNearest) {
  ExpectError(NumberRule::ByName("sakanna"), absl::StatusCode::kInvalidArgument,
              testing::AllOf(HasSubstr("'sakanna'"), HasSubstr("did you mean 'sakana'")));
}

}  // namespace
}  // namespace merganser
