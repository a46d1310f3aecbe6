#include "client/results_output.h"

#include <nlohmann/json.hpp>

#include "common/base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string ResultsOf(double acc) {
  const json b = {{"metrics", {{"acc", acc}}},
                  {"intervals", {{"acc", {{"stderr", 0.1}, {"low", acc - 0.1}, {"high", acc + 0.1}, {"n", 2}}}}},
                  {"results", {{{"correct", true}}, {{"correct", false}}}}};
  return json{{"b", b}}.dump();
}

PairedDifference Pair(int first, int second, double difference, double p) {
  PairedDifference pair{first, second, "acc"};
  pair.difference = difference;
  pair.low = difference - 0.1;
  pair.high = difference + 0.2;
  pair.p = p;
  pair.mcnemar = true;
  return pair;
}

// What WriteResults puts into the file, and its table.
std::pair<json, std::string> Written(const std::vector<std::pair<std::string, std::string>>& results,
                                     const ResultsComparison& comparison) {
  const std::string path = testing::TempDir() + "/results_output_test.json";
  testing::internal::CaptureStdout();
  const auto code = WriteResults(results, path, "table", comparison);
  const std::string table = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(code.ok()) << code.status();
  return {json::parse(*ReadFile(path, 1 << 20)), table};
}

TEST(WriteResultsTest, OneModelIsWrittenAsEver) {
  const auto [file, table] = Written({{"m", ResultsOf(0.5)}}, {});
  EXPECT_EQ(file, json::parse(ResultsOf(0.5)));
  EXPECT_THAT(table, AllOf(HasSubstr("50.0 %"), HasSubstr("  2\n"), Not(HasSubstr("difference"))));
}

TEST(WriteResultsTest, IntervalsOfSharesStayInPercent) {
  EXPECT_THAT(Written({{"m", ResultsOf(0.95)}}, {}).second, HasSubstr("85.0 % to 100.0 %"));
  EXPECT_THAT(Written({{"m", ResultsOf(0.05)}}, {}).second, HasSubstr(" 0.0 % to 15.0 %"));
}

TEST(WriteResultsTest, TwoModelsAreComparedInBothDirections) {
  const auto [file, table] =
      Written({{"a", ResultsOf(0.75)}, {"z", ResultsOf(0.5)}}, {42, {{"b", {Pair(0, 1, 0.25, 0.03)}}}});
  const json& a = file["a"]["b"]["comparison"];
  EXPECT_EQ(a["seed"], 42);
  EXPECT_EQ(a["resamplings"], 10000);
  const json& over_z = a["models"]["z"]["acc"];
  EXPECT_EQ(over_z["difference"], 0.25);
  EXPECT_EQ(over_z["low"], 0.15);
  EXPECT_EQ(over_z["high"], 0.45);
  EXPECT_EQ(over_z["p"], 0.03);
  EXPECT_EQ(over_z["test"], "mcnemar");
  EXPECT_FALSE(over_z.contains("p_holm"));
  const json& z = file["z"]["b"]["comparison"]["models"]["a"]["acc"];
  EXPECT_EQ(z["difference"], -0.25);
  EXPECT_EQ(z["low"], -0.45);
  EXPECT_EQ(z["high"], -0.15);
  // What was there before is there still.
  EXPECT_EQ(file["a"]["b"]["metrics"]["acc"], 0.75);
  EXPECT_EQ(file["a"]["b"]["results"].size(), 2u);
  EXPECT_THAT(table, AllOf(HasSubstr("a - z"), HasSubstr("+25.0 %"), HasSubstr("+15.0 % to +45.0 %"), HasSubstr("0.0300"),
                           HasSubstr("McNemar"), Not(HasSubstr("Holm"))));
}

TEST(WriteResultsTest, ThreeModelsHaveAdjustedPValues) {
  ResultsComparison comparison{1, {{"b", {Pair(0, 1, 0.1, 0.00001), Pair(0, 2, 0.2, 0.02), Pair(1, 2, 0.1, 0.5)}}}};
  double holm = 0.00003;
  for (PairedDifference& pair : comparison.benchmarks["b"]) {
    pair.p_holm = holm;
    holm += 0.04;
  }
  const auto [file, table] = Written({{"a", ResultsOf(0.75)}, {"b", ResultsOf(0.5)}, {"c", ResultsOf(0.4)}}, comparison);
  EXPECT_EQ(file["b"]["b"]["comparison"]["models"].size(), 2u);
  EXPECT_NEAR(file["b"]["b"]["comparison"]["models"]["c"]["acc"]["p_holm"], 0.08003, 1e-9);
  EXPECT_THAT(table, AllOf(HasSubstr("p (Holm)"), HasSubstr("<0.0001"), HasSubstr("b - c"), HasSubstr("0.0800")));
}

}  // namespace
}  // namespace merganser
