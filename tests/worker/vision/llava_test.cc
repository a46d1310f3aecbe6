// LLaVA-1.5 and LLaVA-NeXT against transformers, from pixels to generated tokens.
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/vision/testing.h"
#include "worker/checkpoint/safetensors_reader.h"
#include "worker/engine/decoder.h"
#include "worker/vision/image_prompt.h"
#include "worker/vision/vision_model.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LlavaTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto checkpoint = Checkpoint::Open(VisionData(GetParam()));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    checkpoint_ = *std::move(checkpoint);
    auto vision = VisionModel::Load(checkpoint_, "cpu");
    ASSERT_TRUE(vision.ok()) << vision.status();
    vision_ = *std::move(vision);
    auto reference = SafetensorsReader::Open(VisionData(GetParam() + "/reference.safetensors"));
    ASSERT_TRUE(reference.ok()) << reference.status();
    reference_ = *std::move(reference);
    EngineOptions options;
    options.threads = 2;
    options.compute = ComputeType::kFp32;
    options.max_sequences = 8;
    options.eos_token_ids = GetParam() == "llava" ? std::vector<int32_t>{2} : std::vector<int32_t>{};
    auto decoder = Decoder::Create(checkpoint_->config(), options);
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    decoder_ = *std::move(decoder);
    const absl::Status loaded = decoder_->LoadWeights(CheckpointWeights(checkpoint_));
    ASSERT_TRUE(loaded.ok()) << loaded;
  }

  template <typename T>
  std::vector<T> Golden(const std::string& name) const {
    const TensorView* view = reference_->Find(name);
    EXPECT_NE(view, nullptr) << name;
    std::vector<T> values(view->data.size() / sizeof(T));
    std::memcpy(values.data(), view->data.data(), view->data.size());
    return values;
  }
  std::vector<int32_t> Ids(const std::string& name) const {
    const std::vector<int64_t> wide = Golden<int64_t>(name);
    return {wide.begin(), wide.end()};
  }

  // The pixels that transformers made, so that what follows is compared alone.
  PixelValues ReferencePixels() const {
    PixelValues pixels;
    pixels.values = Golden<float>("pixel_values");
    pixels.height = pixels.width = static_cast<int>(vision_->config().image_size);
    pixels.tiles = static_cast<int>(pixels.values.size() / (3 * pixels.height * pixels.width));
    if (vision_->config().next) {
      const std::vector<int64_t> size = Golden<int64_t>("image_sizes");
      pixels.image_height = static_cast<int>(size[0]);
      pixels.image_width = static_cast<int>(size[1]);
    }
    return pixels;
  }

  GenerationRequest Request(const ImageFeatures& features) const {
    GenerationRequest request;
    request.prompt = Ids("input_ids");
    request.max_new_tokens = 16;
    const auto first = std::find(request.prompt.begin(), request.prompt.end(), vision_->config().image_token_id);
    request.embeddings = {{static_cast<int>(first - request.prompt.begin()), features.rows, features.values.data()}};
    return request;
  }

  static double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) largest = std::max<double>(largest, std::fabs(a[i] - b[i]));
    return largest;
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<VisionModel> vision_;
  std::unique_ptr<const SafetensorsReader> reference_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(LlavaTest, FeaturesLogitsAndTokensAreThoseOfTransformers) {
  const auto features = vision_->Encode(ReferencePixels());
  ASSERT_TRUE(features.ok()) << features.status();
  EXPECT_LE(LargestDifference(features->values, Golden<float>("image_features")), 1e-4);

  GenerationRequest request = Request(*features);
  const auto logits = decoder_->Logits(request.prompt, request.embeddings);
  ASSERT_TRUE(logits.ok()) << logits.status();
  const std::vector<float> expected = Golden<float>("logits");  // of the last positions
  EXPECT_LE(LargestDifference({logits->end() - static_cast<int64_t>(expected.size()), logits->end()}, expected), 1e-4);

  const auto greedy = decoder_->Generate({request}, {}, nullptr);
  ASSERT_TRUE(greedy.ok()) << greedy.status();
  EXPECT_EQ((*greedy)[0].tokens, Ids(reference_->Find("greedy") != nullptr ? "greedy" : "generated_ids"));

  request.beams.count = 5;
  request.sampling.repetition_penalty = 1.5;
  const auto beams = decoder_->Generate({request}, {}, nullptr);
  ASSERT_TRUE(beams.ok()) << beams.status();
  EXPECT_EQ((*beams)[0].tokens, Ids("beams"));
}

TEST_P(LlavaTest, ABatchGivesWhatEachPromptGivesAlone) {
  const auto features = vision_->Encode(ReferencePixels());
  ASSERT_TRUE(features.ok()) << features.status();
  ImageFeatures other = *features;
  for (float& value : other.values) value = -value;
  // The same tokens with two pictures, with one at another place, and without any.
  std::vector<GenerationRequest> requests = {Request(*features), Request(other), Request(*features), Request(*features)};
  // Long enough to be shared, if it were not for the picture.
  requests[2].prompt.insert(requests[2].prompt.begin() + 1, 40, 7);
  requests[2].embeddings[0].position += 40;
  requests[3].embeddings.clear();
  std::vector<std::vector<int32_t>> alone;
  for (const GenerationRequest& request : requests) {
    const auto one = decoder_->Generate({request}, {}, nullptr);
    ASSERT_TRUE(one.ok()) << one.status();
    alone.push_back((*one)[0].tokens);
  }
  const auto together = decoder_->Generate(requests, {}, nullptr);
  ASSERT_TRUE(together.ok()) << together.status();
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ((*together)[i].tokens, alone[i]) << i;
  EXPECT_NE(alone[0], alone[1]);
}

TEST_P(LlavaTest, APromptPieceMayEndWithinAPicture) {
  const auto features = vision_->Encode(ReferencePixels());
  ASSERT_TRUE(features.ok()) << features.status();
  EngineOptions options;
  options.threads = 1;
  options.compute = ComputeType::kFp32;
  options.max_batch_tokens = 7;
  auto decoder = Decoder::Create(checkpoint_->config(), options);
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  ASSERT_TRUE((*decoder)->LoadWeights(CheckpointWeights(checkpoint_)).ok());
  const auto pieces = (*decoder)->Generate({Request(*features)}, {}, nullptr);
  const auto whole = decoder_->Generate({Request(*features)}, {}, nullptr);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ((*pieces)[0].tokens, (*whole)[0].tokens);
}

TEST_P(LlavaTest, EmbeddingsOutsideThePromptAreRefused) {
  const auto features = vision_->Encode(ReferencePixels());
  ASSERT_TRUE(features.ok()) << features.status();
  GenerationRequest request = Request(*features);
  request.embeddings[0].position = static_cast<int>(request.prompt.size()) - 1;
  EXPECT_THAT(decoder_->Generate({request}, {}, nullptr).status().message(), HasSubstr("must lie in it in order"));
}

INSTANTIATE_TEST_SUITE_P(Models, LlavaTest, testing::Values("llava", "llava_next"),
                         [](const auto& info) { return info.param; });

TEST(LlavaNextTest, APictureGoesFromFileToFeatures) {
  const auto checkpoint = Checkpoint::Open(VisionData("llava_next"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto vision = VisionModel::Load(*checkpoint, "cpu");
  ASSERT_TRUE(vision.ok()) << vision.status();
  const auto image = ReadImage(VisionData("llava_next/image.png"));
  ASSERT_TRUE(image.ok()) << image.status();
  const auto pixels = ProcessImage(*image, (*vision)->processor());
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  EXPECT_EQ(pixels->tiles, 5);
  const auto features = (*vision)->Encode(*pixels);
  ASSERT_TRUE(features.ok()) << features.status();
  EXPECT_EQ(features->rows, 70);
  EXPECT_EQ(features->width, 128);
}

TEST(ImagePromptTest, EachImageTokenBecomesAsManyAsItsPictureHasRows) {
  const auto prompt = ExpandImageTokens({1, 9, 5, 9, 2}, 9, {2, 3});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->tokens, ElementsAre(1, 9, 9, 5, 9, 9, 9, 2));
  EXPECT_THAT(prompt->positions, ElementsAre(1, 4));
  EXPECT_THAT(ExpandImageTokens({1, 2}, 9, {2}).status().message(), HasSubstr("0 image tokens (<image>, id 9) for 1 image"));
}

}  // namespace
}  // namespace merganser
