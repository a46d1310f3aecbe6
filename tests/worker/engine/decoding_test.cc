// Choosing tokens: sampling, penalties, beams, log-probabilities.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "tests/worker/engine/engine_testing.h"
#include "worker/engine/beam_search.h"
#include "worker/engine/sampler.h"

namespace merganser {
namespace {

using testing::ElementsAre;

TEST(SamplerTest, PenaltyMovesEachSeenTokenOnceTowardsLessLikely) {
  Sampler sampler(5);
  std::vector<float> scores{2, -2, 3, -3, 0};
  sampler.Penalize({0, 1, 0}, {1, 4}, 1.5, absl::MakeSpan(scores));
  EXPECT_THAT(scores, ElementsAre(2 / 1.5f, -2 * 1.5f, 3, -3, 0));
}

// Counts of 4000 draws.
std::map<int32_t, int> Draw(Sampling sampling, const std::vector<float>& logits) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  std::map<int32_t, int> counts;
  for (uint64_t step = 0; step < 4000; ++step) {
    std::vector<float> row = logits;
    ++counts[sampler.Draw(sampling, step, absl::MakeSpan(row))];
  }
  return counts;
}

TEST(SamplerTest, DrawsFollowTheProbabilities) {
  // Probabilities 0.1, 0.2, 0.3, 0.4; three standard deviations of 4000 draws are below 95.
  const std::vector<float> logits{std::log(1.f), std::log(2.f), std::log(3.f), std::log(4.f)};
  const auto counts = Draw({.temperature = 1, .seed = 7}, logits);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(counts.at(i), 400 * (i + 1), 95) << i;
}

TEST(SamplerTest, TemperatureDividesTheLogits) {
  // At temperature 0.5 the ratio 1 : 3 becomes 1 : 9.
  const auto counts = Draw({.temperature = 0.5, .seed = 1}, {0, std::log(3.f)});
  EXPECT_NEAR(counts.at(0), 400, 60);
}

TEST(SamplerTest, TopKKeepsTheLargestAndItsEquals) {
  const auto counts = Draw({.temperature = 1, .top_k = 2, .seed = 3}, {5, 1, 4, 4, 2});
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_EQ(counts.count(1) + counts.count(4), 0u);
}

TEST(SamplerTest, TopPKeepsTheFewestThatReachIt) {
  // 0.5, 0.3, 0.2: 0.5 alone does not reach 0.6, with 0.3 it does.
  const std::vector<float> logits{std::log(3.f), std::log(2.f), std::log(5.f)};
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.6, .seed = 3}, logits).count(1), 0u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.01, .seed = 3}, logits).at(2), 4000);
}

TEST(SamplerTest, OutOfRangeIsNamed) {
  EXPECT_EQ(Validate(Sampling{.temperature = -1}).message(), "temperature is -1, not in [0, 100]");
  EXPECT_EQ(Validate(Sampling{.top_k = -2}).message(), "top_k is -2, below 0");
  EXPECT_EQ(Validate(Sampling{.top_p = 0}).message(), "top_p is 0, not in (0, 1]");
  EXPECT_EQ(Validate(Sampling{.repetition_penalty = 0}).message(), "repetition_penalty is 0, not in (0, 100]");
  EXPECT_EQ(Validate(Beams{.count = 65}).message(), "beams is 65, not in [1, 64]");
  EXPECT_EQ(Validate(Beams{.length_penalty = std::nan("")}).message(), "length_penalty is nan, not in [-100, 100]");
}

TEST(BeamSearchTest, BestSumOfLogProbabilitiesWinsOverGreedy) {
  // Two steps over three tokens: greedy takes 0 (ln 0.5) and then at best ln 0.4; 1 then 2 is
  // better.
  BeamSearch search({.count = 2, .length_penalty = 0}, 2, {}, nullptr);
  const auto ln = [](std::vector<float> p) {
    for (float& x : p) x = std::log(x);
    return p;
  };
  EXPECT_FALSE(*search.Advance(ln({0.5, 0.4, 0.1}), 3));
  ASSERT_EQ(search.beams().size(), 2u);
  EXPECT_THAT(search.beams()[0].tokens, ElementsAre(0));
  EXPECT_THAT(search.beams()[1].tokens, ElementsAre(1));
  EXPECT_TRUE(*search.Advance(ln({0.4, 0.3, 0.3, 0.05, 0.05, 0.9}), 3));
  EXPECT_THAT(search.Result().tokens, ElementsAre(1, 2));
  EXPECT_NEAR(search.Result().beam_score, std::log(0.36), 1e-6);
}

TEST(BeamSearchTest, EndOfSequenceIsNotAmongTheTokens) {
  BeamSearch search({.count = 2}, 10, {2}, nullptr);
  EXPECT_FALSE(*search.Advance(std::vector<float>{-1, -2, -9}, 3));
  // Both beams end at once: nothing that lives can become better than the worst of them.
  EXPECT_TRUE(*search.Advance(std::vector<float>{-50, -60, -0.1, -50, -60, -0.1}, 3));
  EXPECT_THAT(search.Result().tokens, ElementsAre(0));
  EXPECT_EQ(search.Result().reason, FinishReason::kEos);
}

TEST(BeamSearchTest, StopStringsEndABeam) {
  BeamSearch search({.count = 1, .early_stopping = true}, 10, {},
                    [](absl::Span<const int32_t> t) { return absl::StatusOr<bool>(t.back() == 1); });
  EXPECT_TRUE(*search.Advance(std::vector<float>{-3, -1, -2}, 3));
  EXPECT_THAT(search.Result().tokens, ElementsAre(1));
  EXPECT_EQ(search.Result().reason, FinishReason::kStop);
}

class DecodingTest : public testing::TestWithParam<ComputeType> {
 protected:
  std::unique_ptr<Decoder> Make(EngineOptions options = {}) {
    options.compute = GetParam();
    options.threads = GetParam() == ComputeType::kFp32 ? 2 : 1;  // torch's threads spin when the machine is busy
    return MakeDecoder(config_, weights_, options);
  }
  const ModelConfig config_ = SmallConfig();
  const RandomWeights weights_{config_, 1};
};

TEST_P(DecodingTest, SampledTokensDependOnSeedAndSampleOnly) {
  const auto decoder = Make();
  std::vector<GenerationRequest> requests;
  for (const auto& prompt : RandomPrompts(6, 11)) {
    GenerationRequest request{prompt, 12, {}};
    request.sampling = {.temperature = 0.9, .top_k = 20, .top_p = 0.95, .seed = 5};
    request.sampling.sample = requests.size();
    requests.push_back(request);
  }
  const auto together = GenerateAll(*decoder, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(GenerateAll(*decoder, {requests[i]})[0].tokens, together[i].tokens) << i;
  }
  GenerationRequest other = requests[0];
  other.sampling.seed = 6;
  EXPECT_NE(GenerateAll(*decoder, {other})[0].tokens, together[0].tokens);
  other = requests[0];
  other.sampling.sample = 99;
  EXPECT_NE(GenerateAll(*decoder, {other})[0].tokens, together[0].tokens);
}

TEST_P(DecodingTest, HugePenaltyNeverRepeats) {
  GenerationRequest request{{4, 9, 2}, 20, {}};
  request.sampling.repetition_penalty = 100;
  const auto tokens = GenerateAll(*Make(), {request})[0].tokens;
  std::vector<int32_t> all = request.prompt;
  all.insert(all.end(), tokens.begin(), tokens.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
}

TEST_P(DecodingTest, LogProbsBelongToTheTokens) {
  const auto decoder = Make();
  GenerationRequest request{{4, 9, 2}, 6, {}};
  request.log_probs = 3;
  const Generation generation = GenerateAll(*decoder, {request})[0];
  ASSERT_EQ(generation.log_probs.size(), 6u);
  const auto scores = decoder->LogLikelihood({{request.prompt, generation.tokens}}, {}, nullptr);
  ASSERT_TRUE(scores.ok());
  for (size_t i = 0; i < 6; ++i) {
    const auto& position = generation.log_probs[i];
    ASSERT_EQ(position.best.size(), 3u);
    EXPECT_EQ(position.best[0].token, generation.tokens[i]);  // greedy
    EXPECT_EQ(position.best[0].log_prob, position.log_prob);
    EXPECT_GE(position.best[1].log_prob, position.best[2].log_prob);
    const double tolerance = GetParam() == ComputeType::kFp32 ? 1e-5 : 0.1;
    EXPECT_NEAR(position.log_prob, (*scores)[0].scores[i].log_prob, tolerance);
    EXPECT_EQ((*scores)[0].scores[i].best, generation.tokens[i]);
  }
  EXPECT_TRUE((*scores)[0].is_greedy);
}

TEST_P(DecodingTest, TokensAreStreamedAsTheyCome) {
  std::vector<int32_t> streamed;
  GenerationRequest request{{4, 9, 2}, 6, {}};
  request.on_token = [&](int32_t token) { streamed.push_back(token); };
  EXPECT_EQ(GenerateAll(*Make(), {request})[0].tokens, streamed);
}

TEST_P(DecodingTest, OneBeamAmongOthersIsTheSearchAlone) {
  // Beams of several requests share steps, slots and a prefix with greedy requests.
  EngineOptions options{.eos_token_ids = {5, 11, 40}};
  options.max_sequences = 9;
  options.max_batch_tokens = 24;
  const auto decoder = Make(options);
  std::vector<GenerationRequest> requests;
  for (auto prompt : RandomPrompts(6, 3)) {
    for (int i = 40; i > 0; --i) prompt.insert(prompt.begin(), i);
    GenerationRequest request{prompt, 12, {}};
    if (requests.size() % 3 != 0) request.beams.count = 3 + static_cast<int>(requests.size() % 2);
    if (requests.size() % 2 == 0) request.sampling.repetition_penalty = 1.5;
    requests.push_back(request);
  }
  const auto together = GenerateAll(*decoder, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(GenerateAll(*decoder, {requests[i]})[0].tokens, together[i].tokens) << i;
  }
}

TEST_P(DecodingTest, BeamScoreIsThatOfItsTokens) {
  const auto decoder = Make();
  GenerationRequest request{{4, 9, 2}, 6, {}};
  const auto score = [&](const std::vector<int32_t>& tokens) {
    return (*decoder->LogLikelihood({{request.prompt, tokens}}, {}, nullptr))[0].log_likelihood;
  };
  const double greedy = score(GenerateAll(*decoder, {request})[0].tokens);
  request.beams = {.count = 8};
  const Generation best = GenerateAll(*decoder, {request})[0];
  ASSERT_EQ(best.tokens.size(), 6u);
  const double tolerance = GetParam() == ComputeType::kFp32 ? 1e-5 : 0.2;
  EXPECT_NEAR(best.beam_score, score(best.tokens) / 6, tolerance);
  EXPECT_GE(score(best.tokens), greedy - tolerance);
}

TEST_P(DecodingTest, ChoicesOfOnePromptAreScoredAsIfAlone) {
  EngineOptions options;
  options.max_sequences = 3;
  options.max_batch_tokens = 16;
  const auto decoder = Make(options);
  std::vector<ScoringRequest> requests;
  for (const auto& prompt : RandomPrompts(5, 4)) {
    for (const std::vector<int32_t>& choice : {std::vector<int32_t>{7}, {3, 60, 1, 2}, {3}, {9, 8}}) {
      requests.push_back({prompt, choice});
    }
  }
  const auto together = decoder->LogLikelihood(requests, {}, nullptr);
  ASSERT_TRUE(together.ok()) << together.status();
  int64_t unique = 0;
  for (size_t i = 0; i < requests.size(); i += 4) unique += requests[i].prompt.size() + 3 + 1;
  EXPECT_EQ(decoder->timings().prompt_tokens, unique);  // each prompt once
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto alone = decoder->LogLikelihood({requests[i]}, {}, nullptr);
    const double tolerance = GetParam() == ComputeType::kFp32 ? 0 : 0.1;
    EXPECT_NEAR((*together)[i].log_likelihood, (*alone)[0].log_likelihood, tolerance) << i;
    EXPECT_EQ((*together)[i].tokens, static_cast<int>(requests[i].continuation.size()));
  }
}

TEST_P(DecodingTest, ChoicesWithACommonBeginningAreScoredAsIfAlone) {
  // With the kernels a tree in one pass; the longest contexts leave no room for all of it at once. Steps end within trees.
  for (const int batch : {7, 2048}) {
    EngineOptions options;
    options.max_sequences = 3;
    options.max_batch_tokens = batch;
    const auto decoder = Make(options);
    std::vector<ScoringRequest> requests;
    for (const auto& prompt : RandomPrompts(7, 4)) {
      for (const std::vector<int32_t>& choice : std::vector<std::vector<int32_t>>{{3, 60, 1, 2},
                                                                                  {7},
                                                                                  {3, 60, 5, 6, 7},
                                                                                  {9, 8},
                                                                                  {3, 60, 1, 4},
                                                                                  {9, 8, 8, 9, 1, 1},
                                                                                  {3, 60, 1, 2},
                                                                                  {12, 1, 2},
                                                                                  {13, 2, 1}}) {
        requests.push_back({prompt, choice});
      }
    }
    const auto together = decoder->LogLikelihood(requests, {}, nullptr);
    ASSERT_TRUE(together.ok()) << together.status();
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto alone = decoder->LogLikelihood({requests[i]}, {}, nullptr);
      const double tolerance = GetParam() == ComputeType::kFp32 ? 0 : 0.1;
      ASSERT_EQ((*together)[i].scores.size(), (*alone)[0].scores.size());
      for (size_t t = 0; t < (*alone)[0].scores.size(); ++t) {
        EXPECT_NEAR((*together)[i].scores[t].log_prob, (*alone)[0].scores[t].log_prob, tolerance) << i << " " << t;
      }
      EXPECT_EQ((*together)[i].is_greedy, (*alone)[0].is_greedy);
    }
  }
}

TEST_P(DecodingTest, BadDecodingSettingsNameTheRequest) {
  const auto decoder = Make({.max_sequences = 4});
  const auto message = [&](auto change) {
    GenerationRequest request{{1}, 2, {}};
    change(request);
    return std::string(decoder->Generate({request}, {}, nullptr).status().message());
  };
  EXPECT_EQ(message([](auto& r) { r.sampling.top_p = 2; }), "request 0: sampling: top_p is 2, not in (0, 1]");
  EXPECT_EQ(message([](auto& r) { r.beams.count = 5; }),
            "request 0 asks for 5 beams, more than the engine's max_sequences 4");
  EXPECT_EQ(message([](auto& r) { r.log_probs = 101; }), "request 0 asks for 101 log_probs, not in [0, 100]");
  EXPECT_EQ(message([](auto& r) {
              r.beams.count = 2;
              r.sampling.temperature = 1;
            }),
            "request 0 asks for beams together with a temperature, log_probs, score_prompt or on_token");
}

INSTANTIATE_TEST_SUITE_P(Compute, DecodingTest, testing::Values(ComputeType::kFp32, ComputeType::kBf16),
                         [](const auto& info) { return info.param == ComputeType::kFp32 ? "Kernels" : "Aten"; });

}  // namespace
}  // namespace merganser
