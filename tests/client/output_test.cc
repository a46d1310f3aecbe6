#include "client/output.h"

#include "client/byte_progress.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(TableTest, AlignsColumnsByDisplayWidthAndTrimsLineEnds) {
  Table table({"model", ">acc", "note"});
  table.Add({"ja", "0.5", ""});
  table.Add({"日本語", "12.25", "wide"});
  EXPECT_EQ(table.Render(),
            "model     acc  note\n"
            "ja        0.5\n"
            "日本語  12.25  wide\n");
}

TEST(TableTest, LeavesOutWhatMayBeWhereThereIsNoRoom) {
  Table table({"job", "?>running", ">best", "?created"});
  table.Add({"job-1", "4", "0.5000", "2026-01-31T12:00:00Z"});
  EXPECT_EQ(table.Render(), "job    running    best  created\njob-1        4  0.5000  2026-01-31T12:00:00Z\n");
  EXPECT_EQ(table.Render(44), table.Render());
  EXPECT_EQ(table.Render(43), "job    running    best\njob-1        4  0.5000\n(no room for: created)\n");
  EXPECT_EQ(table.Render(10), "job      best\njob-1  0.5000\n(no room for: running, created)\n");
}

TEST(TableTest, ControlCharactersDoNotReachTheTerminal) {
  Table table({"message"});
  table.Add({"a\x1b[2Jb\tc"});
  EXPECT_EQ(table.Render(), "message\na [2Jb c\n");
}

TEST(TableTest, MissingCellsAreEmpty) {
  Table table({"a", "b"});
  table.Add({"1"});
  EXPECT_EQ(table.Render(), "a  b\n1\n");
}

TEST(FormatMetricTest, SharesArePercentAndOtherMetricsNumbersWhateverFilterMemberOrLanguage) {
  for (const char* share : {"acc", "acc_ja", "colours.acc_norm", "exact_match@v1.strict", "rougeL_ja_median"}) {
    EXPECT_EQ(FormatMetric(share, 0.5), "50.0 %") << share;
  }
  for (const char* number :
       {"bleu", "texts.bleu_ja", "chrf++@f", "ter@v1.strict", "ter_ja", "brier_score", "texts.brier_score", "log_likelihood",
        "texts.log_likelihood", "texts.bits_per_byte", "word_perplexity"}) {
    EXPECT_EQ(FormatMetric(number, 0.5), "0.5000") << number;
  }
  EXPECT_EQ(FormatMetric("acc", 1.5), "1.5000") << "a program's number";
}

struct DurationCase {
  absl::Duration duration;
  std::string text;
};

class DurationTextTest : public testing::TestWithParam<DurationCase> {};

TEST_P(DurationTextTest, UsesTwoUnitsAtMost) { EXPECT_EQ(DurationText(GetParam().duration), GetParam().text); }

INSTANTIATE_TEST_SUITE_P(
    All, DurationTextTest,
    testing::Values(DurationCase{absl::Milliseconds(850), "850ms"}, DurationCase{absl::Seconds(4.24), "4.2s"},
                    DurationCase{absl::Seconds(59.99), "1m00s"}, DurationCase{absl::Seconds(187), "3m07s"},
                    DurationCase{absl::Minutes(125), "2h05m"}, DurationCase{absl::Hours(76), "3d04h"},
                    DurationCase{-absl::Seconds(1), "0ms"}, DurationCase{absl::InfiniteDuration(), "-"}));

TEST(FormatTest, NumbersForPeople) {
  EXPECT_EQ(FormatBytes(812), "812 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes((int64_t{1} << 30) - 1), "1.0 GiB");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatFitness(0.305), "0.3050");
  EXPECT_EQ(FormatFitness(std::numeric_limits<double>::quiet_NaN()), "-");
  EXPECT_EQ(FormatPercent(0.3051), "30.5 %");
  EXPECT_EQ(TimeText(absl::FromUnixSeconds(0)), "1970-01-01T00:00:00Z");
}

TEST(ShortenTest, CutsAtTheWidthAndAtTheFirstLine) {
  EXPECT_EQ(Shorten("short", 10), "short");
  EXPECT_EQ(DisplayWidth(Shorten("a longer text than that", 10)), 10);
  EXPECT_LE(DisplayWidth(Shorten("日本語日本語日本語", 9)), 9);
  EXPECT_NE(Shorten("first\nsecond", 40).find("..."), std::string::npos);
}

TEST(ByteProgressTest, BarShowsShareSpeedAndTimeLeft) {
  EXPECT_EQ(ByteProgress::Bar(int64_t{1} << 30, int64_t{4} << 30, absl::Seconds(2)),
            "writing [#####...............]  1.0 GiB of 4.0 GiB  512.0 MiB/s  ETA 6.0s");
  EXPECT_EQ(ByteProgress::Bar(0, 0, absl::ZeroDuration()), "writing [....................]  0 B of 0 B");
}

TEST(ByteProgressTest, DrawsNothingOffATerminal) {
  std::ostringstream out;
  {
    ByteProgress progress(out, Terminal{});
    progress.Update(1, 2, absl::Seconds(1));
  }
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace merganser
