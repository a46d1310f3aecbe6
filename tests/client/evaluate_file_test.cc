#include "client/evaluate_file.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/benchmark/builtin_benchmarks.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class EvaluateFileTest : public testing::Test {
 protected:
  EvaluateFileTest() { fs::create_directories(folder_); }
  ~EvaluateFileTest() override { fs::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  const fs::path folder_ = fs::path(testing::TempDir()) / ("evaluate-file-" + std::to_string(getpid()));
};

TEST_F(EvaluateFileTest, ThePublishedModelsAreScoredAsTheOriginalScoresThem) {
  const std::map<std::string, std::string> published = {
      {"abel-7b-002", "GAIR/Abel-7B-002"},
      {"arithmo2-mistral-7b", "upaya07/Arithmo2-Mistral-7B"},
      {"evollm-v1-jp-10b", "SakanaAI/EvoLLM-JP-v1-10B"},
      {"evollm-v1-jp-7b", "SakanaAI/EvoLLM-JP-v1-7B"},
      {"evollm-v1-jp-7b-a", "SakanaAI/EvoLLM-JP-A-v1-7B"},
      {"shisa-gamma-7b-v1", "augmxnt/shisa-gamma-7b-v1@49bf4a58453d191845668b8ff17e4b8f0e9ccae6"},
      {"wizardmath-7b-v1-1", "WizardLM/WizardMath-7B-V1.1"},
  };
  BenchmarkSpec builtin;
  builtin.use = "mgsm_ja";
  Write("mgsm_ja.tsv", "質問\t1\n");
  for (const auto& [name, hub_id] : published) {
    const fs::path example = fs::path(MG_SOURCE_DIR) / "examples/evaluate" / (name + ".yaml");
    ASSERT_TRUE(fs::exists(example)) << example;
    const fs::path copy = folder_ / example.filename();
    fs::copy_file(example, copy);
    const auto file = ReadEvaluateFile(copy.string());
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_EQ(file->models.size(), 1u);
    EXPECT_EQ(file->models[0].name, name);
    EXPECT_EQ(file->models[0].path, hub_id);
    EXPECT_EQ(file->dtype, "bfloat16");
    ASSERT_EQ(file->benchmarks.size(), 1u);
    builtin.name = file->benchmarks[0].name;
    builtin.data = file->benchmarks[0].data;
    const auto resolved = ResolveBenchmark(file->benchmarks[0]), expected = ResolveBenchmark(builtin);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    EXPECT_EQ(*resolved, *expected) << name;
  }
}

TEST_F(EvaluateFileTest, ThePublishedModelsThatSeeAreHeldInTheOriginalsType) {
  fs::create_directories(folder_ / "data");
  for (const char* name : {"ja-vlm-published.yaml", "llava-published.yaml"}) {
    fs::copy_file(fs::path(MG_SOURCE_DIR) / "examples/evaluate" / name, folder_ / name);
    const auto file = ReadEvaluateFile((folder_ / name).string());
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->dtype, "float16");
    EXPECT_EQ(file->benchmarks.size(), 2u);
  }
}

TEST_F(EvaluateFileTest, ErrorsNameFileLineAndField) {
  const std::pair<const char*, const char*> cases[] = {
      {"benchmarks: {b: {use: mgsm_ja}}\n", "c.yaml: models: none is named"},
      {"models: {m: {path: org/name}}\n", "c.yaml: benchmarks: none is named"},
      {"models: {m: {path: org/name}}\nbenchmark: {}\n", "c.yaml:2: benchmark: "},
      {"models: {m: {path: org/name}}\nbenchmarks:\n  b: {use: mgsm_ja, data: none.tsv}\n", "c.yaml:3: benchmarks.b.data"},
      {"models: {m: {path: org/name}}\ndtype: int8\nbenchmarks: {b: {use: mgsm_ja}}\n", "c.yaml:2: dtype: unknown 'int8'"},
      {"models: {m: {path: ./none}}\nbenchmarks: {b: {use: mgsm_ja}}\n", "c.yaml:1: models.m.path"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(std::string(ReadEvaluateFile(Write("c.yaml", text)).status().message()), HasSubstr(message)) << text;
  }
}

}  // namespace
}  // namespace merganser
