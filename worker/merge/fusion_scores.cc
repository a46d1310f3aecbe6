#include "worker/merge/fusion_scores.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "worker/merge/magnitude_index.h"

namespace merganser {
namespace {

// softmax(x) + 1e-8, in fp64.
void Probabilities(const std::vector<float>& x, std::vector<double>& p) {
  const float top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += p[i] = std::exp(static_cast<double>(x[i]) - top);
  for (double& value : p) value = value / sum + 1e-8;
}

}  // namespace

void FusionScores::Divergence(const FloatTensor& base, const FloatTensor& source, const VectorShape& rows, int64_t first,
                              int64_t count, float* divergence) {
  std::vector<float> values(rows.length);
  std::vector<double> p(rows.length), q(rows.length);
  for (int64_t row = first; row < first + count; ++row) {
    LoadBlock(source, row * rows.length, rows.length, values.data());
    Probabilities(values, p);
    LoadBlock(base, row * rows.length, rows.length, values.data());
    Probabilities(values, q);
    double sum = 0;
    for (int64_t i = 0; i < rows.length; ++i) sum += p[i] * std::log(p[i] / q[i]);
    // At least 0 but for rounding.
    divergence[row] = static_cast<float>(std::max(sum, 0.0));
  }
}

void FusionScores::FindThreshold(const FloatTensor& base, const FloatTensor& source) {
  const int64_t count = base.count;
  if (count == 0) return;
  const MagnitudeIndex scores = MagnitudeIndex::BuildHistogram(count, [&](int64_t first, int64_t n, float* out) {
    float b[MagnitudeIndex::kBlock];
    LoadBlock(base, first, n, b);
    LoadBlock(source, first, n, out);
    for (int64_t i = 0; i < n; ++i) out[i] = std::fabs(out[i] - b[i]) * divergence[rows.VectorOf(first + i)];
  });
  MagnitudeIndex::Scratch scratch;
  // The score at `position` of the ascending order.
  const auto at = [&](double quarter) {
    const int64_t position = static_cast<int64_t>(quarter * static_cast<double>(count - 1));
    return std::bit_cast<float>(scores.ValueOf(count - position, scratch));
  };
  threshold = at(0.5) + 1.5f * (at(0.75) - at(0.25));
}

}  // namespace merganser
