#include "worker/checkpoint/raw_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/model_config.h"

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
  const RawConfig plain =
      Read(R"({"architectures": ["OddForCausalLM"], "model_type": "odd", "n_layer": 3, "vocab_size": 8})");
  EXPECT_EQ(plain.architecture, "OddForCausalLM");
  EXPECT_EQ(plain.num_layers, 3);
  EXPECT_EQ(plain.layers_key, "n_layer");
  EXPECT_FALSE(plain.tie_word_embeddings.has_value());
  const RawConfig nested = Read(R"({"architectures": ["LlavaForConditionalGeneration"],
      "text_config": {"num_hidden_layers": 2, "vocab_size": 9, "tie_word_embeddings": true}})");
  EXPECT_EQ(nested.layers_key, "text_config.num_hidden_layers");
  EXPECT_EQ(nested.vocab_size, 9);
  EXPECT_EQ(nested.tie_word_embeddings, true);
  EXPECT_EQ(nlohmann::json::parse(VocabularyConfigPatch(nested, 10)),
            (nlohmann::json{{"text_config", {{"vocab_size", 10}}}}));
}

TEST(RawConfigTest, RulesOfAFamilyAreWrittenOutForAPath) {
  const auto types = [](const std::string& config, const std::vector<int>& layers) {
    return nlohmann::json::parse(PathConfigPatch(Read(config), layers))["layer_types"];
  };
  const char s[] = "sliding_attention", f[] = "full_attention";
  EXPECT_EQ(types(R"({"architectures": ["Gemma2ForCausalLM"], "num_hidden_layers": 4})", {1, 0, 1}),
            (nlohmann::json{f, s, f}));
  EXPECT_EQ(types(R"({"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 12})", {5, 6, 11}),
            (nlohmann::json{f, s, f}));
  EXPECT_EQ(
      types(
          R"({"architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4, "use_sliding_window": true, "max_window_layers": 2})",
          {3, 0}),
      (nlohmann::json{s, f}));
  EXPECT_TRUE(types(R"({"architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4})", {3, 0}).is_null());
}

// A Mistral's config.json with `settings`, alone or as the part of one that sees.
std::string Mistral(const std::string& settings) {
  return absl::StrCat(
      R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 8, "intermediate_size": 8,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 9, "max_position_embeddings": 64)",
      settings, "}");
}
std::string Seeing(const std::string& settings) {
  return absl::StrCat(R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": )",
                      Mistral(settings), "}");
}

TEST(RawConfigTest, TheForwardPassOfAPartIsWrittenIntoTheWhole) {
  const std::string settings[] = {
      "",
      R"(, "rope_theta": 1000000.0, "sliding_window": null)",
      R"(, "sliding_window": 16, "rms_norm_eps": 1e-05)",
      R"(, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}, "sliding_window": 32)",
      R"(, "rope_parameters": {"rope_type": "default", "rope_theta": 700.0}, "sliding_window": null)",
      R"(, "rope_theta": 200.0, "rope_scaling": {"type": "linear", "factor": 4.0}, "hidden_act": "gelu")"};
  for (const std::string& whole : settings) {
    for (const std::string& part : settings) {
      const RawConfig into = Read(Seeing(whole)), from = Read(Mistral(part));
      const auto patch = ForwardPassConfigPatch(into, from);
      ASSERT_TRUE(patch.ok()) << patch.status();
      const std::string text = PatchedConfig(into, *patch);
      const auto got = ModelConfig::Parse(text, "patched"), want = ModelConfig::Parse(from.json, "part");
      ASSERT_TRUE(got.ok() && want.ok()) << got.status() << want.status();
      EXPECT_EQ(got->architecture, "LlavaForConditionalGeneration");
      EXPECT_EQ(got->rope_theta, want->rope_theta) << text;
      EXPECT_EQ(got->rope_scaling.type, want->rope_scaling.type) << text;
      EXPECT_EQ(got->rope_scaling.factor, want->rope_scaling.factor) << text;
      EXPECT_EQ(got->rms_norm_eps, want->rms_norm_eps) << text;
      EXPECT_EQ(got->hidden_act, want->hidden_act) << text;
      EXPECT_EQ(got->max_position_embeddings, want->max_position_embeddings) << text;
      // A window over all 64 positions is none.
      const auto window = [](const ModelConfig& config) { return config.WindowOf(1) == 0 ? 64 : config.WindowOf(1); };
      EXPECT_EQ(window(*got), window(*want)) << text;
    }
  }
  const auto refused = [](const std::string& whole, const std::string& part) {
    return std::string(ForwardPassConfigPatch(Read(whole), Read(part)).status().message());
  };
  std::string llama = Mistral("");
  llama.replace(llama.find("\"mistral\""), 9, "\"llama\"");
  EXPECT_THAT(refused(Seeing(""), llama), HasSubstr("model_type is \"llama\" but \"mistral\" in"));
  EXPECT_EQ(refused(Seeing(""), Seeing("")), "");  // of the language model within
  EXPECT_THAT(refused(Mistral(""), Mistral("")), HasSubstr("which so cannot have its settings"));
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
