// Which samples of a benchmark a candidate is scored on, where that is not all of them.
#ifndef MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_
#define MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// How an assignment says "draw number `draw` of the samples of `benchmark`": "ja_math@7". Names of benchmarks have no '@'.
std::string SampledBenchmark(absl::string_view benchmark, int64_t draw);
// The other way round; no draw: all samples.
std::pair<std::string, std::optional<int64_t>> ParseSampledBenchmark(absl::string_view text);

// `count` of the numbers 0 .. total - 1 in ascending order, without repeats; all of them if count >= total. Depends on nothing
// but the arguments, so every worker draws the same. Draws of consecutive numbers go through a permutation of all samples
// before one comes again, as far as `count` divides `total`.
std::vector<int64_t> DrawSamples(uint64_t seed, absl::string_view benchmark, int64_t draw, int64_t count, int64_t total);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_
