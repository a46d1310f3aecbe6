// Heads, rows, tokenizers and adapters of models that differ in them.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/recipe_export_testing.h"
#include "worker/merge/named_chat_templates.h"
#include "worker/text/chat_template.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_merge::Average;
using testing_merge::Copies;
using testing_merge::Export;
using testing_merge::NewTestFolder;
using testing_merge::OneGroup;
using testing_merge::Options;
using testing_merge::ReadWhole;
using testing_merge::Refusal;
using testing_merge::ReplaceText;
using testing_merge::SmallCheckpoint;
using testing_merge::SmallLlama;
using testing_merge::StoredTensor;
using testing_merge::Tied;
using testing_merge::TokenizerJson;
using testing_merge::Values;
using testing_merge::Write;

TEST(RecipeExportTest, TiedAndUntiedHeadsNeedAWord) {
  const std::string tied = Write(Tied(1)), untied = Write(SmallLlama(2));
  Recipe recipe = Average({{"a", tied}, {"b", untied}});
  EXPECT_THAT(Refusal(recipe), HasSubstr("head: 'a' ("));
  EXPECT_THAT(Refusal(recipe), HasSubstr("write `head: untied`"));

  recipe.head = "untied";
  const RecipeExportOptions with_head = Options();
  const auto merged = Export(recipe, with_head);
  const float want = 0.5f * SmallLlama(1).Find("model.embed_tokens.weight")->values[3] +
                     0.5f * SmallLlama(2).Find("lm_head.weight")->values[3];
  EXPECT_FLOAT_EQ(merged.at("lm_head.weight")[3], want);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(with_head.out_dir + "/config.json"))["tie_word_embeddings"], false);

  recipe.head = "tied";
  const RecipeExportOptions without = Options();
  EXPECT_EQ(Export(recipe, without).count("lm_head.weight"), 0u);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(without.out_dir + "/config.json"))["tie_word_embeddings"], true);
}

TEST(RecipeExportTest, AHeadThatIsStoredThoughItIsTiedIsNotWritten) {
  SmallCheckpoint stored = Tied(1);
  stored.tensors.push_back(*SmallLlama(1).Find("lm_head.weight"));
  const RecipeExportOptions options = Options();
  const auto merged = Export(Average({{"a", Write(stored)}, {"b", Write(Tied(2))}}), options);
  EXPECT_EQ(merged.count("lm_head.weight"), 0u);
  EXPECT_EQ(merged.count("model.embed_tokens.weight"), 1u);
}

SmallCheckpoint WithRows(int number, int rows) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    StoredTensor* tensor = checkpoint.Find(name);
    tensor->header.shape[0] = rows;
    tensor->values.resize(rows * 4, 7.0f);
  }
  ReplaceText(checkpoint.config, "\"vocab_size\": 8", absl::StrCat("\"vocab_size\": ", rows));
  return checkpoint;
}

TEST(RecipeExportTest, OtherVocabularySizesNeedAWord) {
  const std::string small = Write(SmallLlama(1)), large = Write(WithRows(2, 10));
  Recipe recipe = Average({{"a", small}, {"b", large}});
  EXPECT_THAT(Refusal(recipe), HasSubstr("'b' ("));
  EXPECT_THAT(Refusal(recipe), HasSubstr("has 10 embedding rows and 'a' ("));
  EXPECT_THAT(Refusal(recipe), HasSubstr("write `vocabulary_from: NAME`"));

  recipe.vocabulary_from = "b";
  const RecipeExportOptions grown = Options();
  const auto merged = Export(recipe, grown);
  ASSERT_EQ(merged.at("lm_head.weight").size(), 40u);
  EXPECT_EQ(merged.at("lm_head.weight")[39], 7.0f);  // 'a' lacks the row: it is b's in both
  EXPECT_FLOAT_EQ(merged.at("lm_head.weight")[31], 0.5f * SmallLlama(1).Find("lm_head.weight")->values[31] +
                                                       0.5f * SmallLlama(2).Find("lm_head.weight")->values[31]);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(grown.out_dir + "/config.json"))["vocab_size"], 10);

  recipe.vocabulary_from = "a";
  EXPECT_EQ(Export(recipe).at("model.embed_tokens.weight").size(), 32u);
  recipe.vocabulary_from = "bb";
  EXPECT_THAT(Refusal(recipe), HasSubstr("vocabulary_from: no model 'bb'"));
}

// a: t0..t7. b: the same in reverse, with "x" for t7 and two more added tokens.
Recipe TwoTokenizers() {
  const std::string a =
      Write(SmallLlama(1), {{"tokenizer.json", TokenizerJson({"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"})}});
  const std::string b =
      Write(WithRows(2, 10),
            {{"tokenizer.json", TokenizerJson({"x", "t6", "t5", "t4", "t3", "t2", "t1", "t0"}, {"<s1>", "<s2>"})}});
  Recipe recipe = Average({{"a", a}, {"b", b}});
  recipe.tokenizer_from = "a";
  return recipe;
}

Values Row(const Values& matrix, int row) { return {matrix.begin() + row * 4, matrix.begin() + row * 4 + 4}; }

Values Mean(const Values& x, const Values& y) {
  Values mean;
  for (size_t i = 0; i < x.size(); ++i) mean.push_back(0.5f * x[i] + 0.5f * y[i]);
  return mean;
}

TEST(RecipeExportTest, AUnionOfTokenizersAlignsRowsByToken) {
  Recipe recipe = TwoTokenizers();
  recipe.tokenizer.source = "union";
  recipe.tokenizer.pad_to_multiple_of = 4;
  const RecipeExportOptions options = Options();
  const auto merged = Export(recipe, options);
  const Values a = SmallLlama(1).Find("model.embed_tokens.weight")->values,
               b = WithRows(2, 10).Find("model.embed_tokens.weight")->values;
  const Values& have = merged.at("model.embed_tokens.weight");
  ASSERT_EQ(have.size(), 12u * 4);  // t0..t7, x, <s1>, <s2>, padding
  EXPECT_EQ(Row(have, 2), Mean(Row(a, 2), Row(b, 5)));
  EXPECT_EQ(Row(have, 7), Row(a, 7));  // t7 is a's alone
  EXPECT_EQ(Row(have, 8), Row(b, 0));  // x is b's
  EXPECT_EQ(Row(have, 10), Row(b, 9));
  const auto tokenizer = nlohmann::json::parse(ReadWhole(options.out_dir + "/tokenizer.json"));
  ASSERT_EQ(tokenizer["added_tokens"].size(), 3u);
  EXPECT_EQ(tokenizer["added_tokens"][0]["content"], "x");
  EXPECT_EQ(tokenizer["added_tokens"][0]["id"], 8);
  EXPECT_EQ(tokenizer["added_tokens"][2]["content"], "<s2>");
  EXPECT_EQ(tokenizer["added_tokens"][2]["special"], true);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"))["vocab_size"], 12);
}

TEST(RecipeExportTest, RulesOfTokensSayWhoseRowItIs) {
  Recipe recipe = TwoTokenizers();
  recipe.tokenizer = {
      "b", {{"x", "a", "t3"}, {"t0", "b", "", -1, false, true}, {"<s1>", "", "", -1, true, true}, {"<s2>", "a", "", 5}}};
  const auto merged = Export(recipe);
  const Values a = SmallLlama(1).Find("model.embed_tokens.weight")->values,
               b = WithRows(2, 10).Find("model.embed_tokens.weight")->values;
  const Values& have = merged.at("model.embed_tokens.weight");
  ASSERT_EQ(have.size(), 40u);
  EXPECT_EQ(Row(have, 0), Mean(Row(a, 3), Row(b, 0)));  // a lacks x
  EXPECT_EQ(Row(have, 7), Row(b, 7));                   // forced for both
  EXPECT_EQ(Row(have, 8), Values(4, 0.0f));
  EXPECT_EQ(Row(have, 9), Mean(Row(a, 5), Row(b, 9)));
}

TEST(RecipeExportTest, ARuleWithARowMakesItsToken) {
  Recipe recipe = TwoTokenizers();
  recipe.tokenizer = {"a", {{"<s1>", "b"}, {"<new>", "a", "t3"}, {"<zero>", "", "", -1, true}}};
  const RecipeExportOptions options = Options();
  const auto merged = Export(recipe, options);
  const Values a = SmallLlama(1).Find("model.embed_tokens.weight")->values,
               b = WithRows(2, 10).Find("model.embed_tokens.weight")->values;
  const Values& have = merged.at("model.embed_tokens.weight");
  ASSERT_EQ(have.size(), 11u * 4);  // t0..t7, <s1>, <new>, <zero>
  EXPECT_EQ(Row(have, 8), Row(b, 8));
  EXPECT_EQ(Row(have, 9), Row(a, 3));
  EXPECT_EQ(Row(have, 10), Values(4, 0.0f));
  const auto added = nlohmann::json::parse(ReadWhole(options.out_dir + "/tokenizer.json"))["added_tokens"];
  ASSERT_EQ(added.size(), 3u);
  EXPECT_EQ(added[0]["content"], "<s1>");
  EXPECT_EQ(added[0]["special"], true);  // as in b
  EXPECT_EQ(added[1]["content"], "<new>");
  EXPECT_EQ(added[1]["id"], 9);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"))["vocab_size"], 11);
}

// b's tokenizer, a as the base of the merge: where the base lacks a token that several others have, their mean stands in.
TEST(RecipeExportTest, ForOneModelsTokenizerTheBaseOfTheMergeStandsIn) {
  Recipe recipe = TwoTokenizers();
  SmallCheckpoint third = WithRows(3, 10);
  third.Find("model.embed_tokens.weight")->values.assign(40, 3.0f);
  recipe.models.push_back({"c", Write(third, {{"tokenizer.json", ReadWhole(recipe.models[1].path + "/tokenizer.json")}})});
  recipe.stacks = {{"merge", "task_arithmetic", "a", {"b", "c"}, {{{"all"}, {{{"weight", 0.5}}, {{"weight", 0.25}}}, {}}}}};
  recipe.tokenizer_from = "b";
  recipe.tokenizer.source = "b";
  const auto merged = Export(recipe);
  // <s1>: 7 in b, 3 in c, so 5 in a: 5 + 0.5 (7 - 5) + 0.25 (3 - 5).
  EXPECT_EQ(Row(merged.at("model.embed_tokens.weight"), 8), Values(4, 5.5f));
}

// Without a base the mean stands in for everybody, unless a rule without a token names a model.
TEST(RecipeExportTest, ARuleWithoutATokenSaysWhoseRowsStandIn) {
  Recipe recipe = TwoTokenizers();
  SmallCheckpoint third = WithRows(3, 10);
  third.Find("model.embed_tokens.weight")->values.assign(40, 3.0f);
  recipe.models.push_back({"c", Write(third, {{"tokenizer.json", ReadWhole(recipe.models[1].path + "/tokenizer.json")}})});
  recipe.stacks = {OneGroup("linear", "", {"a", "b", "c"}, {{{"weight", 1}}, {{"weight", 1}}, {{"weight", 2}}}).stacks[0]};
  recipe.tokenizer.source = "b";
  // <s1>: 7 in b, 3 in c, and a lacks it.
  EXPECT_EQ(Row(Export(recipe).at("model.embed_tokens.weight"), 8), Values(4, (5 + 7 + 2 * 3) / 4.0f));
  TokenRule rule;
  rule.model = "c";
  recipe.tokenizer.tokens = {rule};
  EXPECT_EQ(Row(Export(recipe).at("model.embed_tokens.weight"), 8), Values(4, (3 + 7 + 2 * 3) / 4.0f));
  recipe.tokenizer.tokens[0].model = "cc";
  EXPECT_THAT(Refusal(recipe), HasSubstr("tokenizer.tokens[0].model: no model 'cc'; did you mean 'c'?"));
}

TEST(RecipeExportTest, BadRulesOfTokensAreRefused) {
  const auto refusal = [](TokenizerSpec spec) {
    Recipe recipe = TwoTokenizers();
    recipe.tokenizer = std::move(spec);
    return Refusal(recipe);
  };
  EXPECT_THAT(refusal({"onion"}), HasSubstr("tokenizer.source: no model 'onion'"));
  EXPECT_THAT(refusal({"union", {{"nope", "a"}}}),
              HasSubstr("tokenizer.tokens[0]: the merged tokenizer has no token 'nope'"));
  EXPECT_THAT(refusal({"union", {{"x", "c"}}}), HasSubstr("tokenizer.tokens[0].model: no model 'c'"));
  EXPECT_THAT(refusal({"union", {{"x", "a"}}}), HasSubstr("model 'a' has no token 'x'"));
  EXPECT_THAT(refusal({"union", {{"x", "a", "", 8}}}), HasSubstr("row 8 of model 'a', which has 8 rows"));
}

TEST(RecipeExportTest, AChatTemplateIsWritten) {
  Recipe recipe =
      Copies({{"a", Write(SmallLlama(1), {{"tokenizer_config.json", R"({"chat_template": "old", "eos_token": "</s>"})"}})}});
  recipe.chat_template = "{{ messages }} and more";
  const RecipeExportOptions options = Options();
  Export(recipe, options);
  EXPECT_EQ(ReadWhole(options.out_dir + "/chat_template.jinja"), recipe.chat_template);
  const auto config = nlohmann::json::parse(ReadWhole(options.out_dir + "/tokenizer_config.json"));
  EXPECT_EQ(config["chat_template"], recipe.chat_template);
  EXPECT_EQ(config["eos_token"], "</s>");
}

TEST(RecipeExportTest, NamedChatTemplatesWriteThePromptsOfTheirFormats) {
  const std::string model =
      Write(SmallLlama(1), {{"tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>"})"}});
  const char kMessages[] = R"([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"},
                               {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "1+1?"}])";
  const std::map<std::string, std::string> want = {
      {"alpaca", "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello\n\n### Instruction:\n1+1?\n\n### Response:\n"},
      {"chatml",
       "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
       "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"},
      {"exaone",
       "[|system|]Be kind.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hello[|endofturn|]\n[|user|]1+1?\n[|assistant|]"},
      {"llama3",
       "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi"
       "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>"
       "\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
      {"mistral", "<s> [INST] Be kind.\n\nHi [/INST] Hello</s> [INST] 1+1? [/INST]"}};
  EXPECT_EQ(ChatTemplateNames().size(), want.size());
  for (const std::string& name : ChatTemplateNames()) {
    Recipe recipe = Copies({{"a", model}});
    recipe.chat_template = NamedChatTemplate(name);
    const RecipeExportOptions options = Options();
    Export(recipe, options);
    const auto chat = ChatTemplate::Load(options.out_dir);
    ASSERT_TRUE(chat.ok()) << name << ": " << chat.status();
    const auto prompt = chat->Render(kMessages, /*add_generation_prompt=*/true);
    ASSERT_TRUE(prompt.ok()) << name << ": " << prompt.status();
    EXPECT_EQ(*prompt, want.at(name)) << name;
  }
  EXPECT_EQ(NamedChatTemplate("vicuna"), "");
}

std::string Adapter(const std::string& config, const std::vector<StoredTensor>& tensors) {
  SmallCheckpoint adapter{"{}", tensors};
  const std::string dir = Write(adapter, {{"adapter_config.json", config}});
  fs::rename(dir + "/model.safetensors", dir + "/adapter_model.safetensors");
  return dir;
}

const char kLoraConfig[] =
    R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "alpha_pattern": {"k_proj": 1}})";

TEST(RecipeExportTest, AnAdapterIsMergedOnLoad) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.",
                    k = "base_model.model.model.layers.1.self_attn.k_proj.";
  const std::string lora =
      Adapter(kLoraConfig, {{{q + "lora_A.weight", DType::kF32, {2, 4}}, {1, 2, 3, 4, 0.5, 0, 0, -1}},
                            {{q + "lora_B.weight", DType::kF32, {4, 2}}, {1, 0, 0, 1, 0.5, 0.25, -1, 2}},
                            {{k + "lora_A.weight", DType::kF32, {2, 4}}, {1, 0, 0, 0, 0, 1, 0, 0}},
                            {{k + "lora_B.weight", DType::kF32, {2, 2}}, {1, 0, 0, 1}},
                            {{"base_model.model.model.norm.weight", DType::kF32, {4}}, {9, 9, 9, 9}}});
  Recipe recipe = Copies({{"a", Write(SmallLlama(1))}});
  recipe.models[0].lora = lora;
  const auto merged = Export(recipe);
  SmallCheckpoint a = SmallLlama(1);
  const Values& before = a.Find("model.layers.1.self_attn.q_proj.weight")->values;
  const Values& after = merged.at("model.layers.1.self_attn.q_proj.weight");
  // Scale 4 / 2; row 2 of B A is 0.5 * (1 2 3 4) + 0.25 * (0.5 0 0 -1).
  EXPECT_FLOAT_EQ(after[8], before[8] + 2 * (0.5f + 0.125f));
  EXPECT_FLOAT_EQ(after[11], before[11] + 2 * (2.0f - 0.25f));
  EXPECT_FLOAT_EQ(merged.at("model.layers.1.self_attn.k_proj.weight")[5],
                  a.Find("model.layers.1.self_attn.k_proj.weight")->values[5] + 0.5f);
  EXPECT_EQ(merged.at("model.norm.weight"), Values(4, 9.0f));
  EXPECT_EQ(merged.at("model.layers.2.self_attn.q_proj.weight"), a.Find("model.layers.2.self_attn.q_proj.weight")->values);
}

// What PEFT writes of an embedding under LoRA: its two matrices, and the embedding that they were trained on.
TEST(RecipeExportTest, AnAdaptedEmbeddingIsAddedToTheOneThatTheAdapterBrings) {
  SmallCheckpoint a = SmallLlama(1);
  const Values& rows = a.Find("model.embed_tokens.weight")->values;
  const auto width = int64_t{4}, count = static_cast<int64_t>(rows.size()) / width;
  const std::string embedding = "base_model.model.model.embed_tokens.";
  Values rank_of_rows(count), brought(rows.size(), 0.5f);
  rank_of_rows[2] = 3;
  const std::string config = R"({"peft_type": "LORA", "r": 1, "lora_alpha": 2})";
  const std::vector<StoredTensor> pair = {{{embedding + "lora_embedding_A", DType::kF32, {1, count}}, rank_of_rows},
                                          {{embedding + "lora_embedding_B", DType::kF32, {width, 1}}, {1, 0, 0, -1}}};
  std::vector<StoredTensor> whole = pair;
  whole.push_back({{embedding + "base_layer.weight", DType::kF32, {count, width}}, brought});
  const auto merged = [&](const std::vector<StoredTensor>& tensors) {
    Recipe recipe = Copies({{"a", Write(SmallLlama(1))}});
    recipe.models[0].lora = Adapter(config, tensors);
    return Export(recipe).at("model.embed_tokens.weight");
  };
  const Values own = merged(pair), theirs = merged(whole);
  EXPECT_FLOAT_EQ(own[8], rows[8] + 6);
  EXPECT_FLOAT_EQ(own[11], rows[11] - 6);
  EXPECT_FLOAT_EQ(own[4], rows[4]);
  EXPECT_FLOAT_EQ(theirs[8], 6.5f);
  EXPECT_FLOAT_EQ(theirs[11], -5.5f);
  EXPECT_FLOAT_EQ(theirs[4], 0.5f);
}

// As in PEFT: the first pattern that fits, by the end of the module's name or by all of it.
TEST(RecipeExportTest, PatternsGiveModulesRanksAndScalesOfTheirOwn) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.";
  const std::string model = Write(SmallLlama(1));
  SmallCheckpoint before = SmallLlama(1);
  const auto added = [&](const std::string& patterns) {
    const std::string config =
        R"({"peft_type": "LORA", "r": 8, "lora_alpha": 4, "init_lora_weights": true, )" + patterns + "}";
    Recipe recipe = Copies({{"a", model}});
    recipe.models[0].lora = Adapter(config, {{{q + "lora_A.weight", DType::kF32, {2, 4}}, {1, 0, 0, 0, 0, 0, 0, 0}},
                                             {{q + "lora_B.weight", DType::kF32, {4, 2}}, {1, 0, 0, 0, 0, 0, 0, 0}}});
    const std::string name = "model.layers.1.self_attn.q_proj.weight";
    return Export(recipe).at(name)[0] - before.Find(name)->values[0];
  };
  EXPECT_NEAR(added(R"("rank_pattern": {"q_proj": 2})"), 2, 1e-5);
  EXPECT_NEAR(
      added(
          R"("rank_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 8}, "alpha_pattern": {"q_proj": 6, "self_attn.q_proj": 8})"),
      3, 1e-5);
  EXPECT_NEAR(
      added(
          R"("rank_pattern": {"^model.layers.1.self_attn.q_proj": 2, "proj": 8}, "alpha_pattern": {"^layers.1.self_attn.q_proj": 6})"),
      2, 1e-5);
  EXPECT_NEAR(added(R"("rank_pattern": {"q_proj": 2}, "use_rslora": true)"), 4 / std::sqrt(2.0f), 1e-5);
}

TEST(RecipeExportTest, AdaptersThatDoNotFitAreRefused) {
  const std::string model = Write(SmallLlama(1));
  const auto refusal = [&](const std::string& config, const std::vector<StoredTensor>& tensors) {
    Recipe recipe = Copies({{"a", model}});
    recipe.models[0].lora = Adapter(config, tensors);
    return Refusal(recipe);
  };
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.";
  const StoredTensor a{{q + "lora_A.weight", DType::kF32, {2, 4}}, Values(8)},
      b{{q + "lora_B.weight", DType::kF32, {4, 2}}, Values(8)};
  EXPECT_THAT(refusal(kLoraConfig, {a}), HasSubstr("has one of its two matrices only"));
  EXPECT_THAT(refusal(kLoraConfig, {a, {{q + "lora_B.weight", DType::kF32, {3, 2}}, Values(6)}}),
              HasSubstr("has matrices of shape [2, 4] and [3, 2]"));
  EXPECT_THAT(refusal(kLoraConfig, {a, b, {{"base_model.model.nope.weight", DType::kF32, {1}}, {1}}}),
              HasSubstr("has no place in"));
  EXPECT_THAT(refusal(R"({"peft_type": "IA3"})", {a, b}), HasSubstr("peft_type 'IA3' is not LORA"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "lora_alpha": 1, "use_dora": true})", {a, b}), HasSubstr("use_dora"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA"})", {a, b}), HasSubstr("lora_alpha"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 1})", {a, b}),
              HasSubstr("module 'model.layers.1.self_attn.q_proj' has matrices of rank 2, and adapter_config.json says 4"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 1, "alpha_pattern": {"layers\\.[0-3]": 3}})", {a, b}),
              HasSubstr(R"(alpha_pattern 'layers\.[0-3]' is a regular expression)"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 1, "init_lora_weights": "pissa_niter_4"})", {a, b}),
              HasSubstr("init_lora_weights 'pissa_niter_4' changes the model"));
  Recipe absent = Copies({{"a", model}});
  absent.models[0].lora = NewTestFolder();
  EXPECT_THAT(Refusal(absent), HasSubstr("models.a.lora: "));
}

}  // namespace
}  // namespace merganser
