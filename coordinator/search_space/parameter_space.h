// Decodes genomes of a parameter space into recipes. Pure.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/search_space/gene_label.h"
#include "coordinator/search_space/winner_start.h"

namespace merganser {

class ParameterSpaceDecoder {
 public:
  // The parameter space of the job's stage number `stage`. `winner`: the best recipe of the stages before, needed for
  // `start: winner` only: the search begins at its coefficients, and where it is a path, recipes are that path with merged
  // layers (winner_start.h; not in a joint stage, which searches paths itself). Null: the middle of the bounds and the
  // layers of a model, which is enough where only the genome's shape is asked for. InvalidArgument naming the field if the
  // spec does not fit a model of `num_layers` layers (a block longer than the model; layers or blocks where `num_layers` is
  // 0, which is a config.json that names none), or the genome would have more than limits::kGenomeDimensionMax coordinates.
  // `sees`: the job's whole models (those without ModelRef::rename) see. Where the space merges several of them by layer or
  // block, their vision towers are a group of their own, and so are their projectors (with all else that is no language
  // model's); they cannot be merged along a winner's path (InvalidArgument).
  static absl::StatusOr<ParameterSpaceDecoder> Create(const JobSpec& spec, int num_layers, int stage = 0,
                                                      const Recipe* winner = nullptr, bool sees = false);

  // Coordinates in genome order: the method if it is searched; for each source, for each searched parameter of a model, for
  // each group; then the searched parameters of the method as a whole (t, lambda), for each group.
  const std::vector<GeneLabel>& labels() const { return labels_; }
  const GenomeSpec& genome() const { return genome_; }
  int dimension() const { return genome_.dimension(); }

  // `genome` in [0,1]^dimension, mapped linearly to the bounds; genes of switches are categorical with two levels, those of
  // whole numbers integer with a level each. A parameter that the candidate's method does not take is left
  // out. InvalidArgument: wrong length, or a coordinate outside or not finite.
  absl::StatusOr<Recipe> Decode(absl::Span<const double> genome) const;

 private:
  std::string MethodOf(absl::Span<const double> genome) const;

  JobSpec spec_;
  ParameterSpace space_;
  std::vector<TensorGroup> groups_;  // of a path: their names only
  std::optional<WinnerPath> path_;
  std::vector<GeneLabel> labels_;
  GenomeSpec genome_;
};

// The baselines: model `name` as it is, and the plain average (linear, equal weights) of what the spec's spaces name as
// sources.
Recipe SourceRecipe(const JobSpec& spec, const std::string& name);
Recipe AverageRecipe(const JobSpec& spec);

// Of every recipe of the job; apart from the optimizer's streams, which are keyed by the job's seed itself.
uint64_t MaskSeed(uint64_t seed);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_PARAMETER_SPACE_H_
