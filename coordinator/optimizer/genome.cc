#include "coordinator/optimizer/genome.h"

#include "absl/strings/str_cat.h"

namespace merganser {

absl::Status GenomeSpec::Validate() const {
  for (size_t i = 0; i < genes.size(); ++i) {
    const Gene& gene = genes[i];
    const auto bad = [&](auto... what) { return absl::InvalidArgumentError(absl::StrCat("gene ", i, ": ", what...)); };
    if (!(gene.start >= 0 && gene.start <= 1)) return bad("start ", gene.start, " is not in [0, 1]");
    if (!(gene.scale >= Gene::kScaleMin && gene.scale <= Gene::kScaleMax)) {
      return bad("scale ", gene.scale, " is not in [", Gene::kScaleMin, ", ", Gene::kScaleMax, "]");
    }
    if (gene.discrete() && (gene.levels < 2 || gene.levels > Gene::kLevelsMax)) {
      return bad(gene.levels, " levels are not in [2, ", Gene::kLevelsMax, "]");
    }
  }
  return absl::OkStatus();
}

}  // namespace merganser
