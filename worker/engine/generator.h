// What the rest of the worker knows of the engine: prompts of token ids in, tokens out. No torch
// here.
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

// One prompt to be continued greedily: at each step the token with the largest logit, the smallest
// id among equals.
struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token; special tokens (BOS) included by the caller
  int max_new_tokens = 0;       // >= 1
  std::vector<std::string>
      stop;  // generation ends as soon as the decoded text contains one; none may be empty
};

enum class FinishReason {
  kEos,     // the model gave an end-of-sequence token
  kStop,    // the text contains a stop string
  kLength,  // max_new_tokens were generated
};

struct Generation {
  // Without the end-of-sequence token. With kStop they reach to the token that completed the stop
  // string; the caller cuts the text at the string.
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kLength;
};

// How likely the model finds `continuation` after `prompt`.
struct ScoringRequest {
  std::vector<int32_t> prompt;        // at least one token
  std::vector<int32_t> continuation;  // at least one token
};

struct Score {
  double log_likelihood = 0;  // natural logarithm, summed over the continuation's tokens
  bool is_greedy = false;     // greedy decoding would give exactly the continuation
  int tokens = 0;             // of the continuation
};

// Of all calls since the weights were loaded. Prefill is the time on prompt tokens, decode that on
// generated ones; a step that holds both is divided by their numbers of tokens.
struct GenerationTimings {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int64_t prompt_tokens = 0;     // a prefix that requests share counts once
  int64_t generated_tokens = 0;  // end-of-sequence tokens included
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
  // cache (the message names the request, its length and the bound), an empty stop string, or a
  // model whose logits are not finite. FailedPrecondition: no weights loaded, or stop strings
  // without a way to decode. Cancelled: `stop` was requested; nothing is returned.
  // ResourceExhausted: device memory. Errors of the decode function as they are.
  virtual absl::StatusOr<std::vector<Generation>> Generate(
      absl::Span<const GenerationRequest> requests, std::stop_token stop,
      const GenerationProgress& progress) = 0;

  // One Score per request, in their order. Errors as Generate.
  virtual absl::StatusOr<std::vector<Score>> LogLikelihood(
      absl::Span<const ScoringRequest> requests, std::stop_token stop,
      const GenerationProgress& progress) = 0;

  virtual GenerationTimings timings() const = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_GENERATOR_H_
