#include "worker/engine/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "absl/strings/match.h"
#include "tests/worker/engine/engine_testing.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/aten_runner.h"
#include "worker/engine/cpu_kernels.h"
#include "worker/engine/cpu_runner.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<GenerationRequest> Requests(const std::vector<std::vector<int32_t>>& prompts, int max_new_tokens) {
  std::vector<GenerationRequest> requests;
  for (const auto& prompt : prompts) requests.push_back({prompt, max_new_tokens, {}});
  return requests;
}

// Tokens as text: "<17>". Special tokens do not occur.
absl::StatusOr<std::string> NumbersAsText(absl::Span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) absl::StrAppend(&text, "<", token, ">");
  return text;
}

class DecoderTest : public testing::Test {
 protected:
  const ModelConfig config_ = SmallConfig();
  const RandomWeights weights_{config_, 1};
};

// Both runners: our kernels in fp32 and with bf16 products, and ATen in bf16.
class EitherPathTest : public DecoderTest, public testing::WithParamInterface<ComputeType> {};

TEST_P(EitherPathTest, FewSlotsGiveTheTokensOfOneByOne) {
  // Other eos tokens let sequences leave at different times.
  EngineOptions options{.compute = GetParam(), .threads = 2, .eos_token_ids = {5, 11, 40}};
  options.max_sequences = 3;
  options.max_batch_tokens = 16;  // prompts enter in pieces
  const auto requests = Requests(RandomPrompts(12, 7), 20);
  const auto together = GenerateAll(*MakeDecoder(config_, weights_, options), requests);
  options.max_sequences = 1;
  options.max_batch_tokens = 64;
  const auto decoder = MakeDecoder(config_, weights_, options);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto alone = GenerateAll(*decoder, {requests[i]});
    EXPECT_EQ(together[i].tokens, alone[0].tokens) << i;
    EXPECT_EQ(together[i].reason, alone[0].reason) << i;
  }
}

TEST_P(EitherPathTest, SecondCandidateGivesWhatAFreshEngineGives) {
  const EngineOptions options{.compute = GetParam(), .threads = 2};
  const RandomWeights other(config_, 2);
  const auto requests = Requests(RandomPrompts(6, 3), 12);
  const auto decoder = MakeDecoder(config_, weights_, options);
  const auto first = GenerateAll(*decoder, requests);
  ASSERT_TRUE(decoder->LoadWeights(other).ok());
  const auto second = GenerateAll(*decoder, requests);
  const auto fresh = GenerateAll(*MakeDecoder(config_, other, options), requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(second[i].tokens, fresh[i].tokens);
  EXPECT_NE(first[0].tokens, second[0].tokens);
}

TEST_P(EitherPathTest, SharedPrefixChangesNothing) {
  EngineOptions options{.compute = GetParam(), .threads = 2};
  std::vector<int32_t> prefix(40);
  std::iota(prefix.begin(), prefix.end(), 3);
  auto prompts = RandomPrompts(5, 9);
  for (auto& prompt : prompts) prompt.insert(prompt.begin(), prefix.begin(), prefix.end());
  const auto requests = Requests(prompts, 10);
  const auto decoder = MakeDecoder(config_, weights_, options);
  const auto together = GenerateAll(*decoder, requests);
  const size_t own = std::accumulate(prompts.begin(), prompts.end(), size_t{0},
                                     [](size_t n, const auto& prompt) { return n + prompt.size() - 40; });
  EXPECT_LE(decoder->timings().prompt_tokens, static_cast<int64_t>(own + 40));
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(together[i].tokens, GenerateAll(*decoder, {requests[i]})[0].tokens) << i;
  }
}

TEST_P(EitherPathTest, PathThroughAllLayersIsTheModel) {
  EngineOptions options{.compute = GetParam(), .threads = 1};
  options.max_path_length = 4;
  const auto decoder = MakeDecoder(config_, weights_, options);
  const std::vector<int32_t> ids{1, 2, 3, 4, 5};
  const auto plain = decoder->Logits(ids);
  ASSERT_TRUE(decoder->LoadWeights(weights_, {{0, 1.0f}, {1, 1.0f}}).ok());
  EXPECT_EQ(MaxDifference(*decoder->Logits(ids), *plain), 0);
  ASSERT_TRUE(decoder->LoadWeights(weights_, {{0, 1.0f}, {1, 1.0f}, {0, 1.0f}, {1, 1.0f}}).ok());
  EXPECT_GT(MaxDifference(*decoder->Logits(ids), *plain), 0.1);
}

TEST_P(EitherPathTest, ScaleMultipliesTheHopBefore) {
  // The same as a model whose embedding and whose first down_proj carry the scales.
  const EngineOptions options{.compute = GetParam(), .threads = 1};
  const auto decoder = MakeDecoder(config_, weights_, options);
  const std::vector<int32_t> ids{9, 8, 7, 6};
  ASSERT_TRUE(decoder->LoadWeights(weights_, {{0, 0.5f}, {1, 2.0f}}).ok());
  const auto scaled = decoder->Logits(ids);
  RandomWeights folded(config_, 1);
  for (float* x : folded.Elements("model.embed_tokens.weight")) *x *= 0.5f;
  for (float* x : folded.Elements("model.layers.0.mlp.down_proj.weight")) *x *= 2.0f;
  ASSERT_TRUE(decoder->LoadWeights(folded).ok());
  // Powers of two scale exactly, but the product joins the sum before or after a rounding.
  const double tolerance = GetParam() == ComputeType::kFp32 ? 1e-5 : 0.15;
  EXPECT_LE(MaxDifference(*decoder->Logits(ids), *scaled), tolerance);
}

TEST_P(EitherPathTest, LogLikelihoodIsTheSumOverTheLogits) {
  const auto decoder = MakeDecoder(config_, weights_, {.compute = GetParam(), .threads = 2});
  std::vector<ScoringRequest> requests;
  for (const auto& prompt : RandomPrompts(5, 4)) requests.push_back({prompt, {7, 3, 60}});
  const auto greedy = GenerateAll(*decoder, {{requests[2].prompt, 4, {}}});
  requests[2].continuation = greedy[0].tokens;

  const auto scores = decoder->LogLikelihood(requests, {}, nullptr);

  ASSERT_TRUE(scores.ok()) << scores.status();
  for (size_t i = 0; i < requests.size(); ++i) {
    std::vector<int32_t> ids = requests[i].prompt;
    ids.insert(ids.end(), requests[i].continuation.begin(), requests[i].continuation.end());
    const auto logits = decoder->Logits(ids);
    ASSERT_TRUE(logits.ok());
    double want = 0;
    for (size_t p = requests[i].prompt.size(); p < ids.size(); ++p) {
      const float* row = logits->data() + (p - 1) * config_.vocab_size;
      double sum = 0;
      for (int64_t v = 0; v < config_.vocab_size; ++v) sum += std::exp(static_cast<double>(row[v]));
      want += row[ids[p]] - std::log(sum);
    }
    EXPECT_NEAR((*scores)[i].log_likelihood, want, GetParam() == ComputeType::kFp32 ? 1e-4 : 0.1) << i;
    EXPECT_EQ((*scores)[i].tokens, static_cast<int>(requests[i].continuation.size()));
    EXPECT_EQ((*scores)[i].is_greedy, i == 2) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Compute, EitherPathTest,
                         testing::Values(ComputeType::kFp32, ComputeType::kBf16, ComputeType::kBf16Products),
                         [](const auto& info) {
                           return info.param == ComputeType::kFp32           ? "Kernels"
                                  : info.param == ComputeType::kBf16Products ? "Bf16Products"
                                                                             : "Aten";
                         });

TEST_F(DecoderTest, LogitsDoNotDependOnThreadsByABit) {
  const std::vector<int32_t> ids = RandomPrompts(1, 21)[0];
  const auto one = MakeDecoder(config_, weights_, {.threads = 1})->Logits(ids);
  const auto three = MakeDecoder(config_, weights_, {.threads = 3})->Logits(ids);
  EXPECT_EQ(*one, *three);
}

TEST_F(DecoderTest, EveryInstructionSetGivesTheSameModel) {
  const std::vector<int32_t> ids = RandomPrompts(1, 22)[0];
  const auto want = MakeDecoder(config_, weights_, {.threads = 1})->Logits(ids);
  std::vector<LayerHop> path{{0, 1.0f}, {1, 1.0f}};
  for (const char* name : {"generic", "avx2", "avx512", "avx512bf16"}) {
    const CpuKernels* kernels = FindCpuKernels(name);
    if (kernels == nullptr) continue;  // not on this processor
    auto runner = CpuRunner::Create(config_, 1, 96, 2, 1, *kernels);
    ASSERT_TRUE(runner.ok());
    ASSERT_TRUE((*runner)->LoadWeights({{{&weights_}}, path}).ok());
    StepBatch batch{ids, {{0, 0, static_cast<int>(ids.size()), static_cast<int>(ids.size())}}};
    std::vector<RowResult> results(ids.size());
    std::vector<float> logits(ids.size() * 64);
    ASSERT_TRUE((*runner)->Step(batch, {absl::MakeSpan(results), {}, logits.data()}).ok());
    EXPECT_LE(MaxDifference(logits, *want), 1e-5) << name;
  }
}

TEST_F(DecoderTest, StopStringEndsTheSequenceAtItsLastToken) {
  EngineOptions options{.decode = NumbersAsText};
  const auto decoder = MakeDecoder(config_, weights_, options);
  const std::vector<int32_t> prompt{4, 9, 2};
  const auto free = GenerateAll(*decoder, {{prompt, 12, {}}})[0];
  ASSERT_EQ(free.tokens.size(), 12u);
  // A string over two tokens, and one that never comes.
  const std::string stop = absl::StrCat("<", free.tokens[4], "><", free.tokens[5]);
  size_t want = 0;  // the pair may come earlier
  while (!absl::StrContains(*NumbersAsText(absl::MakeSpan(free.tokens).subspan(0, want)), stop)) ++want;

  const auto stopped = GenerateAll(*decoder, {{prompt, 12, {"never", stop}}})[0];

  EXPECT_EQ(stopped.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens, std::vector<int32_t>(free.tokens.begin(), free.tokens.begin() + want));
}

TEST_F(DecoderTest, EosIsNotAmongTheTokens) {
  const std::vector<int32_t> prompt{4, 9, 2};
  const auto free = GenerateAll(*MakeDecoder(config_, weights_, {}), {{prompt, 12, {}}})[0];
  const int32_t eos = free.tokens[3];
  const auto first = std::find(free.tokens.begin(), free.tokens.end(), eos);
  const auto ended = GenerateAll(*MakeDecoder(config_, weights_, {.eos_token_ids = {eos}}), {{prompt, 12, {}}})[0];
  EXPECT_EQ(ended.reason, FinishReason::kEos);
  EXPECT_EQ(ended.tokens, std::vector<int32_t>(free.tokens.begin(), first));
}

TEST_F(DecoderTest, CountsTokensAndReportsProgress) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  std::vector<size_t> finished;
  const auto requests = Requests({{1, 2, 3}, {4, 5}}, 3);
  ASSERT_TRUE(decoder
                  ->Generate(requests, {},
                             [&](size_t done, size_t total) {
                               EXPECT_EQ(total, 2u);
                               finished.push_back(done);
                             })
                  .ok());
  EXPECT_THAT(finished, ElementsAre(0, 0, 2));
  EXPECT_EQ(decoder->timings().prompt_tokens, 5);
  EXPECT_EQ(decoder->timings().generated_tokens, 6);
}

TEST_F(DecoderTest, NoRequestsNoWork) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  EXPECT_TRUE(GenerateAll(*decoder, {}).empty());
}

TEST_F(DecoderTest, StopTokenCancels) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  std::stop_source source;
  int steps = 0;
  const auto result = decoder->Generate(Requests({{1, 2, 3}}, 50), source.get_token(), [&](size_t, size_t) {
    if (++steps == 3) source.request_stop();
  });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(steps, 3);
  // The engine goes on as if nothing had been.
  EXPECT_EQ(GenerateAll(*decoder, Requests({{4, 9, 2}}, 5))[0].tokens,
            GenerateAll(*MakeDecoder(config_, weights_, {}), Requests({{4, 9, 2}}, 5))[0].tokens);
}

TEST_F(DecoderTest, RequestLongerThanTheCacheNamesTheBound) {
  EngineOptions options;
  options.max_length = 20;
  const auto decoder = MakeDecoder(config_, weights_, options);
  const auto result = decoder->Generate(Requests({{1}, std::vector<int32_t>(15, 3)}, 6), {}, nullptr);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(result.status().message(),
            "request 1 needs 21 positions (prompt of 15 tokens, 6 new), more than the cache's 20");
  EXPECT_TRUE(decoder->Generate(Requests({std::vector<int32_t>(15, 3)}, 5), {}, nullptr).ok());
}

TEST_F(DecoderTest, BadRequestsAreNamed) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  const auto message = [&](const GenerationRequest& request) {
    const auto result = decoder->Generate({request}, {}, nullptr);
    return std::string(result.status().message());
  };
  EXPECT_EQ(message({{}, 4, {}}), "the prompt of request 0 is empty");
  EXPECT_EQ(message({{1, 64}, 4, {}}), "the prompt of request 0 has token 64 at 1, not in [0, 63]");
  EXPECT_EQ(message({{1, -1}, 4, {}}), "the prompt of request 0 has token -1 at 1, not in [0, 63]");
  EXPECT_EQ(message({{1}, 0, {}}), "request 0 asks for max_new_tokens 0, which must be at least 1");
  EXPECT_EQ(message({{1}, 1, {""}}), "request 0 has an empty stop string");
  EXPECT_THAT(message({{1}, 1, {"x"}}), HasSubstr("without a decode function"));
}

TEST_F(DecoderTest, WeightsMustBeLoadedFirst) {
  auto decoder = Decoder::Create(config_, {});
  ASSERT_TRUE(decoder.ok());
  EXPECT_EQ((*decoder)->Generate({}, {}, nullptr).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(DecoderTest, WrongWeightsAreNamedAndLeaveNoModel) {
  for (const ComputeType compute : {ComputeType::kFp32, ComputeType::kBf16}) {
    const auto decoder = MakeDecoder(config_, weights_, {.compute = compute});
    RandomWeights reshaped(config_, 1);
    reshaped.Reshape("model.layers.1.mlp.down_proj.weight", {24, 32});
    const absl::Status status = decoder->LoadWeights(reshaped);
    EXPECT_EQ(status.message(),
              "tensor 'model.layers.1.mlp.down_proj.weight' has shape [24, 32], but the model's config "
              "asks for [32, 24]");
    EXPECT_EQ(decoder->Logits({1}).status().code(), absl::StatusCode::kFailedPrecondition);
    RandomWeights missing(config_, 1);
    missing.Remove("lm_head.weight");
    EXPECT_EQ(decoder->LoadWeights(missing).code(), absl::StatusCode::kNotFound);
  }
}

TEST_F(DecoderTest, PathOutsideTheModelIsNamed) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  EXPECT_EQ(decoder->LoadWeights(weights_, {{0, 1.0f}, {2, 1.0f}}).message(), "hop 1 of the path is layer 2, not in [0, 1]");
  EXPECT_EQ(decoder->LoadWeights(weights_, {{0, 1.0f}, {1, 1.0f}, {1, 1.0f}}).message(),
            "a path of 3 layers is longer than the engine's max_path_length 2");
}

TEST_F(DecoderTest, NotFiniteLogitsAreAnError) {
  for (const ComputeType compute : {ComputeType::kFp32, ComputeType::kBf16}) {
    RandomWeights broken(config_, 1);
    *broken.Elements("model.norm.weight")[3] = std::numeric_limits<float>::quiet_NaN();
    const auto decoder = MakeDecoder(config_, broken, {.compute = compute});
    const auto result = decoder->Generate(Requests({{1, 2}}, 2), {}, nullptr);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("not finite"));
  }
}

TEST_F(DecoderTest, WeightsInPlaceAreReadWhereTheyAre) {
  // The ATen path in fp32, the arena's type: the first arena is copied, the second used in place,
  // so that a change of its contents shows.
  const std::vector<LayerHop> path{{0, 1.0f}, {1, 1.0f}};
  RandomWeights arena(config_, 1);
  const auto logits = [&](AtenRunner& runner) {
    std::vector<RowResult> results(3);
    std::vector<float> values(3 * 64);
    EXPECT_TRUE(runner.Step({{1, 2, 3}, {{0, 0, 3, 3}}}, {absl::MakeSpan(results), {}, values.data()}).ok());
    return values;
  };
  auto runner = AtenRunner::Create(config_, c10::Device(c10::kCPU), at::kFloat, 1, 32, 2);
  ASSERT_TRUE(runner.ok());
  ASSERT_TRUE((*runner)->LoadWeights({{{&arena}}, path}).ok());
  const auto copied = logits(**runner);
  arena.alias = true;
  ASSERT_TRUE((*runner)->LoadWeights({{{&arena}}, path}).ok());
  EXPECT_EQ(logits(**runner), copied);
  for (float* x : arena.Elements("model.layers.1.mlp.up_proj.weight")) *x = 0.0f;
  EXPECT_NE(logits(**runner), copied);
}

TEST_F(DecoderTest, KvMemoryBoundsTheSlots) {
  EngineOptions options;
  options.max_length = 32;
  options.kv_memory_bytes = CpuRunner::SlotBytes(config_, 32, 2) * 5;
  const auto decoder = MakeDecoder(config_, weights_, options);
  EXPECT_EQ(decoder->max_sequences(), 4);  // and one for the shared prefix
  options.kv_memory_bytes = 1000;
  const auto none = Decoder::Create(config_, options);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("1000 bytes (kv_memory_bytes) is too small"));
}

TEST_F(DecoderTest, OptionsOutOfRangeAreNamed) {
  EngineOptions options;
  options.max_sequences = 0;
  EXPECT_EQ(Decoder::Create(config_, options).status().message(), "engine option max_sequences is 0, not in [1, 4096]");
  options = {};
  options.device = "tpu";
  EXPECT_EQ(Decoder::Create(config_, options).status().message(), "device 'tpu' is none of cpu, cuda, cuda:N");
}

TEST_F(DecoderTest, UnsupportedActivationsAreUnimplemented) {
  ModelConfig config = config_;
  config.hidden_act = "quick_gelu";
  for (const ComputeType compute : {ComputeType::kFp32, ComputeType::kBf16}) {
    const absl::Status status = Decoder::Create(config, {.compute = compute}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(status.message(), "hidden_act 'quick_gelu' is not supported by the engine");
  }
}

// A source that promises never to change, and counts who reads it.
class ConstantWeights : public RandomWeights {
 public:
  ConstantWeights(const ModelConfig& config, uint64_t seed) : RandomWeights(config, seed), id_(NextConstantId()) {}
  uint64_t constant_id() const override { return id_; }
  absl::StatusOr<WeightView> Find(absl::string_view name) const override {
    ++reads[std::string(name)];
    return RandomWeights::Find(name);
  }
  mutable std::map<std::string, int> reads;

 private:
  uint64_t id_;
};

TEST_P(EitherPathTest, PathsThroughSeveralSourcesCopyNoLayerTwice) {
  EngineOptions options{.compute = GetParam(), .threads = 1};
  options.max_path_length = 64;
  const auto decoder = Decoder::Create(config_, options);
  ASSERT_TRUE(decoder.ok());
  ConstantWeights a(config_, 1), b(config_, 2);
  const std::vector<int32_t> ids{1, 2, 3, 4, 5};
  // The first layer of a, both of b, and the last of a, with its ends.
  const ModelWeights mixed{{{&a}, {&b}}, {{0, 1.0f, 0}, {0, 0.5f, 1}, {1, 1.0f, 1}, {1, 2.0f, 0}}, 0, 0};
  ASSERT_TRUE((*decoder)->LoadWeights(mixed).ok());
  const auto logits = (*decoder)->Logits(ids);
  ASSERT_TRUE(logits.ok());

  // The same as a model that has these four layers of its own.
  ModelConfig long_config = config_;
  long_config.num_layers = 4;
  RandomWeights joined(long_config, 9);
  const auto copy = [&](const RandomWeights& from, int layer, int to) {
    for (const TensorSpec& spec : WeightLayout(config_)) {
      const std::string prefix = LayerTensorName(layer, "");
      if (spec.name.compare(0, prefix.size(), prefix) != 0) continue;
      const auto target = joined.Elements(LayerTensorName(to, spec.name.substr(prefix.size())));
      const float* values = reinterpret_cast<const float*>(from.Find(spec.name)->data);
      for (size_t i = 0; i < target.size(); ++i) *target[i] = values[i];
    }
  };
  copy(a, 0, 0);
  copy(b, 0, 1);
  copy(b, 1, 2);
  copy(a, 1, 3);
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}) {
    const auto target = joined.Elements(name);
    const float* values = reinterpret_cast<const float*>(a.Find(name)->data);
    for (size_t i = 0; i < target.size(); ++i) *target[i] = values[i];
  }
  const auto whole = MakeDecoder(long_config, joined, {.compute = GetParam(), .threads = 1});
  ASSERT_TRUE(whole->LoadWeights(joined, {{0, 1.0f}, {1, 0.5f}, {2, 1.0f}, {3, 2.0f}}).ok());
  EXPECT_EQ(MaxDifference(*whole->Logits(ids), *logits), 0);

  // Another path over the same sources reads nothing again.
  a.reads.clear();
  b.reads.clear();
  const std::vector<LayerHop> longer(40, LayerHop{0, 1.0f, 1});
  ASSERT_TRUE((*decoder)->LoadWeights(mixed).ok());
  for (const char* name : {"self_attn.q_proj.weight", "mlp.down_proj.weight"}) {
    EXPECT_EQ(a.reads[LayerTensorName(0, name)] + b.reads[LayerTensorName(1, name)], 0) << name;
  }
  // A path longer than any before: the cache grows.
  ASSERT_TRUE((*decoder)->LoadWeights({{{&a}, {&b}}, longer}).ok());
  EXPECT_TRUE((*decoder)->Logits(ids).ok());
  ASSERT_TRUE((*decoder)->LoadWeights(mixed).ok());
  EXPECT_EQ(*(*decoder)->Logits(ids), *logits);
}

TEST_F(DecoderTest, StacksOutOfRangeAreNamed) {
  const auto decoder = MakeDecoder(config_, weights_, {});
  EXPECT_EQ(decoder->LoadWeights(ModelWeights{}).message(), "the model has no stack of layers");
  EXPECT_EQ(decoder->LoadWeights(ModelWeights{{{&weights_}}, {{0, 1.0f, 1}}}).message(),
            "hop 0 of the path is in stack 1, not in [0, 0]");
  EXPECT_EQ(decoder->LoadWeights(ModelWeights{{{&weights_}}, {}, 0, 2}).message(),
            "the embedding or the head is of stack 2, not in [0, 0]");
}

TEST_F(DecoderTest, Bf16WeightsGiveTheBitsOfTheirFp32Values) {
  // The example's weights are bf16; as fp32 copies they give the same logits, bit for bit.
  const auto checkpoint = Checkpoint::Open(MG_SOURCE_DIR "/examples/ja-math/ja");
  ASSERT_TRUE(checkpoint.ok());
  const ModelConfig& config = (*checkpoint)->config();
  RandomWeights widened(config, 1);
  for (const TensorSpec& spec : WeightLayout(config)) {
    const TensorView* tensor = (*checkpoint)->Find(spec.name);
    ASSERT_EQ(tensor->dtype, DType::kBF16);
    const auto target = widened.Elements(spec.name);
    for (size_t i = 0; i < target.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, tensor->data.data() + 2 * i, sizeof(bits));
      *target[i] = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    }
  }
  const std::vector<int32_t> ids = RandomPrompts(1, 21, 1024)[0];
  const EngineOptions options{.threads = 1};
  EXPECT_EQ(*MakeDecoder(config, CheckpointWeights(*checkpoint), options)->Logits(ids),
            *MakeDecoder(config, widened, options)->Logits(ids));
}

}  // namespace
}  // namespace merganser
