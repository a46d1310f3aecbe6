#include "worker/checkpoint/raw_config.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/checkpoint/test_files.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

RawConfig Read(const std::string& text) {
  const std::string dir = NewFolder();
  WriteText(dir + "/config.json", text);
  const auto config = RawConfig::Read(dir);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : RawConfig{};
}

TEST(RawConfigTest, SettingsOfTheLanguageModelAreFoundWhereverTheyAre) {
  const RawConfig plain = Read(R"({"architectures": ["OddForCausalLM"], "model_type": "odd", "n_layer": 3, "vocab_size": 8})");
  EXPECT_EQ(plain.architecture, "OddForCausalLM");
  EXPECT_EQ(plain.num_layers, 3);
  EXPECT_EQ(plain.layers_key, "n_layer");
  EXPECT_FALSE(plain.tie_word_embeddings.has_value());
  const RawConfig nested = Read(R"({"architectures": ["LlavaForConditionalGeneration"],
      "text_config": {"num_hidden_layers": 2, "vocab_size": 9, "tie_word_embeddings": true}})");
  EXPECT_EQ(nested.layers_key, "text_config.num_hidden_layers");
  EXPECT_EQ(nested.vocab_size, 9);
  EXPECT_EQ(nested.tie_word_embeddings, true);
  EXPECT_EQ(nlohmann::json::parse(VocabularyConfigPatch(nested, 10)), (nlohmann::json{{"text_config", {{"vocab_size", 10}}}}));
}

TEST(RawConfigTest, RulesOfAFamilyAreWrittenOutForAPath) {
  const auto types = [](const std::string& config, const std::vector<int>& layers) {
    return nlohmann::json::parse(PathConfigPatch(Read(config), layers))["layer_types"];
  };
  const char s[] = "sliding_attention", f[] = "full_attention";
  EXPECT_EQ(types(R"({"architectures": ["Gemma2ForCausalLM"], "num_hidden_layers": 4})", {1, 0, 1}), (nlohmann::json{f, s, f}));
  EXPECT_EQ(types(R"({"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 12})", {5, 6, 11}), (nlohmann::json{f, s, f}));
  EXPECT_EQ(types(R"({"architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4, "use_sliding_window": true, "max_window_layers": 2})",
                  {3, 0}),
            (nlohmann::json{s, f}));
  EXPECT_TRUE(types(R"({"architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4})", {3, 0}).is_null());
}

TEST(RawConfigTest, PatchesJoinAndKeepWhatTheyRemove) {
  EXPECT_EQ(nlohmann::json::parse(JoinPatches(R"({"a": 1, "b": {"c": 2}})", R"({"a": null, "b": {"d": 3}})")),
            nlohmann::json::parse(R"({"a": null, "b": {"c": 2, "d": 3}})"));
  EXPECT_EQ(JoinPatches("", "{}"), "{}");
}

TEST(RawConfigTest, BadConfigsAreRefused) {
  const std::string dir = NewFolder();
  EXPECT_EQ(RawConfig::Read(dir).status().code(), absl::StatusCode::kNotFound);
  WriteText(dir + "/config.json", "{\"a\": \n[}");
  EXPECT_THAT(std::string(RawConfig::Read(dir).status().message()), HasSubstr("config.json"));
  WriteText(dir + "/config.json", R"({"quantization_config": {"quant_method": "gptq"}})");
  EXPECT_THAT(std::string(RawConfig::Read(dir).status().message()), HasSubstr("quant_method gptq"));
  WriteText(dir + "/config.json", R"({"num_hidden_layers": -1})");
  EXPECT_THAT(std::string(RawConfig::Read(dir).status().message()), HasSubstr("num_hidden_layers"));
}

}  // namespace
}  // namespace merganser
