#include "worker/merge/mergekit/mergekit_arithmetic.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "worker/merge/mergekit/kernels.h"

namespace merganser {
namespace mergekit {

void SubtractBase(const RoundedValues& base, const Rounded& round, RoundedValues& x) {
  round.Each(
      x, [](float value, float b) { return value - b; }, base);
}

RoundedValues SumOver(const std::vector<RoundedValues>& x, const Rounded& round) {
  RoundedValues sum(x[0].size());
  for (const RoundedValues& own : x) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += own[i];
  }
  round.All(sum);
  return sum;
}

std::vector<std::vector<bool>> AgreeingWithMajority(const std::vector<RoundedValues>& x, const Rounded& round) {
  const RoundedValues total = SumOver(x, round);
  std::vector<std::vector<bool>> agrees;
  for (const RoundedValues& own : x) {
    std::vector<bool>& mask = agrees.emplace_back(own.size());
    for (size_t i = 0; i < own.size(); ++i) mask[i] = total[i] >= 0 ? own[i] > 0 : own[i] < 0;
  }
  return agrees;
}

std::vector<int64_t> ByMagnitude(const RoundedValues& x) {
  std::vector<int64_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return std::fabs(x[a]) > std::fabs(x[b]); });
  return order;
}

}  // namespace mergekit

int64_t DrawsOf(const MergeMethod& method, const MergeSettings& settings, int64_t count) {
  if (!method.random()) return 0;
  const bool ranked = method.statistic() == MergeMethod::Statistic::kRankedMask;
  int64_t draws = 0;
  // dare draws even what density 0 throws away, della does not.
  for (const double density : settings.densities) draws += density < 1 && !(ranked && density <= 0) ? count : 0;
  return draws;
}

absl::StatusOr<RoundedValues> MergeLikeMergekit(const MergeMethod& method, const MergeSettings& settings, MergekitInput in,
                                                const Rounded& in_type, TorchRandom random) {
  using Kernel = mergekit::Result (*)(const MergeSettings&, MergekitInput&, const Rounded&);
  static constexpr struct {
    absl::string_view method;
    Kernel kernel;
  } kKernels[] = {
      {"linear", mergekit::Linear},           {"sce", mergekit::Sce},           {"ram", mergekit::Ram},
      {"ramplus_tl", mergekit::RamplusTl},    {"nearswap", mergekit::Nearswap}, {"arcee_fusion", mergekit::ArceeFusion},
      {"passthrough", mergekit::Passthrough}, {"slerp", mergekit::Slerp},       {"nuslerp", mergekit::Nuslerp},
      {"multislerp", mergekit::Multislerp},   {"karcher", mergekit::Karcher},   {"model_stock", mergekit::ModelStock}};
  for (const auto& own : kKernels) {
    if (own.method == method.name()) return own.kernel(settings, in, in_type);
  }
  return mergekit::TaskVectors(method, settings, in, in_type, random);
}

}  // namespace merganser
