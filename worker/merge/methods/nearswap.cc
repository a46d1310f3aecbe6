// nearswap: takes over from the source where it is near the base (alchemonaut, QuartetAnemoi-70B-t0.0001, 2024).
//   v = clamp(t / max(|base - x|, 1e-6), 0, 1);   y = v x + (1 - v) base.
#include "worker/merge/merge_method.h"
#include "worker/merge/methods/all_methods.h"

namespace merganser {
namespace {

class Nearswap final : public MergeMethod {
 public:
  Nearswap() : MergeMethod("nearswap") {}
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    SwapNear(block.base, block.sources[0], static_cast<float>(terms.settings->Get("t")), block.count, out);
  }
};

}  // namespace

const MergeMethod* NewNearswap() { return new Nearswap; }

}  // namespace merganser
