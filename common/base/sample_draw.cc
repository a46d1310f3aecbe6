#include "common/base/sample_draw.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/rng.h"

namespace merganser {
namespace {

// A list that would not fit into memory is no list.
constexpr int64_t kListedMax = 100'000'000;

void Shuffle(Rng& rng, std::vector<int64_t>* samples) {
  for (size_t i = samples->size(); i > 1; --i) {
    std::swap((*samples)[i - 1], (*samples)[static_cast<size_t>(rng.Uniform() * static_cast<double>(i))]);
  }
}

}  // namespace

std::string SampledBenchmark(absl::string_view benchmark, int64_t draw) { return absl::StrCat(benchmark, "@", draw); }

std::string ListedBenchmark(absl::string_view benchmark, const std::vector<int64_t>& samples) {
  std::string text = absl::StrCat(benchmark, "[");
  for (size_t i = 0; i < samples.size();) {
    size_t last = i;
    while (last + 1 < samples.size() && samples[last + 1] == samples[last] + 1) ++last;
    absl::StrAppend(&text, i == 0 ? "" : ",", samples[i]);
    if (last > i) absl::StrAppend(&text, "-", samples[last]);
    i = last + 1;
  }
  return absl::StrCat(text, "]");
}

BenchmarkRequest ParseBenchmarkRequest(absl::string_view text) {
  const BenchmarkRequest whole{std::string(text), std::nullopt, std::nullopt};
  if (absl::EndsWith(text, "]")) {
    const size_t at = text.rfind('[');
    if (at == absl::string_view::npos) return whole;
    std::vector<int64_t> samples;
    for (const absl::string_view range : absl::StrSplit(text.substr(at + 1, text.size() - at - 2), ',', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(range, absl::MaxSplits('-', 1));
      int64_t first = 0, last = 0;
      if (!absl::SimpleAtoi(ends.first, &first)) return whole;
      if (!absl::SimpleAtoi(ends.second.empty() ? ends.first : ends.second, &last)) return whole;
      if (first < (samples.empty() ? 0 : samples.back() + 1) || last < first || last - first > kListedMax) return whole;
      for (int64_t i = first; i <= last; ++i) samples.push_back(i);
    }
    return {std::string(text.substr(0, at)), std::nullopt, std::move(samples)};
  }
  const size_t at = text.rfind('@');
  int64_t draw = 0;
  if (at == absl::string_view::npos || !absl::SimpleAtoi(text.substr(at + 1), &draw)) return whole;
  return {std::string(text.substr(0, at)), draw, std::nullopt};
}

std::vector<int64_t> RequestedSamples(const BenchmarkRequest& request, uint64_t seed, int64_t per_generation,
                                      int64_t total) {
  if (request.samples.has_value()) return *request.samples;
  return DrawSamples(seed, request.benchmark, request.draw.value_or(0), request.draw.has_value() ? per_generation : total,
                     total);
}

std::vector<int64_t> ShuffledSamples(std::vector<int64_t> samples, uint64_t seed, absl::string_view benchmark,
                                     int64_t round) {
  Rng rng(seed, StableHash64(absl::StrCat(benchmark, "@", round), StableHash64("race")));
  Shuffle(rng, &samples);
  return samples;
}

std::vector<int64_t> DrawSamples(uint64_t seed, absl::string_view benchmark, int64_t draw, int64_t count, int64_t total) {
  std::vector<int64_t> samples(static_cast<size_t>(std::max<int64_t>(total, 0)));
  std::iota(samples.begin(), samples.end(), 0);
  if (count >= total) return samples;
  // An epoch is one shuffle of all samples, cut into pieces of `count`.
  const int64_t per_epoch = std::max<int64_t>(1, total / std::max<int64_t>(count, 1));
  Rng rng(seed, StableHash64(absl::StrCat(benchmark, "@", draw / per_epoch), StableHash64("samples")));
  Shuffle(rng, &samples);
  const auto first = samples.begin() + (draw % per_epoch) * count;
  std::vector<int64_t> drawn(first, first + count);
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

}  // namespace merganser
