#include "common/base/sample_draw.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/rng.h"

namespace merganser {

std::string SampledBenchmark(absl::string_view benchmark, int64_t draw) { return absl::StrCat(benchmark, "@", draw); }

std::pair<std::string, std::optional<int64_t>> ParseSampledBenchmark(absl::string_view text) {
  const size_t at = text.rfind('@');
  int64_t draw = 0;
  if (at == absl::string_view::npos || !absl::SimpleAtoi(text.substr(at + 1), &draw)) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, at)), draw};
}

std::vector<int64_t> DrawSamples(uint64_t seed, absl::string_view benchmark, int64_t draw, int64_t count, int64_t total) {
  std::vector<int64_t> samples(static_cast<size_t>(std::max<int64_t>(total, 0)));
  std::iota(samples.begin(), samples.end(), 0);
  if (count >= total) return samples;
  // An epoch is one shuffle of all samples, cut into pieces of `count`.
  const int64_t per_epoch = std::max<int64_t>(1, total / std::max<int64_t>(count, 1));
  Rng rng(seed, StableHash64(absl::StrCat(benchmark, "@", draw / per_epoch), StableHash64("samples")));
  for (size_t i = samples.size(); i > 1; --i) {
    std::swap(samples[i - 1], samples[static_cast<size_t>(rng.Uniform() * static_cast<double>(i))]);
  }
  const auto first = samples.begin() + (draw % per_epoch) * count;
  std::vector<int64_t> drawn(first, first + count);
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

}  // namespace merganser
