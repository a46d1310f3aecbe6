#include "worker/engine/aten_attention.h"

#include <algorithm>
#include <cmath>

#include "worker/engine/aten_forms.h"

namespace merganser {
namespace {

// `mask` is added to the scores.
at::Tensor WeightedValues(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const c10::optional<at::Tensor>& mask, const AttentionPlan& plan) {
  if (plan.softcap == 0) return at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, plan.scale);
  // As transformers' plain attention, which is the only one that it has for this.
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)).mul_(plan.scale);
  Softcap(scores, plan.softcap);
  if (mask) scores.add_(*mask);
  return at::matmul(at::softmax(scores, -1, at::kFloat).to(q.scalar_type()), v);
}

// One sequence at a time; the groups of query heads that share a key head become rows of one
// problem, which on CPU is several times faster than repeating the keys.
at::Tensor AttendSegment(const at::Tensor& q, const at::Tensor& cache, const Segment& segment, const AttentionPlan& plan,
                         int64_t window) {
  const int64_t slot_positions = plan.slot_positions;
  const int64_t kv_heads = cache.size(2);
  const int64_t dim = q.size(2);
  const int64_t group = q.size(1) / kv_heads;
  const int64_t rows = segment.length;
  const int64_t end = segment.past + rows;
  const int64_t begin = window > 0 ? std::max<int64_t>(0, segment.past + 1 - window) : 0;
  const at::Tensor slot = cache.narrow(0, segment.slot * slot_positions + begin, end - begin);
  const at::Tensor k = slot.select(1, 0).transpose(0, 1).unsqueeze(0);  // [1, kv_heads, keys, dim]
  const at::Tensor v = slot.select(1, 1).transpose(0, 1).unsqueeze(0);
  // [1, kv_heads, group * rows, dim]
  const at::Tensor folded =
      q.view({rows, kv_heads, group, dim}).permute({1, 2, 0, 3}).reshape({1, kv_heads, group * rows, dim});
  c10::optional<at::Tensor> mask;
  if (rows > 1) {
    const auto integers = at::TensorOptions().dtype(at::kLong).device(q.device());
    const at::Tensor query = at::arange(segment.past, end, integers).unsqueeze(1);
    const at::Tensor key = at::arange(begin, end, integers).unsqueeze(0);
    at::Tensor seen = key.le(query);
    if (window > 0) seen = seen.logical_and(key.gt(query - window));
    // An additive mask: ATen's CPU kernel takes it at full speed in every type.
    at::Tensor bias = at::zeros({rows, end - begin}, q.options());
    bias.masked_fill_(seen.logical_not(), -INFINITY);
    mask = bias.unsqueeze(0).expand({group, rows, end - begin}).reshape({group * rows, end - begin});
  }
  const at::Tensor out = WeightedValues(folded, k, v, mask, plan);
  return out.reshape({kv_heads, group, rows, dim}).permute({2, 0, 1, 3}).reshape({rows, kv_heads * group * dim});
}

// One token of each sequence, [first, first + rows) of q, by tables on the device alone: as many positions are read of each
// as the longest may have.
at::Tensor AttendSomeRows(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window,
                          int64_t first, int64_t rows) {
  const int64_t kv_heads = cache.size(2);
  const int64_t dim = q.size(2);
  const int64_t group = q.size(1) / kv_heads;
  const at::Tensor counts = plan.key_counts.narrow(0, first, rows).unsqueeze(1);
  const at::Tensor position = at::arange(plan.max_key, counts.options()).unsqueeze(0);
  at::Tensor unseen = position.ge(counts);
  if (window > 0) unseen = unseen.logical_or(position.lt(counts - window));
  const at::Tensor row = (plan.key_starts.narrow(0, first, rows).unsqueeze(1) + position).clamp_max(cache.size(0) - 1);
  at::Tensor read = cache.index_select(0, row.reshape({-1})).view({rows, plan.max_key, 2, kv_heads, dim});
  // What nobody wrote in this run may be anything, and NaN by zero is NaN.
  read.masked_fill_(unseen.view({rows, plan.max_key, 1, 1, 1}), 0);
  const at::Tensor k = read.select(2, 0).transpose(1, 2);  // [rows, kv_heads, keys, dim]
  const at::Tensor v = read.select(2, 1).transpose(1, 2);
  at::Tensor bias = at::zeros({rows, 1, 1, plan.max_key}, q.options());
  bias.masked_fill_(unseen.view({rows, 1, 1, plan.max_key}), -INFINITY);
  const at::Tensor out = WeightedValues(q.narrow(0, first, rows).reshape({rows, kv_heads, group, dim}), k, v,
                                        bias.expand({rows, kv_heads, group, plan.max_key}), plan);
  return out.reshape({rows, kv_heads * group * dim});
}

at::Tensor AttendRows(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window) {
  const int64_t rows = q.size(0);
  const int64_t row_bytes = plan.max_key * cache.stride(0) * static_cast<int64_t>(cache.element_size());
  const int64_t together = std::max<int64_t>(1, plan.gathered_bytes / row_bytes);
  if (together >= rows) return AttendSomeRows(q, cache, plan, window, 0, rows);
  at::Tensor out = at::empty({rows, q.size(1) * q.size(2)}, q.options());
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t some = std::min(together, rows - first);
    out.narrow(0, first, some).copy_(AttendSomeRows(q, cache, plan, window, first, some));
  }
  return out;
}

}  // namespace

bool CanUseFlashAttention(const at::TensorOptions& options, int64_t head_dim) {
  return options.device().is_cuda() && options.dtype() != at::kFloat && head_dim % 8 == 0 && head_dim <= 256;
}

at::Tensor AttentionTable(const std::vector<Segment>& segments, int64_t slot_positions) {
  const int64_t n = static_cast<int64_t>(segments.size());
  at::Tensor host = at::zeros({3, n + 1}, at::kInt);
  auto table = host.accessor<int32_t, 2>();
  for (int64_t i = 0; i < n; ++i) {
    table[0][i + 1] = table[0][i] + segments[i].length;
    table[1][i] = static_cast<int32_t>(segments[i].slot * slot_positions);
    table[2][i] = segments[i].past + segments[i].length;
  }
  table[1][n] = table[1][n - 1] + static_cast<int32_t>(slot_positions);
  return host;
}

AttentionPlan TableAttentionPlan(const at::Tensor& table, bool flash, int64_t max_query, int64_t max_key) {
  AttentionPlan plan;
  plan.flash = flash;
  plan.max_query = max_query;
  plan.max_key = max_key;
  plan.query_starts = table[0];
  plan.key_starts = table[1];
  plan.key_counts = table[2].narrow(0, 0, table.size(1) - 1);
  return plan;
}

AttentionPlan MakeAttentionPlan(const std::vector<Segment>& segments, int64_t slot_positions, bool flash,
                                c10::Device device) {
  int64_t max_query = 0;
  int64_t max_key = 0;
  for (const Segment& segment : segments) {
    max_query = std::max<int64_t>(max_query, segment.length);
    max_key = std::max<int64_t>(max_key, segment.past + segment.length);
  }
  if (flash || (!device.is_cpu() && max_query == 1)) {
    return TableAttentionPlan(AttentionTable(segments, slot_positions).to(device), flash, max_query, max_key);
  }
  AttentionPlan plan;
  plan.segments = segments;
  plan.slot_positions = slot_positions;
  plan.max_query = max_query;
  plan.max_key = max_key;
  return plan;
}

at::Tensor Attend(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window) {
  const int64_t tokens = q.size(0);
  const int64_t width = q.size(1) * q.size(2);
  if (plan.flash) {
    c10::optional<int64_t> left;
    c10::optional<int64_t> right;
    // A window also turns off the kernel's fast path for grouped heads, so it is given only where
    // it matters.
    if (window > 0 && window < plan.max_key) {
      left = window - 1;
      right = 0;
    }
    const at::Tensor out = std::get<0>(at::_flash_attention_forward(
        q, cache.select(1, 0), cache.select(1, 1), plan.query_starts, plan.key_starts, plan.max_query, plan.max_key,
        /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, plan.scale, left, right, plan.key_counts));
    return out.reshape({tokens, width});
  }
  if (plan.segments.empty()) return AttendRows(q, cache, plan, window);
  at::Tensor out = at::empty({tokens, width}, q.options());
  int64_t row = 0;
  for (const Segment& segment : plan.segments) {
    out.narrow(0, row, segment.length).copy_(AttendSegment(q.narrow(0, row, segment.length), cache, segment, plan, window));
    row += segment.length;
  }
  return out;
}

}  // namespace merganser
