// Cosines and sines of the rotary position embedding.
#ifndef MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_
#define MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_

#include <cstdint>
#include <vector>

#include "worker/checkpoint/model_config.h"

namespace merganser {

// The rotation of one kind of layer, in fp32 as transformers computes it, for every scaling of
// rope_config.h. Both halves of a head use the same values. Immutable.
class RopeTable {
 public:
  // head_dim / 2 values each.
  struct Row {
    const float* cos;
    const float* sin;
  };

  RopeTable() = default;
  // For positions 0 .. positions-1.
  RopeTable(const RopeConfig& rope, int64_t head_dim, int64_t max_position_embeddings, int64_t positions);

  int64_t half() const { return half_; }
  // Whether a row depends on the length of its sequence (dynamic and longrope).
  bool depends_on_context() const { return depends_on_context_; }

  // The row of `position` in a sequence of `context` tokens. `scratch`: 2 * half() floats, which the
  // row may point into.
  Row At(int64_t position, int64_t context, float* scratch) const;

  // All rows of a table that does not depend on the context, or of short sequences: [positions,
  // half].
  const std::vector<float>& cos() const { return cos_; }
  const std::vector<float>& sin() const { return sin_; }

 private:
  // The frequencies of a sequence of `context` tokens.
  std::vector<double> Frequencies(int64_t context) const;
  void Fill(const std::vector<double>& frequencies, int64_t positions, std::vector<float>& cos,
            std::vector<float>& sin) const;

  RopeConfig rope_;
  int64_t head_dim_ = 0;
  int64_t half_ = 0;
  int64_t short_context_ = 0;  // sequences up to this length use cos_ and sin_
  bool depends_on_context_ = false;
  float factor_ = 1;  // of cos and sin
  std::vector<float> cos_, sin_;
  std::vector<float> long_cos_, long_sin_;  // longrope, beyond short_context_
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_
