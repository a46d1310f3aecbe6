// What mergekit's users reported and that is a matter of its input: one test for each, named by the issue's number in
// arcee-ai/mergekit. The others of that list have theirs elsewhere: unknown keys, parameters and methods, models listed
// twice (#214), missing weights and bases (#457, #611) in mergekit_reader_test.cc; heads that are tied (#385, #390),
// quantised and foreign files (#75, #482), tokens aligned by name (#47, #139), plans before weights (#527, #688) in
// recipe_export_test.cc.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/small_checkpoints.h"
#include "worker/merge/mergekit_reader.h"
#include "worker/merge/recipe_export.h"

namespace merganser {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using testing_merge::NewTestFolder;
using testing_merge::ReadTensors;
using testing_merge::ReadWhole;
using testing_merge::ReplaceText;
using testing_merge::SmallCheckpoint;
using testing_merge::SmallLlama;
using testing_merge::StoredTensor;
using testing_merge::TokenizerJson;
using Values = std::vector<float>;

// Merges the models in these folders as the mergekit YAML says, and writes the result to `out`.
absl::Status Merge(const std::string& yaml, const std::map<std::string, std::string>& dirs, const std::string& out) {
  const ModelResolver resolver = [&](const std::string& path) -> absl::StatusOr<std::string> { return dirs.at(path); };
  const auto recipe =
      ReadMergekitYaml(yaml, "m.yml", [&](const ModelRef& model) { return ReadModelFacts(model, resolver); });
  if (!recipe.ok()) return recipe.status();
  RecipeExportOptions options;
  options.out_dir = out;
  return ExportRecipeFiles(*recipe, resolver, options, {}).status();
}

std::map<std::string, Values> Merged(const std::string& yaml, const std::map<std::string, std::string>& dirs) {
  const std::string out = NewTestFolder() + "/out";
  const absl::Status status = Merge(yaml, dirs, out);
  EXPECT_TRUE(status.ok()) << status;
  return status.ok() ? ReadTensors(out) : std::map<std::string, Values>{};
}

std::string Refusal(const std::string& yaml, const std::map<std::string, std::string>& dirs) {
  return std::string(Merge(yaml, dirs, NewTestFolder() + "/out").message());
}

const char kAverage[] = "models: [{model: a}, {model: b}]\nmerge_method: linear\nparameters: {weight: 0.5}\n";

StoredTensor Tensor(const std::string& name, std::vector<int64_t> shape, float value) {
  StoredTensor tensor{{name, DType::kF32, std::move(shape)}, {}};
  tensor.values.assign(static_cast<size_t>(tensor.header.NumBytes() / 4), value);
  return tensor;
}

void SetFamily(const std::string& architecture, const std::string& type, SmallCheckpoint& checkpoint) {
  ReplaceText(checkpoint.config, "LlamaForCausalLM", architecture);
  ReplaceText(checkpoint.config, "\"llama\"", absl::StrCat("\"", type, "\", \"head_dim\": 2"));
}

// Gemma 2: four norms a layer, the head tied.
SmallCheckpoint SmallGemma2(int number) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  SetFamily("Gemma2ForCausalLM", "gemma2", checkpoint);
  ReplaceText(checkpoint.config, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
  checkpoint.Remove("lm_head.weight");
  for (int i = 0; i < 4; ++i) {
    for (const char* norm : {"pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
      checkpoint.tensors.push_back(
          Tensor(absl::StrCat("model.layers.", i, ".", norm, ".weight"), {4}, static_cast<float>(number)));
    }
  }
  return checkpoint;
}

// #457 and #611, on Gemma 2: "missing required parameter weight", and a base that is not found.
TEST(MergekitIssuesTest, Issue457AGemma2BaseNeedsNoWeightWhetherItIsListedOrNot) {
  const std::map<std::string, std::string> dirs = {
      {"base", Write(SmallGemma2(0))}, {"a", Write(SmallGemma2(1))}, {"b", Write(SmallGemma2(2))}};
  const std::string end = "merge_method: ties\nbase_model: base\ndtype: float32\n";
  const auto unlisted =
      Merged("models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 0.5}}]\n" + end, dirs);
  const auto listed = Merged(
      "models: [{model: base}, {model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 0.5}}]\n" + end, dirs);
  EXPECT_EQ(listed, unlisted);
  EXPECT_EQ(listed.size(), SmallGemma2(0).tensors.size());
  EXPECT_EQ(listed.count("lm_head.weight"), 0u);
  // The signs of 1 and 2 agree: 0 + (1 + 0.5 * 2) / 1.5.
  EXPECT_THAT(listed.at("model.layers.3.post_feedforward_layernorm.weight"), Each(testing::FloatEq(2 / 1.5f)));
}

// #527: told only once all models had been loaded.
TEST(MergekitIssuesTest, Issue527AMisspeltMethodIsToldBeforeAnyModelIsAskedFor) {
  const auto recipe = ReadMergekitYaml("models: [{model: a}, {model: b}]\nmerge_method: liner\n", "m.yml",
                                       [](const ModelRef& model) -> absl::StatusOr<ModelFacts> {
                                         ADD_FAILURE() << "model '" << model.path << "' was looked at";
                                         return absl::NotFoundError("");
                                       });
  EXPECT_EQ(recipe.status().message(), "m.yml:2: unknown merge_method 'liner'; did you mean 'linear'?");
}

TEST(MergekitIssuesTest, Issue527ModelsOfOtherDepthsAreToldFromTheirHeaders) {
  SmallCheckpoint shallow = SmallLlama(2);
  for (const char* tensor : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                             "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"}) {
    shallow.Remove(absl::StrCat("model.layers.3.", tensor, ".weight"));
  }
  EXPECT_EQ(Refusal(kAverage, {{"a", Write(SmallLlama(1))}, {"b", Write(shallow)}}),
            "m.yml:1: model 'b' has 3 layers, and 'a' 4");
}

// #569: v_proj of Qwen3 was lost, because a table did not list it.
TEST(MergekitIssuesTest, Issue569EveryTensorOfQwen3IsThereOrTheMergeIsRefused) {
  const auto qwen = [](int number) {
    SmallCheckpoint checkpoint = SmallLlama(number);
    SetFamily("Qwen3ForCausalLM", "qwen3", checkpoint);
    for (int i = 0; i < 4; ++i) {
      for (const char* norm : {"q_norm", "k_norm"}) {
        checkpoint.tensors.push_back(Tensor(absl::StrCat("model.layers.", i, ".self_attn.", norm, ".weight"), {2}, 1));
      }
    }
    return checkpoint;
  };
  const auto merged = Merged(kAverage, {{"a", Write(qwen(1))}, {"b", Write(qwen(2))}});
  EXPECT_EQ(merged.size(), qwen(1).tensors.size());
  for (const StoredTensor& tensor : qwen(1).tensors) EXPECT_EQ(merged.count(tensor.header.name), 1u) << tensor.header.name;
  SmallCheckpoint lacking = qwen(1), lacking_too = qwen(2);
  lacking.Remove("model.layers.2.self_attn.v_proj.weight");
  lacking_too.Remove("model.layers.2.self_attn.v_proj.weight");
  EXPECT_THAT(Refusal(kAverage, {{"a", Write(lacking)}, {"b", Write(lacking_too)}}),
              HasSubstr("tensor 'model.layers.2.self_attn.v_proj.weight' is missing; Qwen3ForCausalLM needs it"));
}

// #674: Cohere's norm was lost. Families without a table are read off the files: nothing can be lost.
TEST(MergekitIssuesTest, Issue674NothingOfAFamilyWithoutATableIsLost) {
  const auto cohere = [](int number) {
    SmallCheckpoint checkpoint = SmallLlama(number);
    SetFamily("CohereForCausalLM", "cohere", checkpoint);
    for (int i = 0; i < 4; ++i) checkpoint.Remove(absl::StrCat("model.layers.", i, ".post_attention_layernorm.weight"));
    return checkpoint;
  };
  const auto merged = Merged(kAverage, {{"a", Write(cohere(1))}, {"b", Write(cohere(2))}});
  EXPECT_EQ(merged.size(), cohere(1).tensors.size());
  EXPECT_EQ(merged.count("model.norm.weight"), 1u);
  SmallCheckpoint lacking = cohere(2);
  lacking.Remove("model.norm.weight");
  EXPECT_THAT(Refusal(kAverage, {{"a", Write(cohere(1))}, {"b", Write(lacking)}}),
              HasSubstr("tensor 'model.norm.weight' is not in 'b'"));
}

// Mixtral: `experts` of them.
SmallCheckpoint SmallMixtral(int number, int experts) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  SetFamily("MixtralForCausalLM", "mixtral", checkpoint);
  for (int i = 0; i < 4; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    for (const char* dense : {"gate", "up", "down"}) checkpoint.Remove(absl::StrCat(layer, "mlp.", dense, "_proj.weight"));
    checkpoint.tensors.push_back(Tensor(layer + "block_sparse_moe.gate.weight", {experts, 4}, static_cast<float>(number)));
    for (int e = 0; e < experts; ++e) {
      for (const char* w : {"w1", "w2", "w3"}) {
        checkpoint.tensors.push_back(Tensor(absl::StrCat(layer, "block_sparse_moe.experts.", e, ".", w, ".weight"), {2, 2},
                                            static_cast<float>(number + 10 * e)));
      }
    }
  }
  return checkpoint;
}

// #507, #575, #481: gates and experts that came out wrong.
TEST(MergekitIssuesTest, Issue507GatesAndExpertsAreMergedOneByOne) {
  const auto merged = Merged(kAverage, {{"a", Write(SmallMixtral(1, 2))}, {"b", Write(SmallMixtral(2, 2))}});
  EXPECT_EQ(merged.size(), SmallMixtral(1, 2).tensors.size());
  EXPECT_THAT(merged.at("model.layers.3.block_sparse_moe.gate.weight"), Each(1.5f));
  EXPECT_THAT(merged.at("model.layers.0.block_sparse_moe.experts.0.w2.weight"), Each(1.5f));
  EXPECT_THAT(merged.at("model.layers.0.block_sparse_moe.experts.1.w2.weight"), Each(11.5f));
}

TEST(MergekitIssuesTest, Issue507OtherNumbersOfExpertsAreRefused) {
  EXPECT_THAT(Refusal(kAverage, {{"a", Write(SmallMixtral(1, 2))}, {"b", Write(SmallMixtral(2, 3))}}),
              AllOf(HasSubstr("model.layers.0.block_sparse_moe"), HasSubstr("'b'")));
  SmallCheckpoint lacking = SmallMixtral(2, 2);
  lacking.Remove("model.layers.1.block_sparse_moe.experts.1.w3.weight");
  EXPECT_THAT(Refusal(kAverage, {{"a", Write(SmallMixtral(1, 2))}, {"b", Write(lacking)}}),
              HasSubstr("tensor 'model.layers.1.block_sparse_moe.experts.1.w3.weight' is not in 'b'"));
}

// PR #692: transformers 5 stores the experts of a layer in one tensor. The two layouts do not mix.
TEST(MergekitIssuesTest, Issue692PackedAndSeparateExpertsAreRefused) {
  SmallCheckpoint packed = SmallMixtral(2, 2);
  for (int i = 0; i < 4; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    packed.Remove(layer + "block_sparse_moe.gate.weight");
    for (int e = 0; e < 2; ++e) {
      for (const char* w : {"w1", "w2", "w3"})
        packed.Remove(absl::StrCat(layer, "block_sparse_moe.experts.", e, ".", w, ".weight"));
    }
    packed.tensors.push_back(Tensor(layer + "mlp.gate.weight", {2, 4}, 2));
    packed.tensors.push_back(Tensor(layer + "mlp.experts.gate_up_proj", {2, 4, 2}, 2));
    packed.tensors.push_back(Tensor(layer + "mlp.experts.down_proj", {2, 2, 2}, 2));
  }
  EXPECT_THAT(Refusal(kAverage, {{"a", Write(SmallMixtral(1, 2))}, {"b", Write(packed)}}),
              HasSubstr("tensor 'model.layers.0.block_sparse_moe.experts.0.w1.weight' is not in 'b'"));
}

// #576: fewer tensors came out of a Qwen2-VL than went in. #557: its two halves are to be merged differently.
TEST(MergekitIssuesTest, Issue576AVisionModelKeepsItsTensorsAndIsMergedInHalves) {
  const auto qwen = [](int number) {
    SmallCheckpoint checkpoint = SmallLlama(number);
    SetFamily("Qwen2VLForConditionalGeneration", "qwen2_vl", checkpoint);
    const auto value = static_cast<float>(number);
    for (int i = 0; i < 2; ++i)
      checkpoint.tensors.push_back(Tensor(absl::StrCat("visual.blocks.", i, ".attn.qkv.weight"), {6, 2}, value));
    checkpoint.tensors.push_back(Tensor("visual.patch_embed.proj.weight", {2, 3, 2, 2, 2}, value));
    checkpoint.tensors.push_back(Tensor("visual.merger.mlp.0.weight", {2, 2}, value));
    return checkpoint;
  };
  const auto merged = Merged(
      "models:\n"
      "  - {model: a, parameters: {weight: [{filter: visual., value: 1}, {value: 0.5}]}}\n"
      "  - {model: b, parameters: {weight: [{filter: visual., value: 0}, {value: 0.5}]}}\n"
      "merge_method: linear\n",
      {{"a", Write(qwen(1))}, {"b", Write(qwen(2))}});
  EXPECT_EQ(merged.size(), qwen(1).tensors.size());
  for (const char* name :
       {"visual.blocks.1.attn.qkv.weight", "visual.patch_embed.proj.weight", "visual.merger.mlp.0.weight"}) {
    EXPECT_THAT(merged.at(name), Each(1.0f)) << name;
  }
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  EXPECT_FLOAT_EQ(merged.at(q)[5], 0.5f * qwen(1).Find(q)->values[5] + 0.5f * qwen(2).Find(q)->values[5]);
}

SmallCheckpoint WithRows(int number, int rows) {
  SmallCheckpoint checkpoint = SmallLlama(number);
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    *checkpoint.Find(name) = Tensor(name, {rows, 4}, 0);
    Values& values = checkpoint.Find(name)->values;
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(number * 1000 + i / 4);
  }
  ReplaceText(checkpoint.config, "\"vocab_size\": 8", absl::StrCat("\"vocab_size\": ", rows));
  return checkpoint;
}

// #425: a tokenizer block cut off the rows that Qwen's embeddings have beyond their tokens.
TEST(MergekitIssuesTest, Issue425PaddingRowsStay) {
  const std::string tokens = TokenizerJson({"t0", "t1", "t2", "t3", "t4"});
  const std::map<std::string, std::string> dirs = {{"a", Write(WithRows(1, 8), {{"tokenizer.json", tokens}})},
                                                   {"b", Write(WithRows(2, 8), {{"tokenizer.json", tokens}})}};
  const auto merged = Merged(absl::StrCat(kAverage, "tokenizer_source: union\n"), dirs);
  const Values& rows = merged.at("model.embed_tokens.weight");
  ASSERT_EQ(rows.size(), 8u * 4);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_FLOAT_EQ(rows[i], 1500 + static_cast<float>(i / 4)) << i;
  EXPECT_EQ(merged, Merged(kAverage, dirs));  // as without the block: the tokenizers agree

  // A number of rows that is asked for is given: here 6, of which the last is padding in both.
  const auto fewer = Merged(absl::StrCat(kAverage, "tokenizer: {source: union, pad_to_multiple_of: 3}\n"), dirs);
  ASSERT_EQ(fewer.at("lm_head.weight").size(), 6u * 4);
  EXPECT_FLOAT_EQ(fewer.at("lm_head.weight")[5 * 4], 1505);
}

// #169: a union that did not end. Two real vocabularies' size, all tokens new.
TEST(MergekitIssuesTest, Issue169LargeVocabulariesAreUnited) {
  constexpr int kTokens = 32000;
  const auto model = [](int number) {
    std::vector<std::string> tokens;
    for (int i = 0; i < kTokens; ++i) tokens.push_back(absl::StrCat(number, "-", i));
    return Write(WithRows(number, kTokens), {{"tokenizer.json", TokenizerJson(tokens)}});
  };
  const std::string out = NewTestFolder() + "/out";
  ASSERT_TRUE(
      Merge(absl::StrCat(kAverage, "dtype: float32\ntokenizer_source: union\n"), {{"a", model(1)}, {"b", model(2)}}, out)
          .ok());
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(out + "/config.json"))["vocab_size"], 2 * kTokens);
  const Values rows = ReadTensors(out).at("model.embed_tokens.weight");
  ASSERT_EQ(rows.size(), size_t{2} * kTokens * 4);
  EXPECT_EQ(rows[size_t{4} * (kTokens - 1)], 1000 + kTokens - 1);
  EXPECT_EQ(rows[size_t{4} * kTokens], 2000);
}

// #428, #469: tokenizers that do not load came in, or came out.
TEST(MergekitIssuesTest, Issue469BrokenTokenizersAreRefusedByModel) {
  const std::string good = TokenizerJson({"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"});
  const auto refusal = [&](const std::string& tokenizer) {
    return Refusal(absl::StrCat(kAverage, "tokenizer_source: union\n"),
                   {{"a", Write(SmallLlama(1), {{"tokenizer.json", good}})},
                    {"b", Write(SmallLlama(2), {{"tokenizer.json", tokenizer}})}});
  };
  EXPECT_THAT(refusal(good.substr(0, good.size() / 2)),
              AllOf(HasSubstr("tokenizer: models.b: "), HasSubstr("tokenizer.json")));
  EXPECT_THAT(refusal("{}"), AllOf(HasSubstr("tokenizer: models.b: "), HasSubstr("tokenizer.json")));
  EXPECT_THAT(Refusal(absl::StrCat(kAverage, "tokenizer_source: union\n"),
                      {{"a", Write(SmallLlama(1), {{"tokenizer.json", good}})}, {"b", Write(SmallLlama(2))}}),
              AllOf(HasSubstr("tokenizer: models.b: "), HasSubstr("tokenizer.json")));
}

}  // namespace
}  // namespace merganser
