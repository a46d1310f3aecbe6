#include "worker/engine/flash_check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

// More than two of the kernel's tiles of keys.
constexpr int64_t kSlots = 4;
constexpr int64_t kPositions = 320;
// Outputs are averages of values around 1, in which two-byte rounding costs up to 0.015; a key too many or too few costs 0.1
// and more somewhere among the heads.
constexpr double kTolerance = 0.04;

struct Case {
  const char* what;
  std::vector<Segment> segments;
  int64_t window = 0;
  bool padded = false;
};

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>{
      {"prompts", {{3, 0, 70, 0}, {0, 0, 5, 0}, {2, 0, 1, 0}}},
      {"pieces of prompts behind others", {{2, 150, 90, 0}, {3, 299, 1, 0}, {0, 6, 40, 0}}},
      {"pieces of prompts in a window", {{1, 150, 90, 0}, {0, 6, 40, 0}, {3, 33, 2, 0}}, 24},
      {"single tokens", {{2, 300, 1, 0}, {0, 7, 1, 0}, {3, 0, 1, 0}}},
      {"single tokens in a window", {{2, 300, 1, 0}, {0, 7, 1, 0}, {3, 24, 1, 0}}, 24},
      {"single tokens, padded", {{3, 319, 1, 0}, {1, 127, 1, 0}, {0, 128, 1, 0}}, 0, true},
      {"single tokens in a window, padded", {{3, 319, 1, 0}, {1, 127, 1, 0}, {0, 128, 1, 0}}, 24, true},
  };
  return *cases;
}

absl::Status CheckCase(const Case& one, const at::TensorOptions& options, int64_t heads, int64_t kv_heads, int64_t head_dim,
                       at::Generator generator, AttendFunction attend) {
  std::vector<Segment> segments = one.segments;
  const int64_t own = static_cast<int64_t>(segments.size());
  if (one.padded) segments.resize(8, {static_cast<int>(kSlots), 0, 1, 0});
  // Slots, and behind them a row for padding.
  at::Tensor written = at::full({kSlots * kPositions + 1, 2, kv_heads, head_dim}, std::numeric_limits<float>::quiet_NaN());
  int64_t tokens = 0, own_tokens = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    written.narrow(0, segment.slot * kPositions, segment.past + segment.length).normal_(0, 1, generator);
    tokens += segment.length;
    if (static_cast<int64_t>(i) < own) own_tokens = tokens;
  }
  const at::Tensor queries = at::randn({tokens, heads + 2 * kv_heads, head_dim}, generator) * 2;
  // What both see, after its rounding. As in the engine, the heads of queries are a part of wider rows.
  const at::Tensor cache = written.to(options);
  const at::Tensor wide = queries.to(options);
  AttentionPlan plan = MakeAttentionPlan(segments, kPositions, /*flash=*/true, options.device());
  if (one.padded) plan.max_key = kPositions;
  plan.scale = 1 / std::sqrt(static_cast<double>(head_dim));
  const at::Tensor got = attend(wide.narrow(1, 0, heads), cache, plan, one.window).to(at::kCPU).to(at::kFloat);

  AttentionPlan exact = MakeAttentionPlan(segments, kPositions, /*flash=*/false, c10::Device(c10::kCPU));
  exact.scale = plan.scale;
  const at::Tensor want =
      Attend(wide.narrow(1, 0, heads).to(at::kCPU).to(at::kFloat), cache.to(at::kCPU).to(at::kFloat), exact, one.window);
  if (!got.sizes().equals(want.sizes())) return absl::InternalError(absl::StrCat(one.what, ": another shape"));
  const double difference = (got - want).narrow(0, 0, own_tokens).abs().max().item<float>();
  if (difference <= kTolerance) return absl::OkStatus();  // not so with NaN
  return absl::InternalError(absl::StrCat(one.what, ": it differs from plain attention by ", difference));
}

}  // namespace

absl::Status CheckFlashAttention(const at::TensorOptions& options, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                 AttendFunction attend) {
  return CatchTorchStatus("checking flash attention", [&]() -> absl::Status {
    c10::InferenceMode guard;
    // What a kernel does depends on how many heads share keys, and hardly on how often.
    constexpr int64_t kKeyHeadsMax = 4;
    const int64_t few = std::min(kv_heads, kKeyHeadsMax);
    const at::Generator generator = at::detail::createCPUGenerator(/*seed_val=*/1);
    for (const Case& one : Cases()) {
      MG_RETURN_IF_ERROR(CheckCase(one, options, heads / kv_heads * few, few, head_dim, generator, attend));
    }
    return absl::OkStatus();
  });
}

}  // namespace merganser
