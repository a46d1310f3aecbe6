// The engine as the rest of the worker knows it: prompts of token ids in, tokens out. No torch here.
#ifndef MERGANSER_WORKER_ENGINE_GENERATOR_H_
#define MERGANSER_WORKER_ENGINE_GENERATOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace merganser {

// How the next token is chosen. The defaults are greedy decoding: the largest logit, the smallest
// id among equals.
struct Sampling {
  // 0: greedy. Else logits are divided by it and a token is drawn. [0, 100].
  double temperature = 0;
  int top_k = 0;     // draw among the k largest logits (equals of the k-th stay); 0: all
  double top_p = 1;  // draw among the fewest tokens whose probabilities reach it; (0, 1]
  // Logits of tokens that the prompt or the output holds are divided by it if positive and
  // multiplied if negative (with beams: their log-probabilities). 1: none; (0, 100].
  double repetition_penalty = 1;
  // A draw depends on (seed, sample, step) alone, so it is the same in any batch. `sample` tells
  // requests of one seed apart.
  uint64_t seed = 0;
  uint64_t sample = 0;
};

// Beam search as transformers does it: scores are sums of log-probabilities, and a finished beam's
// is divided by length^length_penalty. With `count` 1 there is no search.
struct Beams {
  int count = 1;  // 1 .. 64; each takes a slot of the cache
  double length_penalty = 1;
  bool early_stopping = false;  // stop as soon as `count` beams have finished
};

// Rows that stand in a prompt instead of its tokens' embeddings: an image's features. The tokens at those positions only
// have to be in the vocabulary, and count for a repetition penalty as what they are.
struct PromptEmbeddings {
  int position = 0;               // of the first row in the prompt
  int rows = 0;                   // >= 1
  const float* values = nullptr;  // [rows, hidden_size]; outlives the call
};

// One prompt to be continued.
struct GenerationRequest {
  std::vector<int32_t> prompt;    // at least one token; special tokens (BOS) included by the caller
  int max_new_tokens = 0;         // >= 1 (>= 0 with score_prompt)
  std::vector<std::string> stop;  // generation ends as soon as the decoded text contains one; none may be empty
  Sampling sampling = {};
  Beams beams = {};  // count > 1: sampling's temperature must be 0
  // Generation::log_probs with this many alternatives per token. 0: none wanted; at most 100, and
  // not with beams.
  int log_probs = 0;
  // Called on the calling thread with each token as it is chosen (not the end-of-sequence token);
  // must be quick. Not with beams. May be null.
  std::function<void(int32_t token)> on_token = nullptr;
  std::vector<PromptEmbeddings> embeddings = {};  // by ascending position, not overlapping
  // Generation::prompt_log_probs is wanted, with `log_probs` alternatives per token; then
  // max_new_tokens may be 0. Not with beams.
  bool score_prompt = false;
};

enum class FinishReason {
  kEos,     // the model gave an end-of-sequence token
  kStop,    // the text contains a stop string
  kLength,  // max_new_tokens were generated
};

struct TokenLogProb {
  int32_t token = 0;
  double log_prob = 0;  // natural logarithm, before temperature, penalty and cuts
};

struct Generation {
  // Without the end-of-sequence token. With kStop they reach to the token that completed the stop
  // string; the caller cuts the text at the string.
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kLength;
  // With GenerationRequest::log_probs, for each of `tokens`: its own, and the most likely ones,
  // best first.
  struct Position {
    double log_prob = 0;
    std::vector<TokenLogProb> best;
  };
  std::vector<Position> log_probs;
  // With GenerationRequest::score_prompt, for each of the prompt's tokens but the first.
  std::vector<Position> prompt_log_probs;
  double beam_score = 0;  // with beams: the length-normalised score of the winner
};

// How likely the model finds `continuation` after `prompt`. Requests of one call that have the same
// prompt compute it once, wherever they stand (the choices of a multiple-choice item).
struct ScoringRequest {
  std::vector<int32_t> prompt;        // at least one token
  std::vector<int32_t> continuation;  // at least one token
};

// One token of a continuation.
struct TokenScore {
  double log_prob = 0;       // of the token
  int32_t best = 0;          // what greedy decoding would have given
  double best_log_prob = 0;  // and its log-probability
};

struct Score {
  double log_likelihood = 0;       // natural logarithm, summed over the continuation's tokens
  bool is_greedy = false;          // greedy decoding would give exactly the continuation
  int tokens = 0;                  // of the continuation
  std::vector<TokenScore> scores;  // one per token
};

// Of all calls since the weights were loaded. Prefill is the time on prompt tokens, decode that on
// generated ones; a step that holds both is divided by their numbers of tokens.
struct GenerationTimings {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int64_t prompt_tokens = 0;     // a prefix that requests share counts once
  int64_t generated_tokens = 0;  // end-of-sequence tokens included; with beams, those of all beams
};

// Called on the calling thread after each step, with the number of finished requests and of all;
// must be quick.
using GenerationProgress = std::function<void(size_t finished, size_t total)>;

// A model with its weights loaded. Thread-compatible: one call at a time.
class Generator {
 public:
  virtual ~Generator() = default;

  // One Generation per request, in their order. On the CPU in fp32 a result does not depend on the
  // other requests of the call; elsewhere it may, as far as rounding reaches. InvalidArgument: an
  // empty prompt, a token id outside the vocabulary, max_new_tokens < 1, a request longer than the
  // cache (the message names the request, its length and the bound), an empty stop string, a
  // sampling or beam setting out of range, or a model whose logits are not finite.
  // FailedPrecondition: no weights loaded, or stop strings without a way to decode. Cancelled:
  // `stop` was requested; nothing is returned. ResourceExhausted: device memory. Errors of the
  // decode function as they are.
  virtual absl::StatusOr<std::vector<Generation>> Generate(absl::Span<const GenerationRequest> requests,
                                                           std::stop_token stop, const GenerationProgress& progress) = 0;

  // One Score per request, in their order. Errors as Generate.
  virtual absl::StatusOr<std::vector<Score>> LogLikelihood(absl::Span<const ScoringRequest> requests, std::stop_token stop,
                                                           const GenerationProgress& progress) = 0;

  // Positions of one sequence: a request's prompt and new tokens must fit.
  virtual int64_t max_length() const = 0;

  virtual GenerationTimings timings() const = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_GENERATOR_H_
