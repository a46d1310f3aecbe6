// passthrough: one source as it is, or scaled.
//   y = scale x.
// Takes no base.
#include <algorithm>

#include "worker/merge/merge_method.h"
#include "worker/merge/methods/all_methods.h"

namespace merganser {
namespace {

class Passthrough final : public MergeMethod {
 public:
  Passthrough() : MergeMethod("passthrough") {}
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const float scale = static_cast<float>(terms.settings->Get("scale", 0));
    std::copy(block.sources[0], block.sources[0] + block.count, out);
    if (scale != 1) Scale(scale, block.count, out);
  }
};

}  // namespace

const MergeMethod* NewPassthrough() { return new Passthrough; }

}  // namespace merganser
