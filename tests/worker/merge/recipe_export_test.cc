#include "worker/merge/recipe_export.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"
#include "tests/worker/merge/small_checkpoints.h"
#include "worker/checkpoint/evo_mistral.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_merge::NewTestFolder;
using testing_merge::OneGroup;
using testing_merge::ReadTensors;
using testing_merge::ReadWhole;
using testing_merge::ReplaceText;
using testing_merge::SmallCheckpoint;
using testing_merge::SmallLlama;
using testing_merge::StoredTensor;
using testing_merge::Values;

absl::StatusOr<std::string> AsWritten(const std::string& path) { return path; }

RecipeExportOptions Options() {
  RecipeExportOptions options;
  options.out_dir = NewTestFolder() + "/out";
  options.threads = 2;
  return options;
}

// The recipe's models at these folders, in the order of their names.
void SetPaths(const std::map<std::string, std::string>& dirs, Recipe& recipe) {
  recipe.models.clear();
  for (const auto& [name, dir] : dirs) recipe.models.push_back({name, dir});
}

std::map<std::string, Values> Export(const Recipe& recipe, RecipeExportOptions options = Options()) {
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? ReadTensors(options.out_dir) : std::map<std::string, Values>{};
}

std::string Refusal(const Recipe& recipe, const RecipeExportOptions& options = Options()) {
  const auto plan = PlanRecipeExport(recipe, AsWritten, options);
  EXPECT_FALSE(plan.ok());
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  EXPECT_EQ(facts.status(), plan.status());
  EXPECT_FALSE(fs::exists(options.out_dir));
  return std::string(plan.status().message());
}

// A copy of each model, and nothing merged.
Recipe Copies(const std::map<std::string, std::string>& dirs) {
  Recipe recipe;
  SetPaths(dirs, recipe);
  recipe.dtype = "float32";
  for (const auto& [name, dir] : dirs) recipe.stacks.push_back({name, "", "", {name}, {}});
  return recipe;
}

Recipe Average(const std::map<std::string, std::string>& dirs) {
  Recipe recipe = OneGroup("linear", "", {"a", "b"}, {{{"weight", 0.5}}, {{"weight", 0.5}}});
  SetPaths(dirs, recipe);
  return recipe;
}

TEST(RecipeExportTest, BatchesShardsAndThreadsDoNotChangeABit) {
  Recipe recipe = OneGroup("ties", "base", {"a", "b"}, {{{"weight", 0.6}, {"density", 0.5}}, {{"weight", 0.4}, {"density", 0.3}}});
  SetPaths({{"base", Write(SmallLlama(0))}, {"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}}, recipe);
  recipe.dtype = "bfloat16";
  RecipeExportOptions whole = Options();
  whole.digest = true;
  RecipeExportOptions pieces = Options();
  pieces.digest = true;
  pieces.batch_bytes = 1;
  pieces.max_shard_bytes = 200;
  pieces.threads = 1;
  const auto a = ExportRecipeFiles(recipe, AsWritten, whole, {}), b = ExportRecipeFiles(recipe, AsWritten, pieces, {});
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->weights_sha256, b->weights_sha256);
  EXPECT_TRUE(fs::exists(whole.out_dir + "/model.safetensors"));
  EXPECT_TRUE(fs::exists(pieces.out_dir + "/model.safetensors.index.json"));
  EXPECT_EQ(ReadTensors(whole.out_dir), ReadTensors(pieces.out_dir));
}

TEST(RecipeExportTest, ThePlanSaysWhatWillBeDone) {
  Recipe recipe = Average({{"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}});
  RecipeExportOptions options = Options();
  options.max_shard_bytes = 200;
  const auto plan = PlanRecipeExport(recipe, AsWritten, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->tensors.size(), 39u);
  EXPECT_EQ(plan->tensors[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(plan->tensors[0].from, "linear of a, b");
  EXPECT_EQ(plan->tensors[0].read_bytes, 2 * 8 * 4 * 4);
  EXPECT_EQ(plan->layers, 4);
  EXPECT_EQ(plan->write_bytes, plan->parameters * 4);
  EXPECT_EQ(plan->read_bytes, 2 * plan->write_bytes);
  EXPECT_GT(plan->estimated_seconds, 0);
  EXPECT_FALSE(fs::exists(options.out_dir));
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(options.out_dir)) shards += entry.path().extension() == ".safetensors";
  EXPECT_EQ(plan->shards, shards);
}

TEST(RecipeExportTest, ThePlanReadsNoWeights) {
  SmallCheckpoint broken = SmallLlama(1);
  broken.Find("model.layers.3.mlp.up_proj.weight")->values[5] = NAN;
  Recipe recipe = Average({{"a", Write(broken)}, {"b", Write(SmallLlama(2))}});
  EXPECT_TRUE(PlanRecipeExport(recipe, AsWritten, Options()).ok());
  const RecipeExportOptions options = Options();
  const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("model.layers.3.mlp.up_proj.weight"));
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("nan at index 5"));
  EXPECT_FALSE(fs::exists(options.out_dir));
}

TEST(RecipeExportTest, CopiesAreCheckedForFiniteValuesToo) {
  SmallCheckpoint broken = SmallLlama(1);
  broken.Find("lm_head.weight")->values[7] = INFINITY;
  const auto facts = ExportRecipeFiles(Copies({{"a", Write(broken)}}), AsWritten, Options(), {});
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("'lm_head.weight' of 'a'"));
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("not finite at index 7"));
}

TEST(RecipeExportTest, ProgressEndsAtTheTotal) {
  int64_t last = 0, total = 0;
  RecipeExportOptions options = Options();
  options.progress = [&](int64_t done, int64_t all) { last = done, total = all; };
  Export(Copies({{"a", Write(SmallLlama(1))}}), options);
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 0);
}

TEST(RecipeExportTest, ACancelledMergeLeavesNothingBehind) {
  std::stop_source source;
  source.request_stop();
  const RecipeExportOptions options = Options();
  const auto facts = ExportRecipeFiles(Average({{"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}}), AsWritten, options,
                                       source.get_token());
  EXPECT_TRUE(absl::IsCancelled(facts.status())) << facts.status();
  EXPECT_TRUE(fs::is_empty(fs::path(options.out_dir).parent_path()));
}

TEST(RecipeExportTest, ANestedMergeIsComputedWithoutRoundingInBetween) {
  const std::map<std::string, std::string> dirs = {
      {"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}, {"c", Write(SmallLlama(3))}};
  Recipe recipe = OneGroup("linear", "", {"a", "b"}, {{{"weight", 0.25}}, {{"weight", 0.75}}});
  recipe.stacks[0].name = "inner";
  Recipe outer = OneGroup("linear", "", {"inner", "c"}, {{{"weight", 0.5}}, {{"weight", 0.5}}});
  outer.stacks[0].name = "outer";
  recipe.stacks.push_back(outer.stacks[0]);
  SetPaths(dirs, recipe);
  recipe.dtype = "float32";
  for (int layer = 0; layer < 4; ++layer) recipe.path.push_back({1, layer, 1.0});
  recipe.embedding_from = recipe.head_from = "outer";
  const auto merged = Export(recipe);
  SmallCheckpoint a = SmallLlama(1), b = SmallLlama(2), c = SmallLlama(3);
  ASSERT_EQ(merged.size(), a.tensors.size());
  for (size_t t = 0; t < a.tensors.size(); ++t) {
    const Values& values = merged.at(a.tensors[t].header.name);
    for (size_t i = 0; i < values.size(); ++i) {
      const float inner = 0.25f * a.tensors[t].values[i] + 0.75f * b.tensors[t].values[i];
      ASSERT_FLOAT_EQ(values[i], 0.5f * inner + 0.5f * c.tensors[t].values[i]) << a.tensors[t].header.name;
    }
  }
}

// Hidden state after the residual MLP sums of a path, for layers that only have an MLP output of `down`.
TEST(RecipeExportTest, ScalesAreFoldedIntoTheLastOperationBeforeTheSum) {
  Recipe recipe = Copies({{"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}});
  recipe.path = {{0, 0, 0.5}, {1, 2, 0.25}, {1, 2, 1.0}, {0, 3, -2.0}};
  const RecipeExportOptions options = Options();
  const auto merged = Export(recipe, options);
  SmallCheckpoint a = SmallLlama(1), b = SmallLlama(2);
  const auto expect = [&](const std::string& name, SmallCheckpoint& from, const std::string& original, float scale) {
    const Values& want = from.Find(original)->values;
    const Values& have = merged.at(name);
    ASSERT_EQ(have.size(), want.size()) << name;
    for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(have[i], want[i] * scale) << name;
  };
  expect("model.embed_tokens.weight", a, "model.embed_tokens.weight", 0.5f);
  expect("lm_head.weight", a, "lm_head.weight", 1);
  expect("model.layers.0.mlp.down_proj.weight", a, "model.layers.0.mlp.down_proj.weight", 0.25f);
  expect("model.layers.1.mlp.down_proj.weight", b, "model.layers.2.mlp.down_proj.weight", 1);
  expect("model.layers.2.mlp.down_proj.weight", b, "model.layers.2.mlp.down_proj.weight", -2);
  expect("model.layers.3.mlp.down_proj.weight", a, "model.layers.3.mlp.down_proj.weight", 1);
  expect("model.layers.2.mlp.up_proj.weight", b, "model.layers.2.mlp.up_proj.weight", 1);
  const auto config = nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"));
  EXPECT_EQ(config["num_hidden_layers"], 4);
}

SmallCheckpoint Tied(int number) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  checkpoint.Remove("lm_head.weight");
  ReplaceText(checkpoint.config, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
  return checkpoint;
}

TEST(RecipeExportTest, AScaledEmbeddingIsUntiedFirst) {
  Recipe recipe = Copies({{"a", Write(Tied(1))}});
  recipe.path = {{0, 0, 0.5}, {0, 1, 1.0}};
  const RecipeExportOptions options = Options();
  const auto merged = Export(recipe, options);
  const Values want = SmallLlama(1).Find("model.embed_tokens.weight")->values;
  EXPECT_EQ(merged.at("lm_head.weight"), want);
  EXPECT_EQ(merged.at("model.embed_tokens.weight")[3], want[3] * 0.5f);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"))["tie_word_embeddings"], false);
  recipe.head = "tied";
  EXPECT_THAT(Refusal(recipe), HasSubstr("path[0].scale: the head is tied"));
}

TEST(RecipeExportTest, SettingsByLayerAreWrittenOut) {
  SmallCheckpoint model = SmallLlama(1);
  ReplaceText(model.config, "\"vocab_size\"",
              R"("layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"], "vocab_size")");
  Recipe recipe = Copies({{"a", Write(model)}});
  recipe.path = {{0, 3, 1.0}, {0, 1, 1.0}, {0, 0, 1.0}};
  const RecipeExportOptions options = Options();
  Export(recipe, options);
  const auto config = nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"));
  EXPECT_EQ(config["layer_types"], (nlohmann::json{"sliding_attention", "full_attention", "sliding_attention"}));
}

SmallCheckpoint Mistral(int number) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  ReplaceText(checkpoint.config, "LlamaForCausalLM", "MistralForCausalLM");
  ReplaceText(checkpoint.config, "\"llama\"", "\"mistral\"");
  return checkpoint;
}

TEST(RecipeExportTest, TheEvoMistralFormKeepsDistinctLayersAndThePath) {
  Recipe recipe = Copies({{"a", Write(Mistral(1))}, {"b", Write(Mistral(2))}});
  recipe.path = {{0, 0, 0.5}, {1, 2, 0.25}, {1, 2, 1.0}, {0, 3, -2.0}, {0, 0, 1.5}};
  RecipeExportOptions options = Options();
  options.form = "evomistral";
  const auto evo = Export(recipe, options);
  EXPECT_THAT(evo.at("model.input_layers"), ElementsAre(0, 1, 1, 2, 0));
  EXPECT_THAT(evo.at("model.input_scales"), ElementsAre(0.5f, 0.25f, 1, -2, 1.5f));
  EXPECT_EQ(evo.at("model.layers.1.mlp.down_proj.weight"), Mistral(2).Find("model.layers.2.mlp.down_proj.weight")->values);
  EXPECT_EQ(evo.count("model.layers.3.mlp.down_proj.weight"), 0u);
  const auto config = nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"));
  EXPECT_EQ(config["architectures"][0], "EvoMistralForCausalLM");
  EXPECT_EQ(config["model_type"], "evomistral");
  EXPECT_EQ(config["num_hidden_layers"], 3);
  EXPECT_EQ(config["num_hops"], 5);

  // Read back, it is the same model: as an ordinary checkpoint it equals the fold of the recipe.
  const RecipeExportOptions folded = Options();
  EXPECT_EQ(Export(Copies({{"evo", options.out_dir}}), folded), Export(recipe));
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(folded.out_dir + "/config.json"))["architectures"][0], "MistralForCausalLM");
  EXPECT_FALSE(nlohmann::json::parse(ReadWhole(folded.out_dir + "/config.json")).contains("num_hops"));
  RecipeExportOptions again = Options();
  again.form = "evomistral";
  EXPECT_EQ(Export(Copies({{"evo", options.out_dir}}), again), evo);
}

TEST(RecipeExportTest, EvoMistralIsAFormOfMistralsOnly) {
  RecipeExportOptions options = Options();
  options.form = "evomistral";
  EXPECT_THAT(Refusal(Copies({{"a", Write(SmallLlama(1))}}), options), HasSubstr("a form of Mistral models; this is a LlamaForCausalLM"));
  options.form = "evomistrall";
  EXPECT_THAT(Refusal(Copies({{"a", Write(SmallLlama(1))}}), options), HasSubstr("did you mean 'evomistral'?"));
}

TEST(RecipeExportTest, TiedAndUntiedHeadsNeedAWord) {
  const std::string tied = Write(Tied(1)), untied = Write(SmallLlama(2));
  Recipe recipe = Average({{"a", tied}, {"b", untied}});
  EXPECT_THAT(Refusal(recipe), HasSubstr("head: 'a' ("));
  EXPECT_THAT(Refusal(recipe), HasSubstr("write `head: untied`"));

  recipe.head = "untied";
  const RecipeExportOptions with_head = Options();
  const auto merged = Export(recipe, with_head);
  const float want = 0.5f * SmallLlama(1).Find("model.embed_tokens.weight")->values[3] + 0.5f * SmallLlama(2).Find("lm_head.weight")->values[3];
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
  EXPECT_FLOAT_EQ(merged.at("lm_head.weight")[31],
                  0.5f * SmallLlama(1).Find("lm_head.weight")->values[31] + 0.5f * SmallLlama(2).Find("lm_head.weight")->values[31]);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(grown.out_dir + "/config.json"))["vocab_size"], 10);

  recipe.vocabulary_from = "a";
  EXPECT_EQ(Export(recipe).at("model.embed_tokens.weight").size(), 32u);
  recipe.vocabulary_from = "bb";
  EXPECT_THAT(Refusal(recipe), HasSubstr("vocabulary_from: no model 'bb'"));
}

std::string TokenizerJson(const std::vector<std::string>& tokens, const std::vector<std::string>& added = {}) {
  nlohmann::json json = {{"version", "1.0"}, {"added_tokens", nlohmann::json::array()}, {"model", {{"type", "BPE"}}}};
  json["model"]["vocab"] = nlohmann::json::object();
  for (size_t i = 0; i < tokens.size(); ++i) json["model"]["vocab"][tokens[i]] = i;
  for (size_t i = 0; i < added.size(); ++i) {
    json["added_tokens"].push_back({{"id", tokens.size() + i}, {"content", added[i]}, {"special", true}});
  }
  return json.dump();
}

// a: t0..t7. b: the same in reverse, with "x" for t7 and two more added tokens.
Recipe TwoTokenizers() {
  const std::string a = Write(SmallLlama(1), {{"tokenizer.json", TokenizerJson({"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"})}});
  const std::string b = Write(WithRows(2, 10), {{"tokenizer.json", TokenizerJson({"x", "t6", "t5", "t4", "t3", "t2", "t1", "t0"}, {"<s1>", "<s2>"})}});
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
  const Values a = SmallLlama(1).Find("model.embed_tokens.weight")->values, b = WithRows(2, 10).Find("model.embed_tokens.weight")->values;
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
  recipe.tokenizer = {"b", {{"x", "a", "t3"}, {"t0", "b", "", -1, false, true}, {"<s1>", "", "", -1, true, true}, {"<s2>", "a", "", 5}}};
  const auto merged = Export(recipe);
  const Values a = SmallLlama(1).Find("model.embed_tokens.weight")->values, b = WithRows(2, 10).Find("model.embed_tokens.weight")->values;
  const Values& have = merged.at("model.embed_tokens.weight");
  ASSERT_EQ(have.size(), 40u);
  EXPECT_EQ(Row(have, 0), Mean(Row(a, 3), Row(b, 0)));  // a lacks x
  EXPECT_EQ(Row(have, 7), Row(b, 7));                    // forced for both
  EXPECT_EQ(Row(have, 8), Values(4, 0.0f));
  EXPECT_EQ(Row(have, 9), Mean(Row(a, 5), Row(b, 9)));
}

TEST(RecipeExportTest, BadRulesOfTokensAreRefused) {
  const auto refusal = [](TokenizerSpec spec) {
    Recipe recipe = TwoTokenizers();
    recipe.tokenizer = std::move(spec);
    return Refusal(recipe);
  };
  EXPECT_THAT(refusal({"onion"}), HasSubstr("tokenizer.source: no model 'onion'"));
  EXPECT_THAT(refusal({"union", {{"nope", "a"}}}), HasSubstr("tokenizer.tokens[0]: the merged tokenizer has no token 'nope'"));
  EXPECT_THAT(refusal({"union", {{"x", "c"}}}), HasSubstr("tokenizer.tokens[0].model: no model 'c'"));
  EXPECT_THAT(refusal({"union", {{"x", "a"}}}), HasSubstr("model 'a' has no token 'x'"));
  EXPECT_THAT(refusal({"union", {{"x", "a", "", 8}}}), HasSubstr("row 8 of model 'a', which has 8 rows"));
}

TEST(RecipeExportTest, AChatTemplateIsWritten) {
  Recipe recipe = Copies({{"a", Write(SmallLlama(1), {{"tokenizer_config.json", R"({"chat_template": "old", "eos_token": "</s>"})"}})}});
  recipe.chat_template = "{{ messages }} and more";
  const RecipeExportOptions options = Options();
  Export(recipe, options);
  EXPECT_EQ(ReadWhole(options.out_dir + "/chat_template.jinja"), recipe.chat_template);
  const auto config = nlohmann::json::parse(ReadWhole(options.out_dir + "/tokenizer_config.json"));
  EXPECT_EQ(config["chat_template"], recipe.chat_template);
  EXPECT_EQ(config["eos_token"], "</s>");
}

std::string Adapter(const std::string& config, const std::vector<StoredTensor>& tensors) {
  SmallCheckpoint adapter{"{}", tensors};
  const std::string dir = Write(adapter, {{"adapter_config.json", config}});
  fs::rename(dir + "/model.safetensors", dir + "/adapter_model.safetensors");
  return dir;
}

const char kLoraConfig[] = R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "alpha_pattern": {"k_proj": 1}})";

TEST(RecipeExportTest, AnAdapterIsMergedOnLoad) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.", k = "base_model.model.model.layers.1.self_attn.k_proj.";
  const std::string lora = Adapter(kLoraConfig, {{{q + "lora_A.weight", DType::kF32, {2, 4}}, {1, 2, 3, 4, 0.5, 0, 0, -1}},
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
  EXPECT_FLOAT_EQ(merged.at("model.layers.1.self_attn.k_proj.weight")[5], a.Find("model.layers.1.self_attn.k_proj.weight")->values[5] + 0.5f);
  EXPECT_EQ(merged.at("model.norm.weight"), Values(4, 9.0f));
  EXPECT_EQ(merged.at("model.layers.2.self_attn.q_proj.weight"), a.Find("model.layers.2.self_attn.q_proj.weight")->values);
}

TEST(RecipeExportTest, AdaptersThatDoNotFitAreRefused) {
  const std::string model = Write(SmallLlama(1));
  const auto refusal = [&](const std::string& config, const std::vector<StoredTensor>& tensors) {
    Recipe recipe = Copies({{"a", model}});
    recipe.models[0].lora = Adapter(config, tensors);
    return Refusal(recipe);
  };
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.";
  const StoredTensor a{{q + "lora_A.weight", DType::kF32, {2, 4}}, Values(8)}, b{{q + "lora_B.weight", DType::kF32, {4, 2}}, Values(8)};
  EXPECT_THAT(refusal(kLoraConfig, {a}), HasSubstr("has one of its two matrices only"));
  EXPECT_THAT(refusal(kLoraConfig, {a, {{q + "lora_B.weight", DType::kF32, {3, 2}}, Values(6)}}), HasSubstr("has matrices of shape [2, 4] and [3, 2]"));
  EXPECT_THAT(refusal(kLoraConfig, {a, b, {{"base_model.model.nope.weight", DType::kF32, {1}}, {1}}}), HasSubstr("has no place in"));
  EXPECT_THAT(refusal(R"({"peft_type": "IA3"})", {a, b}), HasSubstr("peft_type 'IA3' is not LORA"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA", "lora_alpha": 1, "use_dora": true})", {a, b}), HasSubstr("use_dora"));
  EXPECT_THAT(refusal(R"({"peft_type": "LORA"})", {a, b}), HasSubstr("lora_alpha"));
  Recipe absent = Copies({{"a", model}});
  absent.models[0].lora = NewTestFolder();
  EXPECT_THAT(Refusal(absent), HasSubstr("models.a.lora: "));
}

TEST(RecipeExportTest, EveryTensorIsAccountedFor) {
  const auto refusal = [](auto change) {
    SmallCheckpoint a = SmallLlama(1), b = SmallLlama(2);
    change(a, b);
    return Refusal(Average({{"a", Write(a)}, {"b", Write(b)}}));
  };
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Remove("model.layers.2.mlp.up_proj.weight"); }),
              HasSubstr("models.b.path: '"));
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Remove("model.layers.2.mlp.up_proj.weight"); }),
              HasSubstr("tensor 'model.layers.2.mlp.up_proj.weight' is missing; LlamaForCausalLM needs it"));
  EXPECT_THAT(refusal([](auto& a, auto&) { a.tensors.push_back({{"model.layers.0.extra.weight", DType::kF32, {1}}, {1}}); }),
              HasSubstr("tensor 'model.layers.0.extra.weight' is not in 'b'"));
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Find("model.layers.0.mlp.up_proj.weight")->header.shape = {4, 6}; }),
              HasSubstr("tensor 'model.layers.0.mlp.up_proj.weight' has shape [4, 6] in 'b'"));
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Find("model.norm.weight")->header = {"model.norm.weight", DType::kI32, {4}}; }),
              HasSubstr("tensor 'model.norm.weight' has type I32 in 'b' but F32 in 'a'"));
}

TEST(RecipeExportTest, IntegersAreCopiedWhereAllAgree) {
  SmallCheckpoint a = SmallLlama(1), b = SmallLlama(2);
  const StoredTensor positions{{"model.position_ids", DType::kI64, {3}}, {0, 1, 2}};
  a.tensors.push_back(positions);
  b.tensors.push_back(positions);
  EXPECT_EQ(Export(Average({{"a", Write(a)}, {"b", Write(b)}})).at("model.position_ids"), (Values{0, 1, 2}));
  b.tensors.back().values[1] = 5;
  const auto facts = ExportRecipeFiles(Average({{"a", Write(a)}, {"b", Write(b)}}), AsWritten, Options(), {});
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("'model.position_ids' holds integers that differ between 'a' and 'b'"));
}

TEST(RecipeExportTest, OtherForwardPassesNeedAWord) {
  SmallCheckpoint other = SmallLlama(2);
  ReplaceText(other.config, "\"vocab_size\"", "\"rope_theta\": 500000.0, \"vocab_size\"");
  Recipe recipe = Average({{"a", Write(SmallLlama(1))}, {"b", Write(other)}});
  EXPECT_THAT(Refusal(recipe), HasSubstr("rope_theta is 500000 but 10000 in"));
  EXPECT_THAT(Refusal(recipe), HasSubstr("write `config_from: NAME`"));
  recipe.config_from = "b";
  const RecipeExportOptions options = Options();
  Export(recipe, options);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"))["rope_theta"], 500000.0);
}

TEST(RecipeExportTest, QuantizedAndForeignInputsAreRefusedByName) {
  for (const std::string method : {"bitsandbytes", "gptq", "awq"}) {
    SmallCheckpoint quantized = SmallLlama(1);
    ReplaceText(quantized.config, "\"vocab_size\"",
                absl::StrCat(R"("quantization_config": {"quant_method": ")", method, R"("}, "vocab_size")"));
    EXPECT_THAT(Refusal(Copies({{"a", Write(quantized)}})), HasSubstr("quant_method " + method));
  }
  const std::string gguf = NewTestFolder();
  std::ofstream(gguf + "/config.json") << SmallLlama(1).config;
  std::ofstream(gguf + "/model.Q4_K_M.gguf") << "GGUF";
  EXPECT_THAT(Refusal(Copies({{"a", gguf}})), HasSubstr("holds its weights as GGUF"));
}

TEST(RecipeExportTest, BadPathsAndStacksAreRefused) {
  const std::map<std::string, std::string> dirs = {{"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}};
  const auto refusal = [&](auto change) {
    Recipe recipe = Copies(dirs);
    recipe.tokenizer_from = "a";
    change(recipe);
    return Refusal(recipe);
  };
  EXPECT_THAT(refusal([](Recipe& r) { r.path = {{0, 4, 1.0}}; }), HasSubstr("path[0]: layer 4 of stack 'a', which has 4 layers"));
  EXPECT_THAT(refusal([](Recipe& r) { r.path = {{2, 0, 1.0}}; }), HasSubstr("path[0]: stack 2; the recipe has 2"));
  EXPECT_THAT(refusal([](Recipe& r) { r.head_from = "c"; }), HasSubstr("head_from: no stack 'c'"));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[1].name = "a"; }), HasSubstr("stack 'a': another stack or model has this name"));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[0] = {"first", "", "", {"last"}, {}}, r.stacks[1] = {"last", "", "", {"a"}, {}}; }),
              HasSubstr("stack 'first': no model or earlier stack 'last'"));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[0].layer_offsets = {{"z", 1}}; }), HasSubstr("layer_offsets: no source 'z'"));
}

// As EvoVLM-JP was made: the language model of a LLaVA is merged with another one, the rest is the LLaVA's.
TEST(RecipeExportTest, ALanguageModelMergesIntoAMultiModalOne) {
  SmallCheckpoint llava = SmallLlama(1);
  for (StoredTensor& tensor : llava.tensors) tensor.header.name = absl::StrCat("language_model.", tensor.header.name);
  llava.tensors.push_back({{"vision_tower.layers.0.weight", DType::kF32, {2}}, {5, 6}});
  llava.config = absl::StrCat(R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": )",
                              llava.config, "}");
  Recipe recipe = OneGroup("task_arithmetic", "base", {"llava", "ja"}, {{{"weight", 1}}, {{"weight", 0.5}}});
  SetPaths({{"base", Write(SmallLlama(0))}, {"ja", Write(SmallLlama(2))}, {"llava", Write(llava)}}, recipe);
  recipe.models[0].rename = recipe.models[1].rename = {{"", "language_model."}};
  EXPECT_THAT(Refusal(recipe), HasSubstr("architectures is "));
  recipe.config_from = recipe.tokenizer_from = "llava";
  const RecipeExportOptions options = Options();
  const auto merged = Export(recipe, options);
  const auto value = [](int number) { return SmallLlama(number).Find("model.layers.2.mlp.up_proj.weight")->values[3]; };
  EXPECT_FLOAT_EQ(merged.at("language_model.model.layers.2.mlp.up_proj.weight")[3],
                  value(0) + (value(1) - value(0)) + 0.5f * (value(2) - value(0)));
  EXPECT_THAT(merged.at("vision_tower.layers.0.weight"), ElementsAre(5, 6));
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(options.out_dir + "/config.json"))["model_type"], "llava");
  recipe.models[0].rename.clear();
  EXPECT_THAT(Refusal(recipe), HasSubstr("is not in 'base'"));
}

// A family that no table knows: parts and layers are read off the names.
TEST(RecipeExportTest, HomologousModelsOfAnyFamilyMerge) {
  const auto encoder = [](int number) {
    SmallCheckpoint checkpoint{R"({"architectures": ["OddForMaskedLM"], "model_type": "odd", "num_hidden_layers": 2})", {}};
    for (int layer = 0; layer < 2; ++layer) {
      checkpoint.tensors.push_back({{absl::StrCat("odd.encoder.layer.", layer, ".dense.weight"), DType::kF32, {2}},
                                    {float(number), float(layer)}});
    }
    checkpoint.tensors.push_back({{"odd.pooler.weight", DType::kF32, {1}}, {float(number)}});
    return Write(checkpoint);
  };
  Recipe recipe = Average({{"a", encoder(1)}, {"b", encoder(3)}});
  GroupSettings first = recipe.stacks[0].settings[0];
  first.group.parts = {ModelPart::kLayers};
  first.group.end_layer = 1;
  first.source_parameters = {{{"weight", 1}}, {{"weight", 0}}};
  recipe.stacks[0].settings.insert(recipe.stacks[0].settings.begin(), first);
  const auto merged = Export(recipe);
  EXPECT_THAT(merged.at("odd.encoder.layer.0.dense.weight"), ElementsAre(1, 0));
  EXPECT_THAT(merged.at("odd.encoder.layer.1.dense.weight"), ElementsAre(2, 1));
  EXPECT_THAT(merged.at("odd.pooler.weight"), ElementsAre(2));
}

// A model of 64 MiB under a limit of 32 MiB more memory than the process has: only a stream passes.
TEST(RecipeExportTest, MemoryIsBoundedByATensorGroup) {
  const auto large = [](int number) {
    SmallCheckpoint checkpoint{R"({"architectures": ["Odd"], "num_hidden_layers": 64})", {}};
    for (int layer = 0; layer < 64; ++layer) {
      StoredTensor tensor{{absl::StrCat("odd.layer.", layer, ".weight"), DType::kF32, {512, 512}}, Values(512 * 512)};
      for (size_t i = 0; i < tensor.values.size(); ++i) tensor.values[i] = static_cast<float>((i * 31 + layer * 7 + number) % 97);
      checkpoint.tensors.push_back(std::move(tensor));
    }
    return Write(checkpoint);
  };
  Recipe recipe = OneGroup("ties", "base", {"a", "b"}, {{{"density", 0.5}}, {{"density", 0.5}}});
  SetPaths({{"base", large(0)}, {"a", large(1)}, {"b", large(2)}}, recipe);
  RecipeExportOptions options = Options();
  options.batch_bytes = 1 << 20;
  options.threads = 1;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int64_t data_kib = 0;
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("VmData:", 0) == 0) data_kib = std::strtoll(line.c_str() + 7, nullptr, 10);
    }
    const rlim_t bytes = static_cast<rlim_t>(data_kib) * 1024 + (32u << 20);
    const struct rlimit limit{bytes, bytes};
    if (data_kib == 0 || setrlimit(RLIMIT_DATA, &limit) != 0) _exit(3);
    _exit(ExportRecipeFiles(recipe, AsWritten, options, {}).ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_GT(fs::file_size(options.out_dir + "/model.safetensors"), 64u << 20);
}

}  // namespace
}  // namespace merganser
