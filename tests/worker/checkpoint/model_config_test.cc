#include "worker/checkpoint/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/generation_config.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ModelConfigTest, ReadsClassicLayout) {
  const std::string text = ReadText(MG_SOURCE_DIR "/examples/ja-math/base/config.json");
  const auto config = ModelConfig::Parse(text, "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "MistralForCausalLM");
  EXPECT_EQ(config->family, ModelFamily::kMistral);
  EXPECT_EQ(config->vocab_size, 1024);
  EXPECT_EQ(config->hidden_size, 128);
  EXPECT_EQ(config->intermediate_size, 256);
  EXPECT_EQ(config->num_layers, 6);
  EXPECT_EQ(config->num_heads, 4);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 32);
  EXPECT_EQ(config->rms_norm_eps, 1e-5);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_EQ(config->rope_scaling, RopeScaling{});
  EXPECT_EQ(config->max_position_embeddings, 512);
  EXPECT_EQ(config->sliding_window, std::nullopt);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_EQ(config->dtype, DType::kBF16);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2));
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->pad_token_id, std::nullopt);
  EXPECT_EQ(config->raw_json, text);
}

// As transformers 5 writes it.
TEST(ModelConfigTest, ReadsTransformers5Layout) {
  const auto config = ModelConfig::Parse(
      R"({"architectures": ["MistralForCausalLM"], "dtype": "bfloat16", "head_dim": 32,
      "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 6,
      "num_key_value_heads": 2, "pad_token_id": null, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
      "sliding_window": 4096, "transformers_version": "5.23.0", "vocab_size": 1024})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->dtype, DType::kBF16);
  EXPECT_EQ(config->rope_theta, 500000);
  EXPECT_EQ(config->sliding_window, 4096);
  EXPECT_TRUE(config->eos_token_ids.empty());
}

TEST(ModelConfigTest, AbsentFieldsGetTheFamilysDefaults) {
  const char kSizes[] =
      R"("vocab_size": 9, "hidden_size": 32, "intermediate_size": 6, "num_hidden_layers": 1,
                           "num_attention_heads": 16})";
  const auto llama = ModelConfig::Parse(absl::StrCat(R"({"model_type": "llama", )", kSizes), "c");
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_EQ(llama->num_kv_heads, 16);
  EXPECT_EQ(llama->head_dim, 2);
  EXPECT_EQ(llama->sliding_window, std::nullopt);
  EXPECT_EQ(llama->max_position_embeddings, 2048);
  EXPECT_EQ(llama->rms_norm_eps, 1e-6);
  EXPECT_EQ(llama->hidden_act, "silu");
  const auto mistral = ModelConfig::Parse(absl::StrCat(R"({"model_type": "mistral", )", kSizes), "c");
  ASSERT_TRUE(mistral.ok()) << mistral.status();
  EXPECT_EQ(mistral->num_kv_heads, 8);
  EXPECT_EQ(mistral->sliding_window, 4096);
}

TEST(ModelConfigTest, ReadsLlama3Scaling) {
  const auto config = ModelConfig::Parse(TinyConfigWith("rope_scaling", R"({"rope_type": "llama3", "factor": 8,
      "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192})"),
                                         "c");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.type, RopeType::kLlama3);
  EXPECT_EQ(config->rope_scaling.factor, 8);
  EXPECT_EQ(config->rope_scaling.original_max_position_embeddings, 8192);
}

TEST(ModelConfigTest, ReadsLinearAndYarnScaling) {
  const auto linear = ModelConfig::Parse(TinyConfigWith("rope_scaling", R"({"type": "linear", "factor": 2.5})"), "c");
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(linear->rope_scaling.type, RopeType::kLinear);
  EXPECT_EQ(linear->rope_scaling.factor, 2.5);
  const auto yarn =
      ModelConfig::Parse(TinyConfigWith("rope_parameters",
                                        R"({"rope_type": "yarn", "factor": 4, "rope_theta": 7, "attention_factor": 1.5,
          "truncate": false})"),
                         "c");
  ASSERT_TRUE(yarn.ok()) << yarn.status();
  EXPECT_EQ(yarn->rope_theta, 7);
  EXPECT_EQ(yarn->rope_scaling.type, RopeType::kYarn);
  EXPECT_EQ(yarn->rope_scaling.attention_factor, 1.5);
  EXPECT_FALSE(yarn->rope_scaling.truncate);
  EXPECT_EQ(yarn->rope_scaling.original_max_position_embeddings, 2048);
}

// Sizes of a small model of another family, with what a test adds.
absl::StatusOr<ModelConfig> Family(const std::string& model_type, const std::string& fields) {
  return ModelConfig::Parse(absl::StrCat(R"({"model_type": ")", model_type, R"(", "vocab_size": 9, "hidden_size": 32,
          "intermediate_size": 6, "num_hidden_layers": 7, "num_attention_heads": 4,
          "num_key_value_heads": 2)",
                                         fields, "}"),
                            "c");
}

TEST(ModelConfigTest, Qwen2HasBiasesAndNoWindowUnlessItIsUsed) {
  const auto plain = Family("qwen2", R"(, "sliding_window": 8)");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_TRUE(plain->attention_bias);
  EXPECT_FALSE(plain->attention_output_bias);
  EXPECT_EQ(plain->WindowOf(6), 0);
  const auto window = Family("qwen2", R"(, "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 5)");
  ASSERT_TRUE(window.ok()) << window.status();
  EXPECT_EQ(window->WindowOf(4), 0);
  EXPECT_EQ(window->WindowOf(5), 8);
}

TEST(ModelConfigTest, Qwen3NormsQueriesAndKeysOfItsOwnHeadSize) {
  const auto config = Family("qwen3", "");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->qk_norm);
  EXPECT_FALSE(config->attention_bias);
  EXPECT_EQ(config->head_dim, 128);
}

TEST(ModelConfigTest, GemmasDifferInNormsWindowsAndCaps) {
  const auto first = Family("gemma", R"(, "hidden_act": "gelu")");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->norm_adds_one && first->scale_embedding && first->tie_word_embeddings);
  EXPECT_FALSE(first->output_norms);
  EXPECT_EQ(first->hidden_act, "gelu_pytorch_tanh");
  EXPECT_EQ(first->head_dim, 256);
  const auto second = Family("gemma2", R"(, "sliding_window": 8, "query_pre_attn_scalar": 24)");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->output_norms);
  EXPECT_EQ(second->attention_softcap, 50);
  EXPECT_EQ(second->final_softcap, 30);
  EXPECT_EQ(second->query_pre_attn_scalar, 24);
  EXPECT_EQ(second->WindowOf(0), 8);
  EXPECT_EQ(second->WindowOf(1), 0);
  const auto third = Family("gemma3_text", R"(, "rope_scaling": {"rope_type": "linear", "factor": 8})");
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE(third->qk_norm);
  EXPECT_EQ(third->final_softcap, 0);
  EXPECT_EQ(third->WindowOf(4), 4096);
  EXPECT_EQ(third->WindowOf(5), 0);
  EXPECT_TRUE(third->UsesSlidingRope(4));
  EXPECT_FALSE(third->UsesSlidingRope(5));
  EXPECT_EQ(third->rope_theta, 1e6);
  EXPECT_EQ(third->rope_scaling.factor, 8);
  EXPECT_EQ(third->sliding_rope->theta, 1e4);
  EXPECT_EQ(third->sliding_rope->scaling, RopeScaling{});
}

TEST(ModelConfigTest, LayerTypesDecideAboutWindows) {
  const char kTypes[] = R"(, "layer_types": ["full_attention", "sliding_attention", "full_attention",
      "full_attention", "full_attention", "full_attention", "sliding_attention"])";
  const auto config = Family("gemma3_text", kTypes);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->WindowOf(0), 0);
  EXPECT_EQ(config->WindowOf(1), 4096);
  EXPECT_THAT(std::string(Family("gemma2", R"(, "layer_types": ["full_attention"])").status().message()),
              HasSubstr("expected a list with a type for each of the 7 layers"));
}

TEST(ModelConfigTest, EvoMistralNeedsItsNumberOfHops) {
  const auto config = Family("evomistral", R"(, "num_hops": 9)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "EvoMistralForCausalLM");
  EXPECT_EQ(config->num_hops, 9);
  EXPECT_THAT(std::string(Family("evomistral", "").status().message()), HasSubstr("field 'num_hops' is missing"));
}

TEST(ModelConfigTest, ScalingsExtendTheContext) {
  const auto context = [](const std::string& scaling) {
    return Family("llama", absl::StrCat(R"(, "max_position_embeddings": 100, "rope_scaling": )", scaling))->MaxContext();
  };
  EXPECT_EQ(context("null"), 100);
  EXPECT_EQ(context(R"({"type": "dynamic", "factor": 2})"), 200);
  EXPECT_EQ(context(R"({"type": "yarn", "factor": 4, "original_max_position_embeddings": 50})"), 200);
  EXPECT_EQ(context(R"({"type": "yarn", "factor": 2, "original_max_position_embeddings": 50})"), 100);
}

TEST(ModelConfigTest, ReadsLongrope) {
  const auto config = Family("llama", R"(, "head_dim": 4, "max_position_embeddings": 128,
      "original_max_position_embeddings": 32,
      "rope_scaling": {"type": "su", "short_factor": [1, 1.5], "long_factor": [2, 3]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.type, RopeType::kLongrope);
  EXPECT_EQ(config->rope_scaling.factor, 4);
  EXPECT_THAT(config->rope_scaling.long_factor, ElementsAre(2, 3));
}

TEST(ModelConfigTest, LlamaBiasesAreRead) {
  EXPECT_TRUE(ModelConfig::Parse(TinyConfigWith("attention_bias", "true"), "c")->attention_bias);
  EXPECT_TRUE(ModelConfig::Parse(TinyConfigWith("mlp_bias", "true"), "c")->mlp_bias);
}

TEST(ModelConfigTest, TokenIdsMayBeListsAndMinusOneIsNone) {
  EXPECT_THAT(ModelConfig::Parse(TinyConfigWith("eos_token_id", "[5, 7]"), "c")->eos_token_ids, ElementsAre(5, 7));
  EXPECT_EQ(ModelConfig::Parse(TinyConfigWith("pad_token_id", "-1"), "c")->pad_token_id, std::nullopt);
}

struct BadConfig {
  const char* name;
  const char* field;
  const char* value;
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class BadConfigTest : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, IsRefusedNamingFileFieldAndBound) {
  const BadConfig& bad = GetParam();
  const absl::Status status = ModelConfig::Parse(TinyConfigWith(bad.field, bad.value), "dir/config.json").status();
  EXPECT_EQ(status.code(), bad.code);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'dir/config.json': "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
}

constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
INSTANTIATE_TEST_SUITE_P(
    Fields, BadConfigTest,
    testing::Values(
        BadConfig{"OtherArchitecture", "architectures", "[\"GPT2LMHeadModel\"]",
                  "a supported architecture: LlamaForCausalLM, MistralForCausalLM, "
                  "Qwen2ForCausalLM, Qwen3ForCausalLM, GemmaForCausalLM, Gemma2ForCausalLM, "
                  "Gemma3ForCausalLM, EvoMistralForCausalLM",
                  kUnimplemented},
        BadConfig{"ArchitecturesNotAList", "architectures", "\"LlamaForCausalLM\"", "expected a list"},
        BadConfig{"Quantized", "quantization_config", R"({"quant_method": "bitsandbytes"})",
                  "quantized (quantization_config.quant_method bitsandbytes)", kUnimplemented},
        BadConfig{"MissingSize", "hidden_size", "null", "field 'hidden_size' is null; expected an integer in [1, 10000000]"},
        BadConfig{"ZeroVocabulary", "vocab_size", "0", "field 'vocab_size' is 0; expected an integer in [1, 100000000]"},
        BadConfig{"HugeVocabulary", "vocab_size", "18446744073709551615", "field 'vocab_size' is 18446744073709551615"},
        BadConfig{"TextLayers", "num_hidden_layers", "\"6\"", "field 'num_hidden_layers' is \"6\"; expected an integer"},
        BadConfig{"FractionalHeads", "num_attention_heads", "2.5", "field 'num_attention_heads' is 2.5"},
        BadConfig{"MoreKvHeadsThanHeads", "num_key_value_heads", "3", "expected an integer in [1, 2]"},
        BadConfig{"HeadsDoNotDivideHidden", "hidden_size", "5", "expected a multiple of num_attention_heads, 2"},
        BadConfig{"OddHeadDim", "head_dim", "3", "field 'head_dim' is 3; expected an even number"},
        BadConfig{"NegativeEps", "rms_norm_eps", "-1", "field 'rms_norm_eps' is -1; expected a number in (0, 1]"},
        BadConfig{"ZeroTheta", "rope_theta", "0", "field 'rope_theta' is 0; expected a number in (0, 1e+12]"},
        BadConfig{"UnknownActivation", "hidden_act", "\"swoosh\"", "expected one of silu, gelu"},
        BadConfig{"UnknownDtype", "torch_dtype", "\"int3\"", "field 'torch_dtype': unknown dtype 'int3'"},
        BadConfig{"IntegerDtype", "dtype", "\"int8\"", "expected a floating-point type"},
        BadConfig{"TiedText", "tie_word_embeddings", "\"yes\"",
                  "field 'tie_word_embeddings' is \"yes\"; expected true or false"},
        BadConfig{"EosText", "eos_token_id", "[\"</s>\"]", "expected a token id or a list of token ids"},
        BadConfig{"BosTooSmall", "bos_token_id", "-2",
                  "field 'bos_token_id' is -2; expected an integer in [-1, 2147483647]"},
        BadConfig{"UnknownRope", "rope_scaling", R"({"type": "spiral", "factor": 2})",
                  "field 'rope_scaling.type' is \"spiral\"; expected one of default, linear, "
                  "dynamic, llama3, yarn, longrope",
                  kUnimplemented},
        BadConfig{"LongropeWithoutFactors", "rope_scaling", R"({"type": "longrope"})",
                  "field 'rope_scaling.short_factor' is missing; expected a list of 1 positive "
                  "numbers (head_dim / 2)"},
        BadConfig{"LongropeFactorZero", "rope_scaling", R"({"type": "longrope", "short_factor": [0], "long_factor": [1]})",
                  "expected a list of 1 positive numbers (head_dim / 2)"},
        BadConfig{"RopeWithoutType", "rope_scaling", R"({"factor": 2})", "field 'rope_scaling.type' is missing"},
        BadConfig{"RopeWithoutFactor", "rope_scaling", R"({"type": "linear"})", "field 'rope_scaling.factor' is missing"},
        BadConfig{"RopeFactorZero", "rope_scaling", R"({"type": "linear", "factor": 0})", "expected a number in (0, 1e+06]"},
        BadConfig{"Llama3WithoutContext", "rope_scaling", R"({"rope_type": "llama3", "factor": 8})",
                  "field 'rope_scaling.original_max_position_embeddings' is missing"},
        BadConfig{"Llama3FactorsCross", "rope_scaling",
                  R"({"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 9, "low_freq_factor": 4,
                      "high_freq_factor": 4})",
                  "expected more than low_freq_factor, 4"},
        BadConfig{"RopePerLayerType", "rope_parameters", R"({"full_attention": {"rope_theta": 1}})",
                  "settings per layer type are not supported", kUnimplemented},
        BadConfig{"PartialRotation", "partial_rotary_factor", "0.5", "partial rotation is not supported", kUnimplemented}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ModelConfigTest, ThetasThatDisagreeAreRefused) {
  const auto status = ModelConfig::Parse(
                          R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 4,
      "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2, "rope_theta": 10000,
      "rope_parameters": {"rope_theta": 500000}})",
                          "c")
                          .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("expected the same as rope_parameters.rope_theta, 500000"));
}

TEST(ModelConfigTest, BrokenJsonIsRefusedWithItsPlace) {
  const auto message = [](absl::string_view text) { return std::string(ModelConfig::Parse(text, "c").status().message()); };
  EXPECT_THAT(message("{\n  \"a\": 1,\n  \"b\" 2}"), HasSubstr("'c': not valid JSON (line 3, column 7)"));
  EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[1]"), HasSubstr("a JSON array; expected an object"));
  EXPECT_THAT(message("{\"a\": 1, \"a\": 2}"), HasSubstr("key 'a' appears twice"));
  EXPECT_THAT(message("{\"a\": 1e999}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message(std::string(100000, '[')), HasSubstr("nested deeper than 100"));
}

TEST(GenerationConfigTest, ItsTokenIdsWinOverTheModels) {
  const ModelConfig model = *ModelConfig::Parse(kTinyConfig, "c");
  const auto config = GenerationConfig::Parse(R"({"eos_token_id": [2, 5], "max_new_tokens": 64, "do_sample": true,
      "temperature": 0.7, "top_p": 0.9, "top_k": 50, "repetition_penalty": 1.05, "num_beams": 5})",
                                              "g", model);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2, 5));
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->max_new_tokens, 64);
  EXPECT_TRUE(config->do_sample);
  EXPECT_EQ(config->temperature, 0.7);
  EXPECT_EQ(config->top_k, 50);
  EXPECT_EQ(config->num_beams, 5);
}

TEST(GenerationConfigTest, AbsentTokenIdsComeFromTheModel) {
  const ModelConfig model = *ModelConfig::Parse(kTinyConfig, "c");
  EXPECT_THAT(GenerationConfig::Parse("{}", "g", model)->eos_token_ids, ElementsAre(2));
  EXPECT_THAT(GenerationConfig::FromModelConfig(model).eos_token_ids, ElementsAre(2));
}

TEST(GenerationConfigTest, BadValuesAreNamed) {
  const ModelConfig model = *ModelConfig::Parse(kTinyConfig, "c");
  const auto message = [&](absl::string_view text) {
    return std::string(GenerationConfig::Parse(text, "dir/g.json", model).status().message());
  };
  EXPECT_THAT(message(R"({"top_p": 1.4})"), HasSubstr("'dir/g.json': field 'top_p' is 1.4; expected a number in (0, 1]"));
  EXPECT_THAT(message(R"({"repetition_penalty": 0})"), HasSubstr("field 'repetition_penalty' is 0"));
  EXPECT_THAT(message(R"({"num_beams": 0})"), HasSubstr("expected an integer in [1, 1024]"));
  EXPECT_THAT(message("{"), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace merganser
