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
#include "tests/worker/merge/recipe_export_testing.h"
#include "worker/checkpoint/evo_mistral.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing_merge::AsWritten;
using testing_merge::Average;
using testing_merge::Copies;
using testing_merge::Export;
using testing_merge::NewTestFolder;
using testing_merge::OneGroup;
using testing_merge::Options;
using testing_merge::ReadTensors;
using testing_merge::ReadWhole;
using testing_merge::Refusal;
using testing_merge::ReplaceText;
using testing_merge::SetPaths;
using testing_merge::SmallCheckpoint;
using testing_merge::SmallLlama;
using testing_merge::StoredTensor;
using testing_merge::Tied;
using testing_merge::Values;
using testing_merge::Write;

TEST(RecipeExportTest, BatchesShardsAndThreadsDoNotChangeABit) {
  Recipe recipe =
      OneGroup("ties", "base", {"a", "b"}, {{{"weight", 0.6}, {"density", 0.5}}, {{"weight", 0.4}, {"density", 0.3}}});
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
  EXPECT_THAT(std::string(facts.status().message()), StartsWith("tensor 'model.layers.3.mlp.up_proj.weight' of 'a'"));
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("nan at index 5"));
  EXPECT_FALSE(fs::exists(options.out_dir));
}

TEST(RecipeExportTest, AFilterOfNoTensorIsRefusedWithTheNearestName) {
  Recipe recipe = Average({{"a", Write(Tied(1))}, {"b", Write(Tied(2))}});
  std::vector<GroupSettings>& settings = recipe.stacks[0].settings;
  settings.insert(settings.begin(), settings[0]);
  settings[0].group = {.name = "first", .filter = "mpl"};
  EXPECT_THAT(Refusal(recipe), HasSubstr("group 'first': filter 'mpl' is part of no tensor's name; did you mean 'mlp'?"));
  settings[0].group.filter = "lm_head";  // what tied models lack may be named
  EXPECT_TRUE(PlanRecipeExport(recipe, AsWritten, Options()).ok());
}

TEST(RecipeExportTest, CopiesAreCheckedForFiniteValuesToo) {
  SmallCheckpoint broken = SmallLlama(1);
  broken.Find("lm_head.weight")->values[7] = INFINITY;
  const auto facts = ExportRecipeFiles(Copies({{"a", Write(broken)}}), AsWritten, Options(), {});
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("'lm_head.weight' of 'a'"));
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("not finite at index 7"));
}

// Far behind what can be under way at once: pieces have been written before the error is known.
TEST(RecipeExportTest, AResultThatIsNotFiniteLeavesNothingBehind) {
  constexpr int64_t kValues = 4 << 20;
  const auto model = [](float last) {
    SmallCheckpoint checkpoint{R"({"architectures": ["Odd"], "num_hidden_layers": 1})",
                               {{{"odd.layer.0.weight", DType::kF32, {1024, kValues / 1024}}, Values(kValues)}}};
    checkpoint.tensors[0].values.back() = last;
    return Write(checkpoint);
  };
  Recipe recipe = OneGroup("task_arithmetic", "base", {"a"}, {{{"weight", 100}}});
  SetPaths({{"base", model(0)}, {"a", model(2000)}}, recipe);
  recipe.dtype = "float16";
  for (const int threads : {1, 3}) {
    RecipeExportOptions options = Options();
    options.threads = threads;
    const auto facts = ExportRecipeFiles(recipe, AsWritten, options, {});
    EXPECT_THAT(std::string(facts.status().message()), HasSubstr("the merged value at index 4194303 is inf in F16"));
    EXPECT_TRUE(fs::is_empty(fs::path(options.out_dir).parent_path()));
  }
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
  const auto facts = ExportRecipeFiles(Average({{"a", Write(SmallLlama(1))}, {"b", Write(SmallLlama(2))}}), AsWritten,
                                       options, source.get_token());
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
  ReplaceText(
      model.config, "\"vocab_size\"",
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
  EXPECT_THAT(Refusal(Copies({{"a", Write(SmallLlama(1))}}), options),
              HasSubstr("a form of Mistral models; this is a LlamaForCausalLM"));
  options.form = "evomistrall";
  EXPECT_THAT(Refusal(Copies({{"a", Write(SmallLlama(1))}}), options), HasSubstr("did you mean 'evomistral'?"));
}

TEST(RecipeExportTest, EveryTensorIsAccountedFor) {
  const auto refusal = [](auto change) {
    SmallCheckpoint a = SmallLlama(1), b = SmallLlama(2);
    change(a, b);
    return Refusal(Average({{"a", Write(a)}, {"b", Write(b)}}));
  };
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Remove("model.layers.2.mlp.up_proj.weight"); }), HasSubstr("models.b.path: '"));
  EXPECT_THAT(refusal([](auto&, auto& b) { b.Remove("model.layers.2.mlp.up_proj.weight"); }),
              HasSubstr("tensor 'model.layers.2.mlp.up_proj.weight' is missing; LlamaForCausalLM needs it"));
  EXPECT_THAT(refusal([](auto& a, auto&) {
                a.tensors.push_back({{"model.layers.0.extra.weight", DType::kF32, {1}}, {1}});
              }),
              HasSubstr("tensor 'model.layers.0.extra.weight' is not in 'b'"));
  EXPECT_THAT(refusal([](auto&, auto& b) {
                b.Find("model.layers.0.mlp.up_proj.weight")->header.shape = {4, 6};
              }),
              HasSubstr("tensor 'model.layers.0.mlp.up_proj.weight' has shape [4, 6] in 'b'"));
  EXPECT_THAT(refusal([](auto&, auto& b) {
                b.Find("model.norm.weight")->header = {"model.norm.weight", DType::kI32, {4}};
              }),
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
  EXPECT_THAT(std::string(facts.status().message()),
              HasSubstr("'model.position_ids' holds integers that differ between 'a' and 'b'"));
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
  EXPECT_THAT(refusal([](Recipe& r) {
                r.path = {{0, 4, 1.0}};
              }),
              HasSubstr("path[0]: layer 4 of stack 'a', which has 4 layers"));
  EXPECT_THAT(refusal([](Recipe& r) { r.path = {{2, 0, 1.0}}; }), HasSubstr("path[0]: stack 2; the recipe has 2"));
  EXPECT_THAT(refusal([](Recipe& r) { r.head_from = "c"; }), HasSubstr("head_from: no stack 'c'"));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[1].name = "a"; }),
              HasSubstr("stack 'a': another stack or model has this name"));
  EXPECT_THAT(refusal([](Recipe& r) {
                r.stacks[0] = {"first", "", "", {"last"}, {}}, r.stacks[1] = {"last", "", "", {"a"}, {}};
              }),
              HasSubstr("stack 'first': no model or earlier stack 'last'"));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[0].layer_offsets = {{"z", 1}}; }), HasSubstr("layer_offsets: no source 'z'"));
}

// As EvoVLM-JP was made: the language model of a LLaVA is merged with another one, the rest is the LLaVA's.
TEST(RecipeExportTest, ALanguageModelMergesIntoAMultiModalOne) {
  SmallCheckpoint llava = SmallLlama(1);
  for (StoredTensor& tensor : llava.tensors) tensor.header.name = absl::StrCat("language_model.", tensor.header.name);
  llava.tensors.push_back({{"vision_tower.layers.0.weight", DType::kF32, {2}}, {5, 6}});
  llava.config = absl::StrCat(
      R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": )", llava.config, "}");
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

  // The settings of a part, in the whole's config.json.
  SmallCheckpoint ja = SmallLlama(2);
  ReplaceText(ja.config, "\"vocab_size\"", "\"rope_theta\": 500000.0, \"vocab_size\"");
  SetPaths({{"base", Write(SmallLlama(0))}, {"ja", Write(ja)}, {"llava", Write(llava)}}, recipe);
  recipe.models[0].rename = recipe.models[1].rename = {{"", "language_model."}};
  recipe.config_from = "ja";
  const RecipeExportOptions settings = Options();
  Export(recipe, settings);
  const nlohmann::json written = nlohmann::json::parse(ReadWhole(settings.out_dir + "/config.json"));
  EXPECT_EQ(written["model_type"], "llava");
  EXPECT_EQ(written["text_config"]["rope_theta"], 500000.0);
  EXPECT_FALSE(written.contains("rope_theta"));

  recipe.models[0].rename.clear();
  EXPECT_THAT(Refusal(recipe), HasSubstr("is not in 'base'"));
}

// Of models that see, the rest is merged, too: by the weights of those that have it.
TEST(RecipeExportTest, EyesAreMergedOfTheModelsThatHaveThem) {
  const auto llava = [](int number) {
    SmallCheckpoint checkpoint = SmallLlama(number);
    for (StoredTensor& tensor : checkpoint.tensors) tensor.header.name = absl::StrCat("language_model.", tensor.header.name);
    const float value = static_cast<float>(number);
    checkpoint.tensors.push_back({{"multi_modal_projector.weight", DType::kF32, {2}}, {value, 1}});
    checkpoint.tensors.push_back({{"vision_tower.layers.0.weight", DType::kF32, {2}}, {value, 2}});
    checkpoint.config =
        absl::StrCat(R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": )",
                     checkpoint.config, "}");
    return Write(checkpoint);
  };
  Recipe recipe = OneGroup("linear", "", {"a", "c", "ja"}, {{{"weight", 1}}, {{"weight", 3}}, {{"weight", 4}}});
  SetPaths({{"a", llava(1)}, {"c", llava(3)}, {"ja", Write(SmallLlama(2))}}, recipe);
  recipe.models[2].rename = {{"", "language_model."}};
  recipe.config_from = recipe.tokenizer_from = "a";
  auto merged = Export(recipe);
  const auto value = [](int number) { return SmallLlama(number).Find("model.layers.2.mlp.up_proj.weight")->values[3]; };
  EXPECT_FLOAT_EQ(merged.at("language_model.model.layers.2.mlp.up_proj.weight")[3],
                  (value(1) + 3 * value(3) + 4 * value(2)) / 8);
  EXPECT_THAT(merged.at("vision_tower.layers.0.weight"), ElementsAre((1 + 3 * 3) / 4.0f, 2));
  EXPECT_THAT(merged.at("multi_modal_projector.weight"), ElementsAre((1 + 3 * 3) / 4.0f, 1));

  // Of c the language model and the projector.
  recipe.models[1].rename = {{"language_model.", "language_model."}, {"multi_modal_projector.", "multi_modal_projector."}};
  merged = Export(recipe);
  EXPECT_THAT(merged.at("vision_tower.layers.0.weight"), ElementsAre(1, 2));
  EXPECT_THAT(merged.at("multi_modal_projector.weight"), ElementsAre((1 + 3 * 3) / 4.0f, 1));

  recipe.models[1].rename.clear();
  recipe.stacks[0].method = "task_arithmetic";
  recipe.stacks[0].base = "ja";
  recipe.stacks[0].sources.pop_back();
  recipe.stacks[0].settings[0].source_parameters.pop_back();
  EXPECT_THAT(Refusal(recipe), HasSubstr("tensor 'multi_modal_projector.weight' is in 'a', 'c' and not in the base 'ja'"));
}

// A family that no table knows: parts and layers are read off the names.
TEST(RecipeExportTest, HomologousModelsOfAnyFamilyMerge) {
  const auto encoder = [](int number) {
    SmallCheckpoint checkpoint{R"({"architectures": ["OddForMaskedLM"], "model_type": "odd", "num_hidden_layers": 2})", {}};
    for (int layer = 0; layer < 2; ++layer) {
      checkpoint.tensors.push_back(
          {{absl::StrCat("odd.encoder.layer.", layer, ".dense.weight"), DType::kF32, {2}}, {float(number), float(layer)}});
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
      for (size_t i = 0; i < tensor.values.size(); ++i)
        tensor.values[i] = static_cast<float>((i * 31 + layer * 7 + number) % 97);
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
    const struct rlimit limit { bytes, bytes };
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
