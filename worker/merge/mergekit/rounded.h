// Arithmetic as torch does it on the CPU in a storage type: every operation in fp32, its result rounded to the type.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_ROUNDED_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_ROUNDED_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "worker/checkpoint/dtype.h"

namespace merganser {

// Values of a type that fp32 holds exactly.
using RoundedValues = std::vector<float>;

// BF16, F16 or F32. Stateless.
class Rounded {
 public:
  explicit Rounded(DType dtype) : dtype_(dtype) {}

  DType dtype() const { return dtype_; }
  float operator()(float value) const;
  float operator()(double value) const { return (*this)(static_cast<float>(value)); }
  // Rounds all.
  void All(RoundedValues& values) const;

  // x[i] = f(x[i], others[i] ...), rounded.
  template <typename F, typename... Others>
  void Each(RoundedValues& x, F f, const Others&... others) const {
    for (size_t i = 0; i < x.size(); ++i) x[i] = f(x[i], others[i]...);
    All(x);
  }

  // Reductions are accumulated in more digits and rounded once; torch's order of additions is its own and depends on its
  // threads, so the last bit of an fp32 sum is not defined.
  float Sum(const RoundedValues& x) const;
  float SumOfMagnitudes(const RoundedValues& x) const;
  float Norm(const RoundedValues& x) const;

 private:
  DType dtype_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_ROUNDED_H_
