#include "worker/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/worker/checkpoint/test_files.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kFamily[] = MG_SOURCE_DIR "/examples/ja-math/";

std::string OpenError(const std::string& dir, absl::StatusCode code) {
  const absl::Status status = Checkpoint::Open(dir).status();
  EXPECT_EQ(status.code(), code) << status;
  return std::string(status.message());
}

// kTinyConfig's tensors in two files and an index.
std::string ShardedCheckpoint() {
  const std::string dir = NewFolder();
  WriteText(dir + "/config.json", kTinyConfig);
  std::vector<TensorHeader> tensors = TinyTensors();
  const std::vector<TensorHeader> second(tensors.begin() + 5, tensors.end());
  tensors.resize(5);
  std::string map;
  for (const auto& t : tensors) absl::StrAppend(&map, map.empty() ? "" : ",", "\"", t.name, "\":\"one.safetensors\"");
  for (const auto& t : second) absl::StrAppend(&map, ",\"", t.name, "\":\"two.safetensors\"");
  WriteTensors(dir + "/one.safetensors", tensors);
  WriteTensors(dir + "/two.safetensors", second);
  WriteText(dir + "/model.safetensors.index.json", absl::StrCat("{\"metadata\":{},\"weight_map\":{", map, "}}"));
  return dir;
}

void EditIndex(const std::string& dir, const std::string& from, const std::string& to) {
  std::string text = ReadText(dir + "/model.safetensors.index.json");
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  WriteText(dir + "/model.safetensors.index.json", text.replace(at, from.size(), to));
}

TEST(CheckpointTest, OpensThePublishedFamily) {
  for (const char* name : {"base", "ja", "math-en"}) {
    const auto checkpoint = Checkpoint::Open(absl::StrCat(kFamily, name));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->config().num_layers, 6);
    EXPECT_EQ((*checkpoint)->tensors().size(), 57u);
    EXPECT_EQ((*checkpoint)->TotalBytes(), 2297088);
    EXPECT_THAT((*checkpoint)->generation_config().eos_token_ids, ElementsAre(2));
    const TensorView* down = (*checkpoint)->Find("model.layers.5.mlp.down_proj.weight");
    ASSERT_NE(down, nullptr);
    EXPECT_EQ(down->dtype, DType::kBF16);
    EXPECT_THAT(down->shape, ElementsAre(128, 256));
    EXPECT_EQ((*checkpoint)->Find("model.layers.6.mlp.down_proj.weight"), nullptr);
    EXPECT_TRUE((*checkpoint)->CheckFinite().ok());
  }
}

TEST(CheckpointTest, TensorsComeInNameOrder) {
  const auto checkpoint = Checkpoint::Open(TinyCheckpoint());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto& tensors = (*checkpoint)->tensors();
  EXPECT_EQ(tensors.front().name, "lm_head.weight");
  EXPECT_EQ(tensors.back().name, "model.norm.weight");
  for (size_t i = 1; i < tensors.size(); ++i) EXPECT_LT(tensors[i - 1].name, tensors[i].name);
}

TEST(CheckpointTest, ShardsReadLikeOneFile) {
  const auto whole = Checkpoint::Open(TinyCheckpoint());
  const auto sharded = Checkpoint::Open(ShardedCheckpoint());
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  EXPECT_EQ((*sharded)->tensors().size(), (*whole)->tensors().size());
  EXPECT_EQ((*sharded)->TotalBytes(), (*whole)->TotalBytes());
  EXPECT_TRUE(CheckHomologous(**whole, **sharded).ok());
  EXPECT_THAT((*sharded)->FileOf("model.norm.weight"), HasSubstr("/two.safetensors"));
}

TEST(CheckpointTest, MissingDirectoryConfigAndWeightsAreToldApart) {
  EXPECT_THAT(OpenError(NewFolder() + "/none", absl::StatusCode::kNotFound), HasSubstr("no directory '"));
  EXPECT_THAT(OpenError(NewFolder(), absl::StatusCode::kNotFound), HasSubstr("has no config.json"));
  const std::string dir = TinyCheckpoint();
  EXPECT_THAT(OpenError(dir + "/config.json", absl::StatusCode::kInvalidArgument), HasSubstr("not a directory"));
  fs::remove(dir + "/model.safetensors");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kNotFound), HasSubstr("neither model.safetensors nor"));
}

TEST(CheckpointTest, PicklesAreRefusedWithTheWayOut) {
  const std::string dir = NewFolder();
  WriteText(dir + "/config.json", kTinyConfig);
  WriteText(dir + "/pytorch_model-00001-of-00002.bin", "x");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kUnimplemented),
              AllOf(HasSubstr("pytorch_model-00001-of-00002.bin"), HasSubstr("save_pretrained(")));
}

TEST(CheckpointTest, BadGenerationConfigIsNamed) {
  const std::string dir = TinyCheckpoint();
  WriteText(dir + "/generation_config.json", R"({"top_p": 7})");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument), HasSubstr("generation_config.json': field 'top_p' is 7"));
}

TEST(CheckpointTest, MissingTensorIsNamedWithItsShape) {
  const std::string dir = TinyCheckpoint();
  auto tensors = TinyTensors();
  std::erase_if(tensors, [](const auto& t) { return t.name == "model.layers.0.self_attn.k_proj.weight"; });
  WriteTensors(dir + "/model.safetensors", tensors);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              HasSubstr("tensor 'model.layers.0.self_attn.k_proj.weight' is missing; "
                        "LlamaForCausalLM needs it with shape [2, 4]"));
}

TEST(CheckpointTest, WrongShapeIsNamedWithFileAndBothShapes) {
  const std::string dir = TinyCheckpoint();
  auto tensors = TinyTensors();
  tensors[0].shape = {9, 4};
  WriteTensors(dir + "/model.safetensors", tensors);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              HasSubstr("/model.safetensors': tensor 'model.embed_tokens.weight' has shape [9, 4]; "
                        "config.json asks for [8, 4]"));
}

TEST(CheckpointTest, IntegerWeightsAreRefused) {
  const std::string dir = TinyCheckpoint();
  auto tensors = TinyTensors();
  tensors[1].dtype = DType::kI8;
  WriteTensors(dir + "/model.safetensors", tensors);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument), HasSubstr("has dtype I8; expected a floating-point type"));
}

TEST(CheckpointTest, HeadMayBeAbsentOnlyIfTied) {
  const std::string dir = TinyCheckpoint();
  auto tensors = TinyTensors();
  tensors.pop_back();
  WriteTensors(dir + "/model.safetensors", tensors);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              AllOf(HasSubstr("tensor 'lm_head.weight' is missing"), HasSubstr("tie_word_embeddings")));
  WriteText(dir + "/config.json", TinyConfigWith("tie_word_embeddings", "true"));
  EXPECT_TRUE(Checkpoint::Open(dir).ok());
}

TEST(CheckpointTest, BiasesAreNeededWhereTheConfigSaysSo) {
  const std::string dir = TinyCheckpoint();
  WriteText(dir + "/config.json", TinyConfigWith("attention_bias", "true"));
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              HasSubstr("'model.layers.0.self_attn.q_proj.bias' is missing"));
}

TEST(CheckpointTest, RotaryTablesOfOldCheckpointsAreLeftOut) {
  const std::string dir = TinyCheckpoint();
  auto tensors = TinyTensors();
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {1}});
  WriteTensors(dir + "/model.safetensors", tensors);
  const auto checkpoint = Checkpoint::Open(dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->Find("model.layers.0.self_attn.rotary_emb.inv_freq"), nullptr);
  EXPECT_TRUE(CheckHomologous(**Checkpoint::Open(TinyCheckpoint()), **checkpoint).ok());
}

TEST(CheckpointTest, TruncatedWeightsAreDataLoss) {
  const std::string dir = TinyCheckpoint();
  fs::resize_file(dir + "/model.safetensors", fs::file_size(dir + "/model.safetensors") - 7);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kDataLoss),
              AllOf(HasSubstr("is truncated"), HasSubstr("'lm_head.weight' with 128 bytes, of which 121 are present")));
}

TEST(CheckpointTest, IndexNamingAMissingFileIsRefused) {
  const std::string dir = ShardedCheckpoint();
  fs::remove(dir + "/two.safetensors");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kNotFound),
              HasSubstr("names the file 'two.safetensors', which is not in the directory"));
}

TEST(CheckpointTest, TensorThatTheIndexDoesNotListIsRefused) {
  const std::string dir = ShardedCheckpoint();
  EditIndex(dir, "\"model.norm.weight\":\"two.safetensors\",", "");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              AllOf(HasSubstr("two.safetensors' holds tensor 'model.norm.weight'"), HasSubstr("does not list")));
}

TEST(CheckpointTest, TensorThatTheShardLacksIsRefused) {
  const std::string dir = ShardedCheckpoint();
  EditIndex(dir, "\"model.norm.weight\"", "\"extra\":\"one.safetensors\",\"model.norm.weight\"");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              HasSubstr("places tensor 'extra' in 'one.safetensors', which does not hold it"));
}

TEST(CheckpointTest, TensorInTwoShardsIsRefused) {
  const std::string dir = ShardedCheckpoint();
  auto all = TinyTensors();
  WriteTensors(dir + "/two.safetensors", all);
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
              AllOf(HasSubstr("two.safetensors' holds tensor"), HasSubstr("places in 'one.safetensors'")));
}

TEST(CheckpointTest, TensorListedTwiceIsRefused) {
  const std::string dir = ShardedCheckpoint();
  EditIndex(dir, "\"model.norm.weight\"", "\"model.norm.weight\":\"one.safetensors\",\"model.norm.weight\"");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument), HasSubstr("key 'model.norm.weight' appears twice"));
}

TEST(CheckpointTest, ShardNamesCannotLeaveTheDirectory) {
  for (const char* name : {"\"../two.safetensors\"", "\"/etc/passwd\"", "\"..\"", "\"\"", "7"}) {
    const std::string dir = ShardedCheckpoint();
    EditIndex(dir, "\"model.norm.weight\":\"two.safetensors\"", absl::StrCat("\"model.norm.weight\":", name));
    EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument),
                HasSubstr(absl::StrCat("field 'weight_map.model.norm.weight' is ", name, "; expected the name of a file")));
  }
}

TEST(CheckpointTest, IndexWithoutMapIsRefused) {
  const std::string dir = ShardedCheckpoint();
  WriteText(dir + "/model.safetensors.index.json", "{}");
  EXPECT_THAT(OpenError(dir, absl::StatusCode::kInvalidArgument), HasSubstr("field 'weight_map' is missing"));
}

TEST(CheckpointTest, FingerprintIsThatOfTheContent) {
  const std::string dir = TinyCheckpoint();
  const std::string first = (*Checkpoint::Open(dir))->Fingerprint();
  const std::string copy = NewFolder();
  fs::copy(dir, copy, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  EXPECT_EQ((*Checkpoint::Open(copy))->Fingerprint(), first);

  std::string bytes = ReadText(copy + "/model.safetensors");
  bytes.back() ^= 1;
  WriteText(copy + "/model.safetensors", bytes);
  EXPECT_NE((*Checkpoint::Open(copy))->Fingerprint(), first);

  WriteText(dir + "/config.json", TinyConfigWith("rope_theta", "500000"));
  EXPECT_NE((*Checkpoint::Open(dir))->Fingerprint(), first);
}

TEST(CheckpointTest, FingerprintsOfTheFamilyDiffer) {
  const std::string base = (*Checkpoint::Open(absl::StrCat(kFamily, "base")))->Fingerprint();
  EXPECT_EQ(base.size(), 64u);
  EXPECT_NE(base, (*Checkpoint::Open(absl::StrCat(kFamily, "ja")))->Fingerprint());
  EXPECT_EQ((*Checkpoint::Open(ShardedCheckpoint()))->Fingerprint().size(), 64u);
}

TEST(CheckpointTest, FirstNonFiniteElementIsNamed) {
  const std::string dir = TinyCheckpoint();
  const auto poke = [&](const char* tensor, size_t element, uint32_t bits) {
    size_t offset = 0;
    {
      const auto checkpoint = Checkpoint::Open(dir);
      const auto file = SafetensorsReader::Open(dir + "/model.safetensors");
      offset = static_cast<size_t>((*file)->file_bytes());
      for (auto it = (*file)->tensors().rbegin(); it != (*file)->tensors().rend(); ++it) {
        offset -= it->data.size();
        if (it->name == tensor) break;
      }
    }
    std::string bytes = ReadText(dir + "/model.safetensors");
    std::memcpy(bytes.data() + offset + 4 * element, &bits, 4);
    WriteText(dir + "/model.safetensors", bytes);
  };
  poke("model.norm.weight", 1, 0x7fc00000);
  EXPECT_THAT(std::string((*Checkpoint::Open(dir))->CheckFinite().message()),
              HasSubstr("/model.safetensors': tensor 'model.norm.weight' has a NaN at element 1 of shape [4]"));
  poke("model.embed_tokens.weight", 5, 0xff800000);
  EXPECT_THAT(std::string((*Checkpoint::Open(dir))->CheckFinite().message()),
              HasSubstr("tensor 'model.embed_tokens.weight' has an infinity at element 5 of shape [8, 4]"));
}

TEST(CheckHomologousTest, FineTunesOfOneBaseAre) {
  EXPECT_TRUE(
      CheckHomologous(**Checkpoint::Open(absl::StrCat(kFamily, "base")), **Checkpoint::Open(absl::StrCat(kFamily, "ja")))
          .ok());
}

TEST(CheckHomologousTest, DifferentShapesAreNamedWithBothCheckpoints) {
  const std::string a = TinyCheckpoint();
  const std::string b = TinyCheckpoint();
  WriteText(b + "/config.json", TinyConfigWith("vocab_size", "10"));
  auto tensors = TinyTensors();
  tensors.front().shape = tensors.back().shape = {10, 4};
  WriteTensors(b + "/model.safetensors", tensors);
  const absl::Status status = CheckHomologous(**Checkpoint::Open(a), **Checkpoint::Open(b));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("tensor 'lm_head.weight' has shape [8, 4] in '", a, "' and [10, 4] in '", b, "'")));
}

TEST(CheckHomologousTest, TensorOfOnlyOneIsNamedEitherWay) {
  const std::string a = TinyCheckpoint();
  const std::string b = TinyCheckpoint();
  auto tensors = TinyTensors();
  tensors.push_back({"zz.extra", DType::kF32, {3}});
  WriteTensors(b + "/model.safetensors", tensors);
  const std::string want = absl::StrCat("'", b, "' has tensor 'zz.extra' with shape [3], which '", a, "' lacks");
  EXPECT_THAT(std::string(CheckHomologous(**Checkpoint::Open(a), **Checkpoint::Open(b)).message()), HasSubstr(want));
  EXPECT_THAT(std::string(CheckHomologous(**Checkpoint::Open(b), **Checkpoint::Open(a)).message()), HasSubstr(want));
}

}  // namespace
}  // namespace merganser
