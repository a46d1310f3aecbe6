#include "worker/engine/aten_rope.h"

#include <algorithm>

namespace merganser {

AtenRope::AtenRope(const RopeConfig& rope, const ModelConfig& config, int64_t max_length, const at::TensorOptions& options)
    : table_(rope, config.head_dim, config.max_position_embeddings, max_length), options_(options) {
  if (table_.depends_on_context()) return;
  const auto tensor = [&](const std::vector<float>& values) {
    return at::from_blob(const_cast<float*>(values.data()), {max_length, 1, table_.half()}, at::kFloat);
  };
  const at::Tensor cos = tensor(table_.cos());
  const at::Tensor sin = tensor(table_.sin());
  all_.cos = at::cat({cos, cos}, -1).to(options_);
  all_.sin = at::cat({-sin, sin}, -1).to(options_);
}

Rotation AtenRope::At(const at::Tensor& positions) const {
  return {all_.cos.index_select(0, positions), all_.sin.index_select(0, positions)};
}

Rotation AtenRope::Of(const std::vector<Segment>& segments) const {
  const int64_t half = table_.half();
  int64_t tokens = 0;
  for (const Segment& segment : segments) tokens += segment.length;
  at::Tensor cos = at::empty({tokens, 1, half}, at::kFloat);
  at::Tensor sin = at::empty({tokens, 1, half}, at::kFloat);
  std::vector<float> scratch(2 * half);
  float* cos_row = cos.data_ptr<float>();
  float* sin_row = sin.data_ptr<float>();
  for (const Segment& segment : segments) {
    const int64_t context = std::max(segment.context, segment.past + segment.length);
    for (int i = 0; i < segment.length; ++i, cos_row += half, sin_row += half) {
      const RopeTable::Row row = table_.At(segment.past + i, context, scratch.data());
      std::copy_n(row.cos, half, cos_row);
      std::copy_n(row.sin, half, sin_row);
    }
  }
  return {at::cat({cos, cos}, -1).to(options_), at::cat({-sin, sin}, -1).to(options_)};
}

}  // namespace merganser
