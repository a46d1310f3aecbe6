// What would be wrong on a GPU is found before the first token: the check passes what computes as flash attention should,
// and nothing else.
#include "worker/engine/flash_check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "worker/engine/device.h"

namespace merganser {
namespace {

using testing::HasSubstr;

// Attention by the tables alone, as a kernel has them, in fp32 and rounded at the end. What a kernel could get wrong:
struct Faults {
  bool ignores_counts = false;  // sees up to the bound
  bool ignores_window = false;
  bool ignores_starts = false;  // slots in the order of the segments
  int from_top = 0;             // causal from the first key on where a segment has more keys than queries
};

at::Tensor ByTables(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window,
                    const Faults& faults) {
  constexpr int64_t kPositions = 320;
  std::vector<Segment> segments;
  for (int64_t i = 0; i < plan.key_counts.size(0); ++i) {
    const int length = (plan.query_starts[i + 1] - plan.query_starts[i]).item<int>();
    const int keys = plan.key_counts[i].item<int>();
    const int slot = static_cast<int>(plan.key_starts[i].item<int>() / kPositions);
    segments.push_back({faults.ignores_starts ? static_cast<int>(std::min<int64_t>(i, 3)) : slot, keys - length, length, 0});
    if (slot == 4) continue;  // padding
    if (faults.ignores_counts) segments.back().past = static_cast<int>(plan.max_key) - length;
    if (faults.from_top > 0 && length > 1) segments.back().past = 0;
  }
  AttentionPlan exact = MakeAttentionPlan(segments, kPositions, false, c10::Device(c10::kCPU));
  exact.scale = plan.scale;
  const at::Tensor out = Attend(q.to(at::kFloat), cache.to(at::kFloat), exact, faults.ignores_window ? 0 : window);
  return out.to(q.scalar_type());
}

class FlashCheckTest : public testing::Test {
 protected:
  FlashCheckTest() { at::set_num_threads(1); }  // torch's threads spin when the machine is busy
};

absl::Status Check(at::ScalarType type, const Faults& faults, int64_t heads = 8, int64_t kv_heads = 2, int64_t dim = 64) {
  return CheckFlashAttention(at::TensorOptions().dtype(type), heads, kv_heads, dim,
                             [&](const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window) {
                               return ByTables(q, cache, plan, window, faults);
                             });
}

TEST_F(FlashCheckTest, AttentionThatRoundsAsItsTypeDoesPasses) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    EXPECT_EQ(Check(type, {}), absl::OkStatus());
    EXPECT_EQ(Check(type, {}, /*heads=*/4, /*kv_heads=*/4, /*dim=*/8), absl::OkStatus());
    EXPECT_EQ(Check(type, {}, /*heads=*/6, /*kv_heads=*/1, /*dim=*/256), absl::OkStatus());
  }
}

TEST_F(FlashCheckTest, WhatIsWrongIsSaidWithTheCase) {
  const auto message = [](const Faults& faults) { return std::string(Check(at::kBFloat16, faults).message()); };
  EXPECT_THAT(message({.ignores_counts = true}), HasSubstr("prompts: it differs from plain attention by nan"));
  EXPECT_THAT(message({.ignores_window = true}), HasSubstr("pieces of prompts in a window: it differs"));
  EXPECT_THAT(message({.ignores_starts = true}), HasSubstr("prompts: it differs"));
  EXPECT_THAT(message({.from_top = 1}), HasSubstr("pieces of prompts behind others: it differs"));
}

TEST_F(FlashCheckTest, OneKeyTooManyOrTooFewIsFound) {
  for (const int by : {-1, 1}) {
    const absl::Status status =
        CheckFlashAttention(at::TensorOptions().dtype(at::kBFloat16), 8, 2, 64,
                            [&](const at::Tensor& q, const at::Tensor& cache, AttentionPlan plan, int64_t window) {
                              return ByTables(q, cache, plan, window == 0 ? 0 : window + by, {});
                            });
    EXPECT_THAT(std::string(status.message()), HasSubstr("pieces of prompts in a window: it differs")) << by;
  }
}

TEST_F(FlashCheckTest, AKernelThatIsNotThereIsAnError) {
  // As the CPU: it has no variable-length flash attention.
  const absl::Status status = CheckFlashAttention(at::TensorOptions().dtype(at::kBFloat16), 8, 2, 64);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("checking flash attention: "));
}

// The form that fp32 and soft-capped attention have on a GPU, and recorded steps: single tokens by the tables.
TEST_F(FlashCheckTest, SingleTokensByTablesAreThoseOfSegments) {
  constexpr int64_t kPositions = 40;
  const std::vector<Segment> segments{{2, 30, 1, 0}, {0, 7, 1, 0}, {3, 0, 1, 0}, {1, 39, 1, 0}, {4, 12, 1, 0}};
  const at::Generator generator = at::detail::createCPUGenerator(2);
  const at::Tensor cache = at::full({5 * kPositions, 2, 2, 16}, std::numeric_limits<float>::quiet_NaN());
  for (const Segment& segment : segments) {
    cache.narrow(0, segment.slot * kPositions, segment.past + 1).normal_(0, 1, generator);
  }
  const at::Tensor q = at::randn({5, 6, 16}, generator);
  for (const double softcap : {0.0, 5.0}) {
    for (const int64_t window : {0, 9}) {
      AttentionPlan plain = MakeAttentionPlan(segments, kPositions, false, c10::Device(c10::kCPU));
      AttentionPlan tables = TableAttentionPlan(AttentionTable(segments, kPositions), false, 1, kPositions);
      plain.scale = tables.scale = 0.25;
      plain.softcap = tables.softcap = softcap;
      const at::Tensor want = Attend(q, cache, plain, window);
      const int64_t row_bytes = kPositions * 2 * 2 * 16 * static_cast<int64_t>(sizeof(float));
      for (const int64_t together : {1, 2, 3, 5}) {  // a step too large to be gathered at once
        tables.gathered_bytes = together * row_bytes;
        EXPECT_TRUE(at::allclose(Attend(q, cache, tables, window), want, 1e-5, 1e-6))
            << softcap << " " << window << " " << together;
      }
    }
  }
}

TEST_F(FlashCheckTest, AGpuPasses) {
  const c10::Device cuda(c10::kCUDA, 0);
  if (const absl::Status device = PrepareDevice(cuda); !device.ok()) GTEST_SKIP() << device;
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const auto options = at::TensorOptions().dtype(type).device(cuda);
    EXPECT_EQ(CheckFlashAttention(options, 32, 8, 128), absl::OkStatus());
    EXPECT_EQ(CheckFlashAttention(options, 32, 32, 128), absl::OkStatus());
    EXPECT_EQ(CheckFlashAttention(options, 14, 2, 64), absl::OkStatus());
    EXPECT_EQ(CheckFlashAttention(options, 8, 4, 256), absl::OkStatus());
    EXPECT_EQ(CheckFlashAttention(options, 6, 3, 40), absl::OkStatus());
  }
}

}  // namespace
}  // namespace merganser
