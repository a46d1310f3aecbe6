// Which samples of a benchmark a candidate is scored on, where that is not all of them.
#ifndef MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_
#define MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// How an assignment says "draw number `draw` of the samples of `benchmark`": "ja_math@7". Names of benchmarks have no '@' or
// '['.
std::string SampledBenchmark(absl::string_view benchmark, int64_t draw);
// How it says "these samples": "ja_math[0,3-5]". REQUIRES: `samples` ascend, from 0 on.
std::string ListedBenchmark(absl::string_view benchmark, const std::vector<int64_t>& samples);

// The other way round. Neither: all samples.
struct BenchmarkRequest {
  std::string benchmark;
  std::optional<int64_t> draw;
  std::optional<std::vector<int64_t>> samples;
};
// What is neither a draw nor a list is a name, whatever it holds.
BenchmarkRequest ParseBenchmarkRequest(absl::string_view text);

// Those samples, ascending: the listed ones, the draw of `per_generation` (DrawSamples), or all of `total`. A listed one may
// be beyond `total`.
std::vector<int64_t> RequestedSamples(const BenchmarkRequest& request, uint64_t seed, int64_t per_generation, int64_t total);

// `count` of the numbers 0 .. total - 1 in ascending order, without repeats; all of them if count >= total. Depends on
// nothing but the arguments, so every worker draws the same. Draws of consecutive numbers go through a permutation of all
// samples before one comes again, as far as `count` divides `total`.
std::vector<int64_t> DrawSamples(uint64_t seed, absl::string_view benchmark, int64_t draw, int64_t count, int64_t total);

// `samples` in an order of their own for each (seed, benchmark, round): the one in which a race takes them.
std::vector<int64_t> ShuffledSamples(std::vector<int64_t> samples, uint64_t seed, absl::string_view benchmark,
                                     int64_t round);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_SAMPLE_DRAW_H_
