// Requests that come while others run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "tests/worker/engine/engine_testing.h"

namespace merganser {
namespace {

using testing::HasSubstr;

struct Served : ServedRequest {
  explicit Served(GenerationRequest r) : wanted(std::move(r)) {}
  const GenerationRequest& request() const override { return wanted; }
  bool abandoned() const override { return abandon_after >= 0 && static_cast<int>(tokens.size()) >= abandon_after; }
  void OnPrompt(std::vector<Generation::Position> scores) override { prompt = std::move(scores); }
  void OnToken(int32_t token, bool eos, const Generation::Position* position) override {
    EXPECT_FALSE(end.has_value());
    if (!eos) tokens.push_back(token);
    if (position != nullptr) positions.push_back(*position);
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override { end = std::move(reason); }

  GenerationRequest wanted;
  int abandon_after = -1;
  std::vector<int32_t> tokens;
  std::vector<Generation::Position> prompt, positions;
  std::optional<absl::StatusOr<FinishReason>> end;
};

// Gives one request per step, so that each joins while others run, and stops when all have ended.
class OneByOne : public RequestFeed {
 public:
  explicit OneByOne(std::vector<std::shared_ptr<Served>> requests)
      : all(requests), waiting(requests.begin(), requests.end()) {}
  std::vector<std::shared_ptr<ServedRequest>> Take(size_t room, bool wait, std::stop_token) override {
    EXPECT_GT(room, 0u);
    if (waiting.empty()) {
      if (wait) stop.request_stop();
      return {};
    }
    std::vector<std::shared_ptr<ServedRequest>> one = {waiting.front()};
    waiting.pop_front();
    return one;
  }
  const std::vector<std::shared_ptr<Served>> all;
  std::deque<std::shared_ptr<Served>> waiting;
  std::stop_source stop;
};

std::vector<std::shared_ptr<Served>> Serve(Decoder& decoder, const std::vector<GenerationRequest>& requests) {
  std::vector<std::shared_ptr<Served>> served;
  for (const GenerationRequest& request : requests) served.push_back(std::make_shared<Served>(request));
  OneByOne feed(served);
  EXPECT_TRUE(decoder.Serve(feed, feed.stop.get_token()).ok());
  return served;
}

class ServingTest : public testing::Test {
 protected:
  std::unique_ptr<Decoder> Make(int sequences) {
    return MakeDecoder(config_, weights_, {.max_sequences = sequences, .max_batch_tokens = 16, .threads = 2});
  }
  ModelConfig config_ = SmallConfig();
  RandomWeights weights_{config_, 1};
};

TEST_F(ServingTest, GivesWhatACallOfItsOwnGives) {
  const auto decoder = Make(3);
  std::vector<GenerationRequest> requests;
  for (const auto& prompt : RandomPrompts(12, 3)) requests.push_back({prompt, 1 + static_cast<int>(requests.size()), {}});
  requests[4].sampling = {.temperature = 1, .seed = 9};
  requests[7].log_probs = 3;

  const auto served = Serve(*decoder, requests);

  for (size_t i = 0; i < requests.size(); ++i) {
    const Generation alone = GenerateAll(*decoder, {requests[i]})[0];
    ASSERT_TRUE(served[i]->end.has_value() && served[i]->end->ok()) << i;
    EXPECT_EQ(served[i]->tokens, alone.tokens) << i;
    EXPECT_EQ(**served[i]->end, alone.reason) << i;
    ASSERT_EQ(served[i]->positions.size(), alone.log_probs.size()) << i;
  }
}

// Few-shot prompts one after the other: only what differs is computed, and nothing changes by it.
TEST_F(ServingTest, ACommonBeginningIsComputedOnce) {
  const auto decoder = Make(2);
  const std::vector<int32_t> shots = {5, 9, 2, 7, 7, 1, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45};
  std::vector<GenerationRequest> requests;
  for (int32_t i = 0; i < 8; ++i) {
    GenerationRequest request{shots, 3, {}};
    request.prompt.insert(request.prompt.end(), {i, 50, i});
    request.log_probs = 1 + i % 2;
    request.score_prompt = i >= 2;
    requests.push_back(request);
  }
  ASSERT_TRUE(decoder->LoadWeights(weights_).ok());
  const auto served = Serve(*decoder, requests);
  const int64_t computed = decoder->timings().prompt_tokens;
  EXPECT_LT(computed, 8 * 25 - 3 * 22);

  for (size_t i = 0; i < requests.size(); ++i) {
    const Generation alone = GenerateAll(*decoder, {requests[i]})[0];
    EXPECT_EQ(served[i]->tokens, alone.tokens) << i;
    ASSERT_EQ(served[i]->prompt.size(), alone.prompt_log_probs.size()) << i;
    for (size_t t = 0; t < alone.prompt_log_probs.size(); ++t) {
      EXPECT_NEAR(served[i]->prompt[t].log_prob, alone.prompt_log_probs[t].log_prob, 1e-5) << i << " " << t;
      ASSERT_EQ(served[i]->prompt[t].best.size(), static_cast<size_t>(requests[i].log_probs)) << i << " " << t;
      EXPECT_EQ(served[i]->prompt[t].best[0].token, alone.prompt_log_probs[t].best[0].token) << i << " " << t;
    }
  }
}

TEST_F(ServingTest, PromptScoresAreThoseOfLogLikelihood) {
  const auto decoder = Make(4);
  std::vector<GenerationRequest> requests;
  std::vector<ScoringRequest> scoring;
  for (const auto& prompt : RandomPrompts(9, 5)) {
    if (prompt.size() < 2) continue;
    requests.push_back({prompt, 0, {}});
    requests.back().score_prompt = true;
    requests.back().log_probs = static_cast<int>(requests.size() % 3);
    scoring.push_back({{prompt[0]}, {prompt.begin() + 1, prompt.end()}});
  }
  const auto generations = GenerateAll(*decoder, requests);
  const auto scores = decoder->LogLikelihood(scoring, {}, nullptr);
  ASSERT_TRUE(scores.ok());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(generations[i].tokens.empty());
    ASSERT_EQ(generations[i].prompt_log_probs.size(), (*scores)[i].scores.size());
    for (size_t t = 0; t < (*scores)[i].scores.size(); ++t) {
      const auto& position = generations[i].prompt_log_probs[t];
      EXPECT_NEAR(position.log_prob, (*scores)[i].scores[t].log_prob, 1e-5);
      ASSERT_EQ(position.best.size(), static_cast<size_t>(requests[i].log_probs));
      if (position.best.empty()) continue;
      EXPECT_EQ(position.best[0].token, (*scores)[i].scores[t].best);
      // A client finds out whether a token was the best by comparing numbers.
      EXPECT_EQ(position.best[0].token == requests[i].prompt[t + 1], position.best[0].log_prob == position.log_prob);
    }
  }
}

TEST_F(ServingTest, AnAbandonedRequestMakesRoom) {
  const auto decoder = Make(1);
  auto first = std::make_shared<Served>(GenerationRequest{{1, 2, 3}, 60, {}});
  first->abandon_after = 4;
  auto second = std::make_shared<Served>(GenerationRequest{{4, 5}, 3, {}});
  OneByOne feed({first, second});
  ASSERT_TRUE(decoder->Serve(feed, feed.stop.get_token()).ok());
  EXPECT_EQ(first->tokens.size(), 4u);
  EXPECT_EQ(first->end->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(second->tokens, GenerateAll(*decoder, {second->wanted})[0].tokens);
}

TEST_F(ServingTest, ABadRequestHurtsNobodyElse) {
  const auto decoder = Make(2);
  std::vector<GenerationRequest> requests(3, GenerationRequest{{1, 2, 3}, 5, {}});
  requests[0].prompt = {64};
  requests[1].beams.count = 2;
  const auto served = Serve(*decoder, requests);
  EXPECT_THAT(served[0]->end->status().message(), HasSubstr("the prompt of the request has token 64 at 0, not in [0, 63]"));
  EXPECT_THAT(served[1]->end->status().message(), HasSubstr("beams"));
  EXPECT_EQ(served[2]->tokens.size(), 5u);
}

TEST_F(ServingTest, StoppingEndsWhatRuns) {
  const auto decoder = Make(2);
  auto running = std::make_shared<Served>(GenerationRequest{{1}, 90, {}});
  struct StopSoon : RequestFeed {
    std::vector<std::shared_ptr<ServedRequest>> Take(size_t, bool, std::stop_token) override {
      if (++calls == 5) stop.request_stop();
      return calls == 1 ? std::vector<std::shared_ptr<ServedRequest>>{request}
                        : std::vector<std::shared_ptr<ServedRequest>>{};
    }
    std::shared_ptr<ServedRequest> request;
    std::stop_source stop;
    int calls = 0;
  } feed;
  feed.request = running;
  ASSERT_TRUE(decoder->Serve(feed, feed.stop.get_token()).ok());
  EXPECT_EQ(running->end->status().code(), absl::StatusCode::kCancelled);
  EXPECT_GE(running->tokens.size(), 4u);
}

}  // namespace
}  // namespace merganser
