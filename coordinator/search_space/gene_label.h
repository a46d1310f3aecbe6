// What a gene stands for, for people.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_GENE_LABEL_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_GENE_LABEL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"

namespace merganser {

struct GeneLabel {
  std::string group;      // "embed", "layer.0", ..., "out"; of paths "slot.0", "depth.0", "ends", "scale.3"
  std::string source;     // model name; "" where the gene chooses among models or is of none
  std::string parameter;  // "weight", "density", ...; "method", "keep", "scale", "source", "embedding", "head"
  Bounds bounds;          // values of gene 0 and gene 1; a discrete gene's first and last level
  bool operator==(const GeneLabel&) const = default;
};

// OK if the genome has one number in [0, 1] per label; InvalidArgument names the first that is not: "genome[3] (weight of ja
// in layer.1) is 1.5, not in [0, 1]".
absl::Status CheckGenome(absl::Span<const double> genome, const std::vector<GeneLabel>& labels);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_GENE_LABEL_H_
