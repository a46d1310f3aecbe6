// Attention of packed sequences over the slots of a key-value cache, through ATen.
#ifndef MERGANSER_WORKER_ENGINE_ATEN_ATTENTION_H_
#define MERGANSER_WORKER_ENGINE_ATEN_ATTENTION_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "worker/engine/model_runner.h"

namespace merganser {

// What a step's layers share: the segments, or tables of them on the device, which flash attention and recorded steps use.
struct AttentionPlan {
  std::vector<Segment> segments;  // empty: the tables say it
  int64_t slot_positions = 0;     // of the cache; with segments
  double scale = 0;               // of the scores
  double softcap = 0;             // 0: none; not with flash
  bool flash = false;
  int64_t max_query = 0;  // new tokens of a segment at most
  int64_t max_key = 0;    // positions that a query sees at most
  // Without flash and segments: bytes of keys and values that are gathered at a time.
  int64_t gathered_bytes = int64_t{256} << 20;
  at::Tensor query_starts;  // int32 [segments + 1]
  at::Tensor key_starts;    // int32 [segments + 1]: where each segment's slot begins
  at::Tensor key_counts;    // int32 [segments]: positions in the slot, the new ones included
};

// Whether flash attention takes this: a CUDA device, two-byte floats, a head size that is a
// multiple of 8 up to 256.
bool CanUseFlashAttention(const at::TensorOptions& options, int64_t head_dim);

// The tables of `segments` as one int32 tensor [3, segments + 1] on the host: where each one's queries begin and (last) how
// many there are; where its slot begins; how many positions it sees, the new ones included (last: 0).
at::Tensor AttentionTable(const std::vector<Segment>& segments, int64_t slot_positions);

// By a table that is on the device, whose values may change until Attend. Without `flash`, segments have one new token each.
AttentionPlan TableAttentionPlan(const at::Tensor& table, bool flash, int64_t max_query, int64_t max_key);

// By tables where `flash` says so and, without it, on CUDA, where segments of one token each are many small problems.
AttentionPlan MakeAttentionPlan(const std::vector<Segment>& segments, int64_t slot_positions, bool flash,
                                c10::Device device);

// q [tokens, heads, head_dim], cache [rows, 2, kv_heads, head_dim] holding the
// new tokens already; a query sees `window` positions, itself included (0: all before it). Returns
// [tokens, heads * head_dim]. Throws what ATen throws.
at::Tensor Attend(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_ATTENTION_H_
