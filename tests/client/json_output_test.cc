#include "client/json_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

TEST(DumpYamlTest, IsBlockYamlWithKeysInOrder) {
  const Json json = {
      {"job", "ja-math"},          {"best", nullptr},
      {"fitness", 0.595},          {"over", true},
      {"none", Json::array()},     {"empty", Json::object()},
      {"sources", {"ja", "math"}}, {"stages", {{{"dimension", 16}, {"genes", {{{"low", 0.0}}}}}, {{"dimension", 2}}}}};
  EXPECT_EQ(DumpYaml(json), R"(job: ja-math
best: null
fitness: 0.595
over: true
none: []
empty: {}
sources: [ja, math]
stages:
  - dimension: 16
    genes:
      - low: 0.0
  - dimension: 2
)");
}

TEST(DumpYamlTest, PlainValuesAndListsOfListsStandByThemselves) {
  EXPECT_EQ(DumpYaml("x"), "x\n");
  EXPECT_EQ(DumpYaml(Json::object()), "{}\n");
  EXPECT_EQ(DumpYaml(Json::parse("[[1, 2], [3]]")), "- [1, 2]\n- [3]\n");
}

// What a reader makes of the text is the text, whatever it looks like.
TEST(DumpYamlTest, TextsStayTexts) {
  for (const char* text : {"", "yes", "Null", "1e3", "0x10", "~", "a: b", "# no", "- x", "A:\n", "日本語", "\"'\\",
                           "{{question}}", "out/ja-math/best", "2026-01-31", "tab\there", "*alias", "&anchor", " padded "}) {
    const std::string yaml = DumpYaml({{"value", text}, {text, 1}});
    const YAML::Node read = YAML::Load(yaml);
    EXPECT_EQ(read["value"].as<std::string>(), text) << yaml;
    EXPECT_EQ(read[text].as<int>(), 1) << yaml;
  }
  EXPECT_EQ(DumpYaml({{"answer", "no"}, {"size", "12"}}), "answer: \"no\"\nsize: \"12\"\n");
}

TEST(PrintJsonTest, LeavesTheTableToTheCaller) {
  testing::internal::CaptureStdout();
  EXPECT_FALSE(PrintJson("table", {{"a", 1}}));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  testing::internal::CaptureStdout();
  EXPECT_TRUE(PrintJson("yaml", {{"a", 1}}));
  EXPECT_TRUE(PrintJson("json", {{"a", 1}}));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a: 1\n{\n  \"a\": 1\n}\n");
}

}  // namespace
}  // namespace merganser
