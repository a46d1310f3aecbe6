// Choosing the next token from a row of logits.
#ifndef MERGANSER_WORKER_ENGINE_SAMPLER_H_
#define MERGANSER_WORKER_ENGINE_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/engine/generator.h"

namespace merganser {

// InvalidArgument naming the field, its value and the bound.
absl::Status Validate(const Sampling& sampling);
absl::Status Validate(const Beams& beams);

// Index of the largest value, the smallest among equals.
int32_t ArgMax(absl::Span<const float> scores);

// Natural logarithms of the softmax, in place and in fp32: x - max - ln(sum(exp(x - max))).
void LogSoftmax(absl::Span<float> scores);

// The `count` largest of `log_probs`, best first, the smaller id first among equals.
std::vector<TokenLogProb> MostLikely(absl::Span<const float> log_probs, int count);

// Lives as long as one call of Generate. Thread-compatible.
class Sampler {
 public:
  explicit Sampler(int64_t vocab_size) : seen_(vocab_size, 0) {}

  // transformers' repetition penalty: each token of `before` or `after` once, scores below 0 are
  // multiplied by `penalty` and others divided.
  void Penalize(absl::Span<const int32_t> before, absl::Span<const int32_t> after, double penalty, absl::Span<float> scores);

  // Draws a token by temperature, top_k and top_p, in this order, as transformers applies them.
  // Overwrites `logits`. REQUIRES: sampling.temperature > 0.
  int32_t Draw(const Sampling& sampling, uint64_t step, absl::Span<float> logits);

 private:
  std::vector<uint32_t> seen_;  // per token, the call of Penalize that saw it last
  uint32_t call_ = 0;
  std::vector<int32_t> order_;  // workspace of Draw
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SAMPLER_H_
