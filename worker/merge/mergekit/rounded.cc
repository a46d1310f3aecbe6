#include "worker/merge/mergekit/rounded.h"

#include <algorithm>
#include <cstddef>

#include "worker/merge/float_blocks.h"

namespace merganser {

float Rounded::operator()(float value) const {
  if (dtype_ == DType::kF32) return value;
  std::byte stored[2];
  StoreBlock(dtype_, &value, 1, stored);
  LoadBlock({dtype_, stored, 1}, 0, 1, &value);
  return value;
}

void Rounded::All(RoundedValues& values) const {
  if (dtype_ == DType::kF32) return;
  constexpr int64_t kBlock = 4096;
  std::byte stored[2 * kBlock];
  const int64_t count = static_cast<int64_t>(values.size());
  for (int64_t at = 0; at < count; at += kBlock) {
    const int64_t n = std::min(kBlock, count - at);
    StoreBlock(dtype_, values.data() + at, n, stored);
    LoadBlock({dtype_, stored, n}, 0, n, values.data() + at);
  }
}

float Rounded::Sum(const RoundedValues& x) const {
  double sum = 0;
  for (const float value : x) sum += value;
  return (*this)(sum);
}

float Rounded::SumOfMagnitudes(const RoundedValues& x) const {
  double sum = 0;
  for (const float value : x) sum += std::fabs(value);
  return (*this)(sum);
}

float Rounded::Norm(const RoundedValues& x) const {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return (*this)(std::sqrt(sum));
}

}  // namespace merganser
