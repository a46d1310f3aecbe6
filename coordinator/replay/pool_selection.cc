#include "coordinator/replay/pool_selection.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"

namespace merganser {
namespace {

constexpr int kBootstrapDraws = 1000;

// A set of samples.
using Bits = std::vector<uint64_t>;

Bits ToBits(const std::vector<bool>& correct) {
  Bits bits((correct.size() + 63) / 64, 0);
  for (size_t i = 0; i < correct.size(); ++i) {
    if (correct[i]) bits[i / 64] |= uint64_t{1} << (i % 64);
  }
  return bits;
}

int64_t Count(const Bits& bits) {
  int64_t count = 0;
  for (const uint64_t word : bits) count += std::popcount(word);
  return count;
}

Bits Union(const std::vector<Bits>& sets, const std::vector<int>& members, int without = -1) {
  Bits all(sets[0].size(), 0);
  for (const int member : members) {
    if (member == without) continue;
    for (size_t i = 0; i < all.size(); ++i) all[i] |= sets[member][i];
  }
  return all;
}

struct Scored {
  int64_t covered = 0;
  int64_t own = 0;  // sum of the members' own counts
  std::vector<int> members;
  bool operator<(const Scored& other) const {
    return std::tie(other.covered, other.own, members) < std::tie(covered, own, other.members);
  }
};

// All choices of `size` of `count`, in lexical order.
template <typename F>
void ForEachChoice(int count, int size, const F& f) {
  std::vector<int> members(size);
  for (int i = 0; i < size; ++i) members[i] = i;
  while (true) {
    f(members);
    int i = size - 1;
    while (i >= 0 && members[i] == count - size + i) --i;
    if (i < 0) return;
    ++members[i];
    for (int j = i + 1; j < size; ++j) members[j] = members[j - 1] + 1;
  }
}

// 95 % interval of the mean of `differences`, each in {-1, 0, 1}, over resampled samples.
std::pair<double, double> BootstrapInterval(const std::vector<int>& differences) {
  const size_t n = differences.size();
  std::vector<double> means;
  for (int draw = 0; draw < kBootstrapDraws; ++draw) {
    Rng rng(StableHash64("pool/bootstrap"), static_cast<uint64_t>(draw));
    int64_t sum = 0;
    for (size_t i = 0; i < n; ++i) sum += differences[rng.NextU64() % n];
    means.push_back(static_cast<double>(sum) / static_cast<double>(n));
  }
  std::sort(means.begin(), means.end());
  return {means[kBootstrapDraws / 40], means[kBootstrapDraws - 1 - kBootstrapDraws / 40]};
}

absl::Status Check(const std::vector<PoolModel>& models, int size_max, int keep) {
  const auto count = models.size();
  if (count < 2 || count > static_cast<size_t>(kPoolModelsMax)) {
    return absl::InvalidArgumentError(absl::StrCat(count, " models are not in [2, ", kPoolModelsMax, "]"));
  }
  if (size_max < 2 || size_max > kPoolSizeMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pool of up to ", size_max, " models is not in [2, ", kPoolSizeMax, "]"));
  }
  if (keep < 1) return absl::InvalidArgumentError(absl::StrCat(keep, " choices to keep; at least 1"));
  for (const PoolModel& model : models) {
    if (model.correct.empty()) return absl::InvalidArgumentError(absl::StrCat("model '", model.name, "' has no samples"));
    if (model.correct.size() != models[0].correct.size()) {
      return absl::InvalidArgumentError(absl::StrCat("model '", model.name, "' has ", model.correct.size(),
                                                     " samples where '", models[0].name, "' has ", models[0].correct.size(),
                                                     "; score all on the same benchmark"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PoolSuggestion> SuggestPool(const std::vector<PoolModel>& models, int size_max, int keep) {
  if (absl::Status status = Check(models, size_max, keep); !status.ok()) return status;
  const int count = static_cast<int>(models.size());
  const size_t samples = models[0].correct.size();
  const double n = static_cast<double>(samples);
  std::vector<Bits> sets;
  std::vector<int64_t> own;
  for (const PoolModel& model : models) {
    sets.push_back(ToBits(model.correct));
    own.push_back(Count(sets.back()));
  }

  PoolSuggestion suggestion;
  Bits smaller = sets[std::max_element(own.begin(), own.end()) - own.begin()];
  bool growing = true;
  for (int size = 2; size <= std::min(size_max, count); ++size) {
    std::vector<Scored> best;  // at most `keep`
    ForEachChoice(count, size, [&](const std::vector<int>& members) {
      Scored scored{Count(Union(sets, members)), 0, members};
      for (const int member : members) scored.own += own[member];
      best.insert(std::upper_bound(best.begin(), best.end(), scored), scored);
      if (static_cast<int>(best.size()) > keep) best.pop_back();
    });
    std::vector<PoolChoice> choices;
    for (const Scored& scored : best) {
      PoolChoice choice;
      choice.models = scored.members;
      choice.coverage = static_cast<double>(scored.covered) / n;
      const Bits covered = Union(sets, scored.members);
      for (const int member : scored.members) {
        choice.best_alone = std::max(choice.best_alone, static_cast<double>(own[member]) / n);
        const int64_t rest = Count(Union(sets, scored.members, member));
        choice.only.push_back(static_cast<double>(scored.covered - rest) / n);
      }
      std::vector<int> differences(samples);
      for (size_t i = 0; i < samples; ++i) {
        const auto has = [&](const Bits& bits) { return static_cast<int>(bits[i / 64] >> (i % 64) & 1); };
        differences[i] = has(covered) - has(smaller);
      }
      choice.gain = static_cast<double>(scored.covered - Count(smaller)) / n;
      std::tie(choice.gain_low, choice.gain_high) = BootstrapInterval(differences);
      choices.push_back(std::move(choice));
    }
    growing = growing && choices[0].gain_low > 0;
    if (growing) suggestion.suggested_size = size;
    smaller = Union(sets, choices[0].models);
    suggestion.choices.push_back(std::move(choices));
  }
  return suggestion;
}

}  // namespace merganser
