#include "worker/vision/vision_config.h"

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

TEST(VisionConfigTest, AFileOfTheHubThatSaysLittleMeansTheDefaultsOfItsClass) {
  // As llava-hf/llava-1.5-7b-hf writes it: of the text model only what differs from Llama's defaults.
  constexpr char kJson[] = R"({"architectures": ["LlavaForConditionalGeneration"], "image_token_index": 32000,
    "text_config": {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096, "model_type": "llama",
                    "rms_norm_eps": 1e-05, "torch_dtype": "float16", "vocab_size": 32064},
    "torch_dtype": "float16", "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
      "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14},
    "vision_feature_layer": -2, "vision_feature_select_strategy": "default"})";
  const auto vision = VisionConfig::Parse(kJson, "config.json");
  ASSERT_TRUE(vision.ok()) << vision.status();
  EXPECT_FALSE(vision->next);
  EXPECT_EQ(vision->grid(), 24);
  EXPECT_EQ(vision->image_token_id, 32000);
  const auto text = ModelConfig::Parse(kJson, "config.json");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->architecture, "LlavaForConditionalGeneration");
  EXPECT_EQ(text->family, ModelFamily::kLlama);
  EXPECT_EQ(text->vocab_size, 32064);
  EXPECT_EQ(text->hidden_size, 4096);
  EXPECT_EQ(text->intermediate_size, 11008);
}

TEST(VisionConfigTest, ErrorsNameFileFieldValueAndBound) {
  const auto parse = [](const std::string& fields) {
    return VisionConfig::Parse(R"({"architectures": ["LlavaNextForConditionalGeneration"], )" + fields + "}", "c.json")
        .status();
  };
  EXPECT_THAT(parse(R"("vision_config": {"model_type": "siglip_vision_model"})").message(), HasSubstr("clip_vision_model"));
  EXPECT_THAT(parse(R"("vision_config": {"image_size": 30, "patch_size": 8})").message(),
              HasSubstr("multiple of patch_size, 8"));
  EXPECT_THAT(parse(R"("vision_feature_layer": -99)").message(), HasSubstr("-99"));
  EXPECT_THAT(parse(R"("image_grid_pinpoints": [[0, 5]])").message(), HasSubstr("image_grid_pinpoints"));
  EXPECT_TRUE(absl::IsUnimplemented(parse(R"("vision_feature_select_strategy": "full")")));
  EXPECT_THAT(VisionConfig::Parse(R"({"architectures": ["Blip2ForConditionalGeneration"]})", "c.json").status().message(),
              HasSubstr("LlavaForConditionalGeneration"));
}

TEST(VisionConfigTest, ProcessorsAreReadInEveryNotation) {
  const auto old = ImageProcessorConfig::Parse(R"({"size": 224, "crop_size": 224})", false, "p.json");
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_EQ(old->shortest_edge, 224);
  EXPECT_EQ(old->crop, (Resolution{224, 224}));
  const auto exact = ImageProcessorConfig::Parse(R"({"size": {"height": 24, "width": 32}})", false, "p.json");
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_EQ(exact->exact, (Resolution{24, 32}));
  // do_pad means a square to LLaVA-1.5's own processor, and batches to LLaVA-NeXT's.
  const auto pads = [](const std::string& type, bool next) {
    const auto config =
        ImageProcessorConfig::Parse(R"({"do_pad": true, "image_processor_type": ")" + type + "\"}", next, "p.json");
    return config.ok() ? config->pad_to_square ? "square" : "no" : std::string(config.status().message());
  };
  EXPECT_EQ(pads("LlavaImageProcessor", false), "square");
  EXPECT_EQ(pads("LlavaImageProcessorFast", false), "square");
  EXPECT_EQ(pads("LlavaNextImageProcessor", false), "no");
  EXPECT_EQ(pads("LlavaNextImageProcessor", true), "no");
  EXPECT_THAT(pads("CLIPImageProcessor", false), HasSubstr("do_pad"));
  EXPECT_THAT(ImageProcessorConfig::Parse(R"({"resample": 2})", false, "p.json").status().message(),
              HasSubstr("3 (bicubic)"));
  EXPECT_THAT(ImageProcessorConfig::Parse(R"({"image_std": [1, 0, 1]})", false, "p.json").status().message(),
              HasSubstr("above 0"));
}

}  // namespace
}  // namespace merganser
