// JP-LMEH's tasks on a model, held to what that harness's own model class finds (tests/golden/jp_lmeh_model_goldens.py):
// tokens of contexts and continuations apart, none in front, and prompts cut where the model's 512 positions are too few.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"
#include "worker/benchmark/sample.h"
#include "worker/evaluate/local_evaluator.h"

namespace merganser {
namespace {

using Json = nlohmann::json;

std::vector<Json> Golden(const std::string& benchmark) {
  std::vector<Json> rows;
  std::ifstream in(absl::StrCat(MG_SOURCE_DIR, "/tests/worker/evaluate/testdata/jp_lmeh.jsonl"));
  for (std::string line; std::getline(in, line);) {
    Json row = Json::parse(line);
    if (row["benchmark"] == benchmark) rows.push_back(std::move(row));
  }
  return rows;
}

// Of the other goldens' data, as the benchmark file that is written elsewhere names it.
std::string DataFolder() {
  const std::filesystem::path source = MG_SOURCE_DIR;
  return std::filesystem::absolute(source / "tests/worker/benchmark/testdata/jp_lmeh").lexically_normal().string() + "/";
}

// `data` names the files of it; `more` is YAML.
BenchmarkResult RunBuiltin(const std::string& builtin, const std::string& data, const std::string& more) {
  const std::string file = absl::StrCat(testing::TempDir(), "/jp-lmeh-", builtin, ".yaml");
  std::ofstream(file) << "use: " << builtin << "\ndata: " << DataFolder() << data << ".data.jsonl\nlimit: 12\n" << more;
  JobSpec job;
  job.name = "parity";
  job.models = {{"ja", ExampleDir() + "/ja"}};
  job.parameter.method = "linear";
  job.parameter.sources = {"ja"};
  job.dtype = "float32";
  BenchmarkSpec spec;
  spec.name = builtin;
  spec.use = file;
  job.benchmarks = {spec};
  Recipe recipe;
  recipe.models = job.models;
  recipe.tokenizer_from = "ja";
  recipe.stacks = {Stack{"ja", "", "", {"ja"}, {}}};
  LocalOptions options;
  options.device = "cpu";
  options.threads = 2;
  LocalEvaluator evaluator(options);
  const auto evaluation = evaluator.Evaluate(job, recipe, {builtin}, [](absl::string_view) {}, {});
  EXPECT_TRUE(evaluation.ok()) << evaluation.status();
  return evaluation.ok() ? evaluation->results.at(0) : BenchmarkResult();
}

std::string Train(const std::string& data) {
  return absl::StrCat("few_shot: {data: ", DataFolder(), data, ".train.jsonl}\n");
}

TEST(JpLmehParity, ChoicesAreAsLikely) {
  for (const auto& [builtin, data] : {std::pair("jcommonsenseqa", "jcommonsenseqa"), std::pair("jnli", "jnli"),
                                      std::pair("jcola_v00", "jcola"), std::pair("xwinograd_ja", "xwinograd_ja")}) {
    const std::string train = std::string(builtin) == "xwinograd_ja" ? "" : Train(data);
    const BenchmarkResult result = RunBuiltin(builtin, data, train);
    const std::vector<Json> golden = Golden(builtin);
    ASSERT_EQ(golden.size(), 12u);
    ASSERT_EQ(result.samples.size(), golden.size()) << builtin;
    for (size_t i = 0; i < golden.size(); ++i) {
      const Json& wanted = golden[i]["log_likelihoods"];
      for (size_t c = 0; c < wanted.size(); ++c) {
        // That harness asks for JCoLA's "yes" first.
        const size_t ours = std::string(data) == "jcola" ? 1 - c : c;
        EXPECT_NEAR(result.samples[i].values.at(absl::StrCat("ll_", ours)), wanted[c].get<double>(), 2e-3)
            << builtin << " " << i;
      }
    }
  }
}

TEST(JpLmehParity, CompletionsAreTheSameUpToTheEnd) {
  for (const auto& [builtin, data, more] :
       {std::tuple("jsquad", "jsquad", "metrics: [{name: exact_match, unit: neologdn}]\nfilters: []\n"),
        std::tuple("xlsum_ja_v00", "xlsum_ja", "")}) {
    const BenchmarkResult result = RunBuiltin(builtin, data, Train(data) + more);
    const std::vector<Json> golden = Golden(builtin);
    ASSERT_EQ(golden.size(), 12u);
    ASSERT_EQ(result.samples.size(), golden.size()) << builtin;
    for (size_t i = 0; i < golden.size(); ++i) {
      const std::string wanted = golden[i]["completion"];
      // That model class generates on behind the end of the text.
      EXPECT_EQ(result.samples[i].completion, wanted.substr(0, wanted.find("</s>"))) << builtin << " " << i;
    }
  }
}

}  // namespace
}  // namespace merganser
