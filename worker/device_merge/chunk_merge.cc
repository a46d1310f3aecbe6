#include "worker/device_merge/chunk_merge.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace merganser {
namespace {

using Statistic = MergeMethod::Statistic;

enum class Rule { kNone, kMean, kSum, kSigns, kCombination };

Rule RuleOf(const MergeMethod& method) {
  if (method.statistic() == Statistic::kProducts) return Rule::kCombination;
  const absl::string_view name = method.name();
  if (name == "linear") return Rule::kMean;
  for (const char* sum : {"task_arithmetic", "dare_linear", "della_linear", "breadcrumbs"}) {
    if (name == sum) return Rule::kSum;
  }
  for (const char* signs : {"ties", "dare_ties", "della", "breadcrumbs_ties"}) {
    if (name == signs) return Rule::kSigns;
  }
  return Rule::kNone;
}

// Divides by a tensor of the device: by a number, CUDA would multiply with its inverse.
void DivideBy(at::Tensor& x, double divisor) { x.div_(at::full({1}, divisor, x.options())); }

// Which elements of d, whose first is element `first` of the tensor, the cut keeps.
at::Tensor Taken(const at::Tensor& d, const MagnitudeCut& cut, int64_t first) {
  const at::Tensor magnitudes = d.view(at::kInt).bitwise_and(0x7fffffff);
  const auto threshold = static_cast<int64_t>(cut.threshold);
  at::Tensor taken = magnitudes.gt(threshold);
  const int64_t count = d.numel();
  const int64_t equal = cut.last_index == INT64_MAX ? count : std::clamp<int64_t>(cut.last_index + 1 - first, 0, count);
  if (equal > 0) taken.narrow(0, 0, equal).logical_or_(magnitudes.narrow(0, 0, equal).eq(threshold));
  return taken;
}

// The mask's bits of elements [first, first + count), one boolean each.
at::Tensor MaskOf(const SourceTerm& term, int64_t first, int64_t count, c10::Device device) {
  std::vector<uint8_t> drawn;
  const uint8_t* bits = term.mask_bits == nullptr ? nullptr : term.mask_bits + first / 8;
  if (bits == nullptr) {
    constexpr int64_t kFill = MaskStream::kFillWords;
    drawn.resize(static_cast<size_t>((count + kFill - 1) / kFill * kFill / 8));
    term.mask.FillBits(first, count, term.mask_rule.limit, drawn.data());
    bits = drawn.data();
  }
  const at::Tensor bytes =
      at::from_blob(const_cast<uint8_t*>(bits), {(count + 7) / 8, 1}, at::TensorOptions().dtype(at::kByte)).to(device);
  const at::Tensor each = at::tensor({1, 2, 4, 8, 16, 32, 64, 128}, at::TensorOptions().dtype(at::kByte)).to(device);
  return bytes.bitwise_and(each).ne(0).flatten().narrow(0, 0, count);
}

// d = w * r * thinned(x - base), in x.
void ThinnedTaskVector(const SourceTerm& term, const Chunk& chunk, at::Tensor& x) {
  using Kind = MaskRule::Kind;
  if (term.mask_rule.kind == Kind::kNone || term.ranked.kind == Kind::kNone) {
    x.zero_();
    return;
  }
  x.sub_(chunk.base);
  if (term.cut != MagnitudeCut{}) x.masked_fill_(Taken(x, term.cut, chunk.first).logical_not_(), 0);
  if (term.outliers != kNoOutliers) x.masked_fill_(Taken(x, term.outliers, chunk.first), 0);
  if (term.mask_rule.kind == Kind::kSome || term.ranked.kind == Kind::kSome) {
    x.masked_fill_(MaskOf(term, chunk.first, x.numel(), x.device()).logical_not_(), 0);
  }
  x.mul_(term.kept_scale).mul_(term.weight);
}

at::Tensor Mean(const TensorTerms& terms, Chunk& chunk) {
  at::Tensor out = at::zeros_like(chunk.sources[0]);
  float total = 0;
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    total += terms.sources[s].weight;
    out.add_(chunk.sources[s].mul_(terms.sources[s].weight));
  }
  if (terms.normalize) DivideBy(out, total);
  return out;
}

at::Tensor PlainSum(const TensorTerms& terms, const Chunk& chunk) {
  constexpr float kWeightSumMin = 1e-8f;  // as AddPlainSum
  at::Tensor out = at::zeros_like(chunk.base);
  float total = 0;
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    total += terms.sources[s].weight;
    out.add_(chunk.sources[s]);
  }
  if (terms.normalize && std::fabs(total) >= kWeightSumMin) DivideBy(out, total);
  return out.mul_(terms.lambda).add_(chunk.base);
}

at::Tensor SumBySign(const TensorTerms& terms, const Chunk& chunk) {
  at::Tensor total = at::zeros_like(chunk.base);
  for (const at::Tensor& d : chunk.sources) total.add_(d);
  const at::Tensor positive = total.ge(0);
  at::Tensor sum = at::zeros_like(total), weights = at::zeros_like(total);
  for (size_t s = 0; s < chunk.sources.size(); ++s) {
    const at::Tensor& d = chunk.sources[s];
    const at::Tensor agrees = at::where(positive, d, d.neg()).gt(0);
    sum.add_(d.masked_fill(agrees.logical_not(), 0));
    weights.add_(agrees.to(at::kFloat).mul_(terms.sources[s].weight));
  }
  if (terms.normalize) sum.div_(weights.masked_fill_(weights.eq(0), 1));
  return sum.mul_(terms.lambda).add_(chunk.base);
}

at::Tensor Combined(const MergeMethod& method, const TensorTerms& terms, Chunk& chunk) {
  const bool task_vectors = chunk.base.defined() && method.products_of() == ProductsOf::kTaskVectors;
  at::Tensor out = at::zeros_like(chunk.sources[0]);
  if (chunk.base.defined() && !task_vectors) out.add_(chunk.base.mul(terms.base_weight));
  for (size_t s = 0; s < chunk.sources.size(); ++s) {
    at::Tensor& x = chunk.sources[s];
    if (task_vectors) x.sub_(chunk.base);
    out.add_(x.mul_(terms.sources[s].weight));
  }
  return task_vectors ? out.add_(chunk.base) : out;
}

}  // namespace

bool MergesInChunks(const MergePlan& plan) {
  if (plan.method() == nullptr || plan.arithmetic() != Arithmetic::kFp32) return false;
  const Rule rule = RuleOf(*plan.method());
  if (rule != Rule::kCombination) return rule != Rule::kNone;
  const int tensors = static_cast<int>(plan.sources()->layout().tensors().size());
  for (int t = 0; t < tensors; ++t) {
    if (plan.method()->vector_scope(plan.settings(t)) != VectorScope::kTensor) return false;
  }
  return true;
}

bool HasItsMasks(const TensorTerms& terms) {
  return std::all_of(terms.sources.begin(), terms.sources.end(), [](const SourceTerm& term) {
    return term.ranked.kind != MaskRule::Kind::kSome || (term.mask_bits != nullptr && !term.ranked.rescale);
  });
}

at::Tensor MergeChunk(const MergeMethod& method, const TensorTerms& terms, Chunk chunk) {
  const Rule rule = RuleOf(method);
  if (rule == Rule::kMean) return Mean(terms, chunk);
  if (rule == Rule::kCombination) return Combined(method, terms, chunk);
  for (size_t s = 0; s < chunk.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], chunk, chunk.sources[s]);
  return rule == Rule::kSum ? PlainSum(terms, chunk) : SumBySign(terms, chunk);
}

}  // namespace merganser
