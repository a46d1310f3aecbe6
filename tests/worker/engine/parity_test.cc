// The engine computes what transformers computes.
//
// Tolerances. fp32: both sides round every operation to 2^-24 of its value; through the layers of
// these models with logits up to about 25 that grows to some 1e-5, so 1e-4 leaves room for another
// order of summation and none for an error. bf16 keeps 8 bits of every intermediate result:
// transformers in bf16 is itself up to 0.88 away from its fp32 logits (largest 22.9) on the `ja`
// model, so 5 % of the largest logit is asked for, or twice what transformers itself is away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/worker/engine/engine_testing.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/aten_runner.h"
#include "worker/engine/weight_layout.h"

namespace merganser {
namespace {

constexpr double kFp32Tolerance = 1e-4;
constexpr double kBf16Tolerance = 0.05;

std::shared_ptr<const Checkpoint> OpenCheckpoint(const std::string& dir) {
  auto checkpoint = Checkpoint::Open(dir);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return checkpoint.ok() ? *checkpoint : nullptr;
}

struct Case {
  std::string name;
  std::string dir;
  std::string reference;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> Cases() {
  const std::string source = MG_SOURCE_DIR;
  std::vector<Case> cases;
  for (const char* name : {"gqa",          "sliding_window", "tied",
                           "wide_heads",   "biases",         "llama3_rope",
                           "linear_rope",  "yarn_rope",      "yarn_mscale_rope",
                           "dynamic_rope", "longrope_short", "longrope_long",
                           "qwen2",        "qwen2_window",   "qwen3",
                           "gemma",        "gemma2",         "gemma3",
                           "evomistral",   "evomistral_10b"}) {
    const std::string dir = source + "/tests/worker/engine/testdata/" + name;
    cases.push_back({name, dir, dir + "/reference.safetensors"});
  }
  for (const char* name : {"base", "ja", "math-en"}) {
    std::string label = std::string("zoo_") + name;
    std::replace(label.begin(), label.end(), '-', '_');
    cases.push_back({label, source + "/examples/ja-math/" + name,
                     source + "/tests/data/zoo-reference/" + name + "/reference.safetensors"});
  }
  return cases;
}

class ParityTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    checkpoint_ = OpenCheckpoint(GetParam().dir);
    ASSERT_NE(checkpoint_, nullptr);
    reference_ = ReadReference(GetParam().reference);
    for (const float logit : reference_.logits) largest_ = std::max<double>(largest_, std::abs(logit));
  }

  // The engine's logits against the reference's.
  double Difference(EngineOptions options) {
    options.max_length = 100;  // more than max_position_embeddings, where a scaling allows it
    const auto decoder = MakeDecoder(checkpoint_->config(), CheckpointWeights(checkpoint_), options);
    const auto logits = decoder->Logits(reference_.ids);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? MaxDifference(*logits, reference_.logits) : 1e9;
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  Reference reference_;
  double largest_ = 0;
};

TEST_P(ParityTest, CpuKernelsGiveTheLogitsOfTransformers) {
  EXPECT_LE(Difference({.compute = ComputeType::kFp32, .threads = 2}), kFp32Tolerance);
}

TEST_P(ParityTest, AtenGivesTheLogitsOfTransformers) {
  // In fp32, which the engine itself gives to the CPU kernels, so that a wrong mask cannot hide
  // behind bf16's rounding.
  const ModelConfig& config = checkpoint_->config();
  const int n = static_cast<int>(reference_.ids.size());
  const CheckpointWeights weights(checkpoint_);
  std::vector<LayerHop> path;
  for (int i = 0; i < config.num_layers; ++i) path.push_back({i, 1.0f});
  if (config.num_hops > 0) path = *ReadStoredPath(weights, config.num_hops);
  auto runner = AtenRunner::Create(config, c10::Device(c10::kCPU), at::kFloat, /*slots=*/3,
                                   /*max_length=*/100, static_cast<int>(path.size()));
  ASSERT_TRUE(runner.ok()) << runner.status();
  ASSERT_TRUE((*runner)->LoadWeights({{{&weights}}, path}).ok());
  // In three pieces, the middle one a single token, beside another sequence.
  std::vector<float> logits;
  for (const auto& [begin, end] : {std::pair{0, n / 3}, {n / 3, n / 3 + 1}, {n / 3 + 1, n}}) {
    StepBatch batch{{5}, {{0, begin, 1, 0}, {2, begin, end - begin, end - begin, n}}};
    batch.tokens.insert(batch.tokens.end(), reference_.ids.begin() + begin, reference_.ids.begin() + end);
    std::vector<RowResult> results(end - begin);
    std::vector<float> piece((end - begin) * config.vocab_size);
    ASSERT_TRUE((*runner)->Step(batch, {absl::MakeSpan(results), {}, piece.data()}).ok());
    logits.insert(logits.end(), piece.begin(), piece.end());
  }
  EXPECT_LE(MaxDifference(logits, reference_.logits), kFp32Tolerance);
}

TEST_P(ParityTest, LogitsInBf16AreAsCloseAsTransformersIs) {
  const double difference = Difference({.compute = ComputeType::kBf16, .threads = 1});
  EXPECT_GT(difference, kFp32Tolerance) << "this was not computed in bf16";
  EXPECT_LE(difference, std::max(kBf16Tolerance * largest_, 2.0 * reference_.bf16_difference));
}

INSTANTIATE_TEST_SUITE_P(Models, ParityTest, testing::ValuesIn(Cases()), [](const auto& info) { return info.param.name; });

class ZooGenerationTest : public testing::TestWithParam<const char*> {};

TEST_P(ZooGenerationTest, GreedyTokensAreThoseOfTransformers) {
  const std::string source = MG_SOURCE_DIR;
  const auto checkpoint = OpenCheckpoint(source + "/examples/ja-math/" + GetParam());
  ASSERT_NE(checkpoint, nullptr);
  std::ifstream file(source + "/tests/data/zoo-reference/" + GetParam() + "/reference.json");
  const nlohmann::json reference = nlohmann::json::parse(file);
  std::vector<GenerationRequest> requests;
  for (const auto& item : reference["generations"]) {
    requests.push_back({item["prompt_ids"].get<std::vector<int32_t>>(), reference["max_new_tokens"].get<int>(), {}});
  }
  EngineOptions options;
  options.eos_token_ids = checkpoint->generation_config().eos_token_ids;
  const auto decoder = MakeDecoder(checkpoint->config(), CheckpointWeights(checkpoint), options);

  const std::vector<Generation> generations = GenerateAll(*decoder, requests);

  ASSERT_EQ(generations.size(), 8u);
  for (size_t i = 0; i < generations.size(); ++i) {
    auto want = reference["generations"][i]["greedy_ids"].get<std::vector<int32_t>>();
    const bool ended = want.back() == 2;
    if (ended) want.pop_back();
    EXPECT_EQ(generations[i].tokens, want) << "prompt " << i;
    EXPECT_EQ(generations[i].reason, ended ? FinishReason::kEos : FinishReason::kLength);
  }
}

// transformers' generate and lm-evaluation-harness on the `ja` model (tests/golden/decoding_goldens.py).
class DecodingGoldenTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string source = MG_SOURCE_DIR;
    std::ifstream file(source + "/tests/worker/engine/testdata/decoding_ja.json");
    golden_ = nlohmann::json::parse(file);
    checkpoint_ = OpenCheckpoint(source + "/examples/ja-math/ja");
    ASSERT_NE(checkpoint_, nullptr);
    EngineOptions options;
    options.max_length = 200;
    options.eos_token_ids = {golden_["eos_token_id"].get<int32_t>()};
    decoder_ = MakeDecoder(checkpoint_->config(), CheckpointWeights(checkpoint_), options);
  }

  std::vector<int32_t> Prompt(size_t i) const { return golden_["prompts"][i].get<std::vector<int32_t>>(); }

  nlohmann::json golden_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_F(DecodingGoldenTest, BeamsAndPenaltiesGiveTheTokensOfTransformers) {
  struct Setting {
    const char* name;
    Beams beams;
    double penalty = 1;
  };
  for (const Setting& setting :
       {Setting{"beams_5_penalty_1.5", {.count = 5}, 1.5}, Setting{"beams_3", {.count = 3}},
        Setting{"beams_4_early", {.count = 4, .length_penalty = 0.6, .early_stopping = true}},
        Setting{"beams_2_short", {.count = 2, .length_penalty = -1}}, Setting{"greedy_penalty_1.3", {}, 1.3}}) {
    const nlohmann::json& want = golden_["generations"][setting.name];
    ASSERT_EQ(want.size(), 8u);
    std::vector<GenerationRequest> requests;
    for (size_t i = 0; i < want.size(); ++i) {
      GenerationRequest request{Prompt(i), golden_["max_new_tokens"].get<int>(), {}};
      request.beams = setting.beams;
      request.sampling.repetition_penalty = setting.penalty;
      requests.push_back(request);
    }
    const std::vector<Generation> got = GenerateAll(*decoder_, requests);
    for (size_t i = 0; i < want.size(); ++i) {
      auto tokens = want[i].get<std::vector<int32_t>>();
      const bool ended = tokens.back() == golden_["eos_token_id"].get<int32_t>();
      if (ended) tokens.pop_back();
      EXPECT_EQ(got[i].tokens, tokens) << setting.name << ", prompt " << i;
      EXPECT_EQ(got[i].reason, ended ? FinishReason::kEos : FinishReason::kLength);
    }
  }
}

TEST_F(DecodingGoldenTest, LogLikelihoodsAreThoseOfLmEvaluationHarness) {
  std::vector<ScoringRequest> requests;
  for (const auto& item : golden_["log_likelihoods"]) {
    requests.push_back({Prompt(item["prompt"].get<size_t>()), item["continuation"].get<std::vector<int32_t>>()});
  }
  const auto scores = decoder_->LogLikelihood(requests, {}, nullptr);
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 32u);
  int greedy = 0;
  for (size_t i = 0; i < scores->size(); ++i) {
    const auto& item = golden_["log_likelihoods"][i];
    // Both in fp32; the sums reach -150.
    EXPECT_NEAR((*scores)[i].log_likelihood, item["log_likelihood"].get<double>(), 2e-4) << i;
    EXPECT_EQ((*scores)[i].is_greedy, item["is_greedy"].get<bool>()) << i;
    greedy += (*scores)[i].is_greedy ? 1 : 0;
  }
  EXPECT_GT(greedy, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, ZooGenerationTest, testing::Values("base", "ja", "math-en"), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace merganser
