// Decodes genomes of a parameter space into recipes. Pure.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"

namespace merganser {

// One coordinate of the genome.
struct GeneLabel {
  std::string group;      // "embed", "layer.0", ..., "out"
  std::string source;     // model name
  std::string parameter;  // "weight", "density"
  Bounds bounds;
};

class ParameterSpaceDecoder {
 public:
  // InvalidArgument naming the field if the spec does not fit a model of `num_layers` layers (a block longer than the
  // model), or the genome would have more than limits::kGenomeDimensionMax coordinates.
  static absl::StatusOr<ParameterSpaceDecoder> Create(const JobSpec& spec, int num_layers);

  // Coordinates in genome order: for each source, for each searched parameter, for each group.
  const std::vector<GeneLabel>& genes() const { return genes_; }
  int dimension() const { return static_cast<int>(genes_.size()); }

  // `genome` in [0,1]^dimension, mapped linearly to the bounds. InvalidArgument: wrong length, or a coordinate outside or
  // not finite.
  absl::StatusOr<Recipe> Decode(absl::Span<const double> genome) const;

 private:
  JobSpec spec_;
  std::vector<TensorGroup> groups_;
  std::vector<GeneLabel> genes_;
};

// The baselines: model `name` as it is, and the plain average (linear, equal weights) of the spec's sources.
Recipe SourceRecipe(const JobSpec& spec, const std::string& name);
Recipe AverageRecipe(const JobSpec& spec);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_
