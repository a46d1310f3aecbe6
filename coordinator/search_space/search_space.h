// A search space as the job loop sees it: the shape of its genomes, and the recipe that each genome stands for. Pure.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_SEARCH_SPACE_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_SEARCH_SPACE_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/search_space/data_flow_space.h"
#include "coordinator/search_space/gene_label.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

// The space of one stage: parameters, paths, or both (the genes of the parameters come first). A value.
class SearchSpace {
 public:
  // Of the job's stage number `stage`, for models of `num_layers` layers. `winner`: the best recipe of the stages before,
  // which a stage may name; null is enough where only the genome's shape is asked for. `sees`: the models take pictures
  // (ArchitectureSees). Errors are those of the spaces' own Create.
  static absl::StatusOr<SearchSpace> Create(const JobSpec& spec, int num_layers, int stage, const Recipe* winner,
                                            bool sees = false);

  const GenomeSpec& genome() const { return genome_; }
  // One per gene.
  const std::vector<GeneLabel>& labels() const { return labels_; }
  int dimension() const { return genome_.dimension(); }

  // InvalidArgument naming the coordinate, or that no layer is kept.
  absl::StatusOr<Recipe> Decode(absl::Span<const double> genome) const;

 private:
  std::optional<ParameterSpaceDecoder> parameter_;
  std::optional<DataFlowDecoder> data_flow_;
  GenomeSpec genome_;
  std::vector<GeneLabel> labels_;
};

// True if models of this class (JobFacts::architecture) take pictures: LLaVA and its kin.
bool ArchitectureSees(absl::string_view architecture);

// Hops that a token passes in the recipe, for models of `num_layers` layers.
int HopCount(const Recipe& recipe, int num_layers);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_SEARCH_SPACE_H_
