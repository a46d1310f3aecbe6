#include "coordinator/search_space/gene_label.h"

#include "absl/strings/str_cat.h"

namespace merganser {

absl::Status CheckGenome(absl::Span<const double> genome, const std::vector<GeneLabel>& labels) {
  if (genome.size() != labels.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the genome has ", genome.size(), " coordinates; this space has ", labels.size()));
  }
  for (size_t i = 0; i < genome.size(); ++i) {
    // Written so that NaN fails too.
    if (genome[i] >= 0 && genome[i] <= 1) continue;
    const GeneLabel& label = labels[i];
    return absl::InvalidArgumentError(absl::StrCat("genome[", i, "] (", label.parameter,
                                                   label.source.empty() ? "" : absl::StrCat(" of ", label.source), " in ",
                                                   label.group, ") is ", genome[i], ", not in [0, 1]"));
  }
  return absl::OkStatus();
}

}  // namespace merganser
