#include "worker/merge/methods/task_vectors.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "worker/merge/masked_bf16.h"
#include "worker/merge/multiversion.h"
#include "worker/merge/trimmed_bf16.h"

namespace merganser {
namespace {

// x = trimmed(x - base) * scale * weight, in one pass over the block. `threshold` as in Trim().
MG_MULTIVERSION void TrimmedDifference(const float* __restrict base, uint32_t threshold, float scale, float weight,
                                       int64_t count, float* __restrict x) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i] - base[i]);
    const float kept = std::bit_cast<float>((bits & 0x7fffffffu) >= threshold ? bits : 0u);
    x[i] = kept * scale * weight;
  }
}

}  // namespace

SourceWeights::SourceWeights(const TensorTerms& terms) : size_(static_cast<int>(terms.sources.size())) {
  for (int s = 0; s < size_; ++s) weights_[s] = terms.sources[s].weight;
}

const uint8_t* MaskBits(const SourceTerm& term, const uint8_t* kept, int64_t first, int64_t count, uint32_t* words) {
  if (term.mask_bits != nullptr) return term.mask_bits + first / 8;
  if (term.ranked.kind == MaskRule::Kind::kSome) return kept;
  if (term.mask_rule.kind != MaskRule::Kind::kSome) return nullptr;
  auto* bits = reinterpret_cast<uint8_t*>(words);
  term.mask.FillBits(first, count, term.mask_rule.limit, bits);
  return bits;
}

void Thin(const SourceTerm& term, const float* base, const uint8_t* kept, int64_t first, int64_t count, uint32_t* words,
          float* x) {
  if (term.mask_rule.kind == MaskRule::Kind::kNone || term.ranked.kind == MaskRule::Kind::kNone) {
    std::fill(x, x + count, 0.0f);
    return;
  }
  Subtract(base, count, x);
  if (term.cut != MagnitudeCut{}) Trim(term.cut, first, count, x);
  if (term.outliers != kNoOutliers) Drop(term.outliers, first, count, x);
  if (const uint8_t* bits = MaskBits(term, kept, first, count, words); bits != nullptr) KeepBits(bits, count, x);
}

void ThinnedTaskVector(const SourceTerm& term, const MergeBlock& block, size_t source) {
  float* x = block.sources[source];
  using Kind = MaskRule::Kind;
  if (term.mask_rule.kind == Kind::kAll && term.ranked.kind == Kind::kAll && term.outliers == kNoOutliers) {
    // Elements equal to the threshold stay up to the cut's last index.
    const int64_t last = term.cut.last_index;
    const int64_t equal_end = last == INT64_MAX ? block.count : std::clamp<int64_t>(last + 1 - block.first, 0, block.count);
    TrimmedDifference(block.base, term.cut.threshold, term.kept_scale, term.weight, equal_end, x);
    TrimmedDifference(block.base + equal_end, term.cut.threshold + 1, term.kept_scale, term.weight, block.count - equal_end,
                      x + equal_end);
    return;
  }
  const uint8_t* kept = block.kept != nullptr ? block.kept[source] : nullptr;
  if (term.mask_rule.kind == Kind::kSome || (term.ranked.kind == Kind::kSome && !term.ranked.rescale)) {
    const uint8_t* bits = MaskBits(term, kept, block.first, block.count, block.words);
    MaskedDifference(block.base, bits, term.kept_scale, term.weight, block.count, x);
    return;
  }
  Thin(term, block.base, kept, block.first, block.count, block.words, x);
  if (term.ranked.kind == MaskRule::Kind::kSome && term.ranked.rescale) {
    DivideByProbability(block.ranks[source], term.ranked, block.count, x);
  }
  if (term.kept_scale != 1) Scale(term.kept_scale, block.count, x);
  Scale(term.weight, block.count, x);
}

void MaskByVariance(const MagnitudeCut& cut, float* const* x, int sources, int64_t first, int64_t count, float* variance) {
  if (cut == MagnitudeCut{}) return;
  Variance(x, sources, count, variance);
  // What stays is not 0: the cut never keeps more than the variances that are not.
  Trim(cut, first, count, variance);
  for (int s = 0; s < sources; ++s) KeepWhereNonzero(variance, count, x[s]);
}

void AddUp(const TensorTerms& terms, const MergeBlock& block, float* out) {
  std::fill(out, out + block.count, 0.0f);
  for (size_t s = 0; s < terms.sources.size(); ++s) AddScaled(block.sources[s], 1.0f, block.count, out);
}

std::optional<float> PlainDivisor(const TensorTerms& terms) {
  constexpr float kWeightSumMin = 1e-8f;  // mergekit's bound; below it nothing is divided
  float total = 0;
  for (const SourceTerm& term : terms.sources) total += term.weight;
  if (!terms.normalize || std::fabs(total) < kWeightSumMin) return std::nullopt;
  return total;
}

void AddPlainSum(const TensorTerms& terms, const MergeBlock& block, float* out) {
  if (const std::optional<float> divisor = PlainDivisor(terms)) Divide(*divisor, block.count, out);
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

void MergeBySign(const TensorTerms& terms, const MergeBlock& block, float* out) {
  const SourceWeights weights(terms);
  SumAgreeing(block.sources, weights.data(), weights.size(), block.count, out, block.scratch);
  if (terms.normalize) DivideEach(block.scratch, block.count, out);
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

std::optional<bool> MergeTrimmedBF16(const TensorTerms& terms, const BF16Block& block) {
  const int sources = static_cast<int>(terms.sources.size());
  if (sources > kBF16SourcesMax) return std::nullopt;
  TrimmedSource trimmed[kBF16SourcesMax];
  int64_t equal_end[kBF16SourcesMax];  // elements before it stay where they equal the threshold
  for (int s = 0; s < sources; ++s) {
    const SourceTerm& term = terms.sources[s];
    if (term.mask_rule.kind != MaskRule::Kind::kAll || term.ranked.kind != MaskRule::Kind::kAll ||
        term.outliers != kNoOutliers) {
      return std::nullopt;
    }
    const int64_t last = term.cut.last_index;
    equal_end[s] = last == INT64_MAX ? block.count : std::clamp<int64_t>(last + 1 - block.first, 0, block.count);
    trimmed[s] = {block.sources[s], term.cut.threshold, term.kept_scale, term.weight};
  }
  bool finite = true;
  for (int64_t at = 0, end; at < block.count; at = end) {
    end = block.count;
    for (int s = 0; s < sources; ++s) {
      if (equal_end[s] > at) end = std::min(end, equal_end[s]);
      trimmed[s].x = block.sources[s] + 2 * at;
      trimmed[s].threshold = terms.sources[s].cut.threshold + (at >= equal_end[s] ? 1 : 0);
    }
    finite &= MergeTrimmedBySignBF16(block.base + 2 * at, trimmed, sources, terms.normalize, terms.lambda, end - at,
                                     block.out + 2 * at);
  }
  return finite;
}

std::optional<bool> MergeMaskedBF16(MaskedSum sum, const TensorTerms& terms, const BF16Block& block) {
  using Kind = MaskRule::Kind;
  constexpr int64_t kPiece = 2048;  // whose masks are drawn at a time; a multiple of MaskStream::kFillWords
  static constexpr uint8_t kNothing[kPiece / 8] = {};
  const int sources = static_cast<int>(terms.sources.size());
  if (!HasMaskedBF16() || sources > kBF16SourcesMax) return std::nullopt;
  for (const SourceTerm& term : terms.sources) {
    if (term.ranked.kind == Kind::kSome && (term.mask_bits == nullptr || term.ranked.rescale)) return std::nullopt;
  }
  const std::optional<float> divisor = sum == MaskedSum::kPlain ? PlainDivisor(terms) : std::nullopt;
  uint8_t drawn[kBF16SourcesMax][kPiece / 8];
  bool finite = true;
  for (int64_t at = 0; at < block.count; at += kPiece) {
    const int64_t n = std::min(kPiece, block.count - at);
    MaskedSource masked[kBF16SourcesMax];
    for (int s = 0; s < sources; ++s) {
      const SourceTerm& term = terms.sources[s];
      masked[s] = {block.sources[s] + 2 * at, nullptr, term.kept_scale, term.weight};
      if (term.mask_rule.kind == Kind::kNone || term.ranked.kind == Kind::kNone) {
        masked[s].bits = kNothing;
      } else if (term.mask_bits != nullptr) {
        masked[s].bits = term.mask_bits + (block.first + at) / 8;
      } else if (term.mask_rule.kind == Kind::kSome) {
        term.mask.FillBits(block.first + at, n, term.mask_rule.limit, drawn[s]);
        masked[s].bits = drawn[s];
      }
    }
    const std::byte* base = block.base + 2 * at;
    std::byte* out = block.out + 2 * at;
    finite &= sum == MaskedSum::kPlain
                  ? AddMaskedBF16(base, masked, sources, divisor.has_value(), divisor.value_or(1), terms.lambda, n, out)
                  : MergeMaskedBySignBF16(base, masked, sources, terms.normalize, terms.lambda, n, out);
  }
  return finite;
}

}  // namespace merganser
