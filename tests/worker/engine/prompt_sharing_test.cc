// What prompts of one call take from each other.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/worker/engine/engine_testing.h"
#include "worker/engine/decoder.h"

namespace merganser {
namespace {

std::vector<GenerationRequest> Requests(const std::vector<std::vector<int32_t>>& prompts, int max_new_tokens) {
  std::vector<GenerationRequest> requests;
  for (const auto& prompt : prompts) requests.push_back({prompt, max_new_tokens, {}});
  return requests;
}

class PromptSharingTest : public testing::TestWithParam<ComputeType> {
 protected:
  const ModelConfig config_ = SmallConfig();
  const RandomWeights weights_{config_, 1};
};

TEST_P(PromptSharingTest, PromptsGoOnFromWhatOthersComputed) {
  std::vector<std::vector<int32_t>> prompts;
  size_t needed = 0;
  for (int32_t first : {3, 30}) {  // two groups that begin alike, with no token common to both
    std::vector<int32_t> beginning(20);
    std::iota(beginning.begin(), beginning.end(), first);
    needed += beginning.size();
    for (const std::vector<int32_t>& end : {std::vector<int32_t>{60}, {61}, {61, 60, 62}, {61}, {60, 60}}) {
      prompts.push_back(beginning);
      prompts.back().insert(prompts.back().end(), end.begin(), end.end());
      needed += end.size();
    }
  }
  const auto requests = Requests(prompts, 6);
  const auto decoder = MakeDecoder(config_, weights_, {.compute = GetParam(), .max_sequences = 6, .threads = 2});
  const auto together = GenerateAll(*decoder, requests);
  EXPECT_LE(decoder->timings().prompt_tokens, static_cast<int64_t>(needed));
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(together[i].tokens, GenerateAll(*decoder, {requests[i]})[0].tokens) << i;
  }
}

TEST_P(PromptSharingTest, NothingIsSharedWhereRotationsDependOnTheLength) {
  ModelConfig config = config_;
  config.max_position_embeddings = 48;
  config.rope_scaling.type = RopeType::kDynamic;
  config.rope_scaling.factor = 2;
  std::vector<std::vector<int32_t>> prompts;
  for (const size_t length : {60, 64, 72}) {
    prompts.emplace_back(length);
    std::iota(prompts.back().begin(), prompts.back().begin() + 50, 3);
    std::iota(prompts.back().begin() + 50, prompts.back().end(), static_cast<int32_t>(length) - 40);
  }
  const auto requests = Requests(prompts, 6);
  const auto decoder = MakeDecoder(config, weights_, {.compute = GetParam(), .max_length = 96, .threads = 2});
  const auto together = GenerateAll(*decoder, requests);
  EXPECT_EQ(decoder->timings().prompt_tokens, 60 + 64 + 72);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(together[i].tokens, GenerateAll(*decoder, {requests[i]})[0].tokens) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Compute, PromptSharingTest,
                         testing::Values(ComputeType::kFp32, ComputeType::kBf16, ComputeType::kBf16Products),
                         [](const auto& info) {
                           return info.param == ComputeType::kFp32           ? "Kernels"
                                  : info.param == ComputeType::kBf16Products ? "Bf16Products"
                                                                             : "Aten";
                         });

}  // namespace
}  // namespace merganser
