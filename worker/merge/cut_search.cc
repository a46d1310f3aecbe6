#include "worker/merge/cut_search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "worker/merge/avx2.h"
#include "worker/merge/magnitude_index.h"
#include "worker/merge/prefetch.h"

namespace merganser {
namespace {

constexpr int64_t kBlock = 1024;
constexpr int64_t kRun = 65536;  // elements that one thread looks through at a time
constexpr uint32_t kMagnitude = 0x7fffffffu;

// The threshold is believed to lie in [low, high].
struct Bracket {
  uint32_t low = 0;
  uint32_t high = kMagnitude;
};

// Of one run and query: how many magnitudes are above the bracket, at its ends, and within; the latter are entries
// [first, first + within) of the thread's list.
struct Counts {
  int32_t above = 0, high = 0, within = 0, low = 0;
  int32_t thread = 0;
  int64_t first = 0;
};

inline uint32_t Magnitude(float x) { return std::bit_cast<uint32_t>(x) & kMagnitude; }

// Adds the counts of x[begin, count) to `counts`, and appends to `within` (room for all of them).
void CountOneByOne(const float* x, int64_t begin, int64_t count, const Bracket& b, Counts& counts, uint32_t* within) {
  for (int64_t i = begin; i < count; ++i) {
    const uint32_t m = Magnitude(x[i]);
    counts.above += m > b.high;
    counts.high += m == b.high;
    counts.low += m == b.low && b.low != b.high;
    within[counts.within] = m;
    counts.within += m > b.low && m < b.high;
  }
}

#ifdef MG_AVX2
// For each set of kept lanes of eight, which lanes come first: as bytes.
constexpr std::array<uint64_t, 256> PackTable() {
  std::array<uint64_t, 256> table{};
  for (int mask = 0; mask < 256; ++mask) {
    int to = 0;
    for (uint64_t lane = 0; lane < 8; ++lane) {
      if (mask >> lane & 1) table[mask] |= lane << (8 * to++);
    }
  }
  return table;
}
constexpr std::array<uint64_t, 256> kPack = PackTable();

MG_TARGET_AVX2 inline int32_t SumOfLanes(__m256i lanes) {
  alignas(32) int32_t each[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(each), lanes);
  int32_t sum = 0;
  for (const int32_t lane : each) sum += lane;
  return sum;
}

// Whole eights; returns how many elements that were. `within` has room for 8 more than there are.
MG_TARGET_AVX2 int64_t CountAvx2(const float* x, int64_t count, const Bracket& b, Counts& counts, uint32_t* within) {
  const __m256i low = _mm256_set1_epi32(static_cast<int>(b.low)), high = _mm256_set1_epi32(static_cast<int>(b.high));
  __m256i above = _mm256_setzero_si256(), at_high = above, at_low = above;
  uint32_t* out = within + counts.within;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i m = _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), _mm256_set1_epi32(kMagnitude));
    // Magnitudes have no sign bit: signed comparison is right.
    above = _mm256_sub_epi32(above, _mm256_cmpgt_epi32(m, high));
    at_high = _mm256_sub_epi32(at_high, _mm256_cmpeq_epi32(m, high));
    at_low = _mm256_sub_epi32(at_low, _mm256_cmpeq_epi32(m, low));
    const __m256i inside = _mm256_and_si256(_mm256_cmpgt_epi32(m, low), _mm256_cmpgt_epi32(high, m));
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(inside));
    const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(kPack[mask])));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(m, order));
    out += std::popcount(static_cast<uint32_t>(mask));
  }
  counts.above += SumOfLanes(above);
  counts.high += SumOfLanes(at_high);
  if (b.low != b.high) counts.low += SumOfLanes(at_low);
  counts.within = static_cast<int32_t>(out - within);
  return i;
}
#endif

void Count(const float* x, int64_t count, const Bracket& bracket, Counts& counts, uint32_t* within) {
  int64_t done = 0;
#ifdef MG_AVX2
  if (HasAvx2()) done = CountAvx2(x, count, bracket, counts, within);
#endif
  CountOneByOne(x, done, count, bracket, counts, within);
}

// From a sample of eights that are spread over the tensor.
Bracket BracketOf(const CutQuery& query) {
  constexpr int64_t kEights = 2048, kSample = 8 * kEights;
  const int64_t count = query.base->count;
  if (count < 4 * kSample) return {};
  std::vector<uint32_t> sample(kSample);
  const int64_t stride = count / kEights;
  uint64_t state = 1;
  for (int64_t e = 0; e < kEights; ++e) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const int64_t at = e * stride + static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(stride - 7));
    float x[8];
    LoadDifference(*query.base, *query.source, at, 8, x);
    for (int i = 0; i < 8; ++i) sample[8 * e + i] = Magnitude(x[i]);
  }
  const double share = static_cast<double>(query.kept) / static_cast<double>(count);
  // Neighbours are alike, so the sample is worth less than its size: six standard deviations and then some.
  const auto margin = static_cast<int64_t>(6 * std::sqrt(kSample * share * (1 - share))) + 32;
  const auto rank = static_cast<int64_t>(share * kSample);  // from the largest magnitude down
  const auto at_rank = [&](int64_t wanted) {
    std::nth_element(sample.begin(), sample.begin() + wanted, sample.end(), std::greater<>());
    return sample[wanted];
  };
  Bracket bracket;
  if (rank + margin < kSample) bracket.low = at_rank(rank + margin);
  if (rank - margin >= 0) bracket.high = at_rank(rank - margin);
  return bracket;
}

// Index of the `wanted`-th (from 1) magnitude equal to `threshold` in the run that begins at `first`.
int64_t IndexOfEqual(const CutQuery& query, int64_t first, uint32_t threshold, int64_t wanted) {
  float x[kBlock];
  for (int64_t at = first; at < query.base->count; at += kBlock) {
    const int64_t n = std::min(kBlock, query.base->count - at);
    LoadDifference(*query.base, *query.source, at, n, x);
    for (int64_t i = 0; i < n; ++i) {
      if (Magnitude(x[i]) == threshold && --wanted == 0) return at + i;
    }
  }
  return -1;
}

// False if the bracket does not hold the threshold.
bool Answer(const CutQuery& query, const Bracket& bracket, absl::Span<const Counts> runs,
            absl::Span<const std::vector<uint32_t>> lists) {
  int64_t above = 0, high = 0, within = 0, low = 0;
  for (const Counts& run : runs) above += run.above, high += run.high, within += run.within, low += run.low;
  int64_t left = query.kept - above;  // to keep at the threshold and above it, within the bracket
  if (left <= 0 || left > high + within + low) return false;
  uint32_t threshold = bracket.high;
  const auto entries = [&](const Counts& run) {
    return absl::MakeConstSpan(lists[run.thread]).subspan(run.first, run.within);
  };
  if (left > high) {
    left -= high;
    threshold = bracket.low;
    if (left > within) {
      left -= within;
    } else {
      std::vector<uint32_t> all;
      all.reserve(within);
      for (const Counts& run : runs) all.insert(all.end(), entries(run).begin(), entries(run).end());
      const auto last = all.begin() + (left - 1);
      std::nth_element(all.begin(), last, all.end(), std::greater<>());
      threshold = *last;
      left -= std::count_if(all.begin(), last, [&](uint32_t m) { return m > threshold; });
    }
  }
  if (threshold == 0) {
    *query.cut = {};
    return true;
  }
  const auto equal_in = [&](const Counts& run) -> int64_t {
    if (threshold == bracket.high) return run.high;
    if (threshold == bracket.low) return run.low;
    const auto own = entries(run);
    return std::count(own.begin(), own.end(), threshold);
  };
  for (size_t r = 0; r < runs.size(); ++r) {
    const int64_t equal = equal_in(runs[r]);
    if (equal < left) {
      left -= equal;
      continue;
    }
    *query.cut = {threshold, IndexOfEqual(query, static_cast<int64_t>(r) * kRun, threshold, left)};
    return true;
  }
  return false;  // not reached: the counts are those of the runs
}

}  // namespace

void SearchCuts(absl::Span<const CutQuery> queries, ThreadPool& pool, const std::stop_token& stop) {
  // What takes all or nothing needs no look at the values.
  std::vector<CutQuery> open;
  for (const CutQuery& query : queries) {
    if (query.kept >= query.base->count) {
      *query.cut = {};
    } else if (query.kept <= 0) {
      *query.cut = kNoOutliers;
    } else {
      open.push_back(query);
    }
  }
  struct Group {  // queries [first, end) of one base; its runs' counts lie at counts[at + run * (end - first) + query -
                  // first]
    size_t first, end, at;
    int64_t runs;
  };
  std::vector<Group> groups;
  std::vector<std::pair<size_t, int64_t>> pieces;  // group, run
  size_t total = 0;
  for (size_t q = 0; q < open.size(); ++q) {
    if (groups.empty() || open[q].base != open[groups.back().first].base) {
      groups.push_back({q, q, 0, (open[q].base->count + kRun - 1) / kRun});
    }
    groups.back().end = q + 1;
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    groups[g].at = total;
    total += static_cast<size_t>(groups[g].runs) * (groups[g].end - groups[g].first);
    for (int64_t run = 0; run < groups[g].runs; ++run) pieces.emplace_back(g, run);
  }
  std::vector<Bracket> brackets(open.size());
  pool.For(static_cast<int64_t>(open.size()), [&](int, int64_t q) {
    if (!stop.stop_requested()) brackets[q] = BracketOf(open[q]);
  });
  std::vector<Counts> counts(total);
  std::vector<std::vector<uint32_t>> lists(pool.threads()), scratch(pool.threads());
  pool.For(static_cast<int64_t>(pieces.size()), [&](int thread, int64_t p) {
    if (stop.stop_requested()) return;
    const Group& group = groups[pieces[p].first];
    const int64_t first = pieces[p].second * kRun, end = std::min(first + kRun, open[group.first].base->count);
    std::vector<uint32_t>& within = scratch[thread];
    within.resize(kRun + 8);
    float base[kBlock], x[kBlock];
    for (size_t q = group.first; q < group.end; ++q) {
      Counts& own = counts[group.at + static_cast<size_t>(pieces[p].second) * (group.end - group.first) + q - group.first];
      for (int64_t at = first; at < end; at += kBlock) {
        const int64_t n = std::min(kBlock, end - at);
        LoadBlock(*open[q].base, at, n, base);
        LoadBlock(*open[q].source, at, n, x);
        Prefetch(*open[q].base, at + n, kBlock);
        Prefetch(*open[q].source, at + n, kBlock);
        Subtract(base, n, x);
        Count(x, n, brackets[q], own, within.data());
      }
      own.thread = thread;
      own.first = static_cast<int64_t>(lists[thread].size());
      lists[thread].insert(lists[thread].end(), within.begin(), within.begin() + own.within);
    }
  });
  if (stop.stop_requested()) return;
  std::vector<size_t> group_of(open.size());
  for (size_t g = 0; g < groups.size(); ++g)
    std::fill(group_of.begin() + groups[g].first, group_of.begin() + groups[g].end, g);
  pool.For(static_cast<int64_t>(open.size()), [&](int, int64_t q) {
    const Group& group = groups[group_of[q]];
    std::vector<Counts> runs;
    for (int64_t run = 0; run < group.runs; ++run) {
      runs.push_back(counts[group.at + static_cast<size_t>(run) * (group.end - group.first) + q - group.first]);
    }
    if (Answer(open[q], brackets[q], runs, lists)) return;
    MagnitudeIndex::Scratch own;
    *open[q].cut = MagnitudeIndex::BuildHistogram(*open[q].base, *open[q].source).Cut(open[q].kept, own);
  });
}

}  // namespace merganser
