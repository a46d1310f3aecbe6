// Decodes genomes of a data-flow space into paths of untouched layers. Pure.
//
// The pool is a list of sources; a source is a sequence of layers, each a hop of a recipe: a model's own layers, those of a
// merge, or the hops of an earlier winner. M is the number of layers in the pool, L that of the longest source, r the
// repeats.
//
// kPublished (Akiba et al., "Evolutionary Optimization of Model Merging Recipes", arXiv 2403.13187, section 3.2; the
// released 10B model). Slots: all layers of the first source in order, then all of the second, and so on; all that r times,
// so T = M r. A slot is kept iff its number p > 0. The first source's first and last layer are the path's first and last hop
// (added where the kept slots do not begin or end with them). Numbers start at 0, those of the first source's first
// repetition at 2 standard deviations: p = 2 g - 1 for a gene g, a standard deviation of 0.1 at the optimizer's sigma0 of
// 1/6, so g starts at 0.5 and 0.6.
//
// kBits. The same slots with a gene of two levels each and no forced layer. It starts at the first source as it is: its
// first repetition is probably kept, every other slot probably not.
//
// kPath. Slots by depth: for depth 0 .. L-1, r slots. Each has a gene that chooses its source (if there are several) and a
// gene that keeps or drops it; it stands for the source's layer of that depth. The first slot of each depth is probably
// kept, the others probably not. No order is searched, so a path has at most L r hops and the genome 2 L r genes.
//
// Where the first source is "winner" or "merged" it is the favourite: a gene of two levels says whether it is left at all
// (probably not), and the choice is among the others.
//
// Scales multiply what the hop before adds to the residual stream, as it enters the hop (recipe.h). kSlot: a gene per slot.
// kMatrix: W_ij for a hop of pool layer j after one of pool layer i, M^2 genes, 1 for the path's first hop. kNetwork: the
// same from a small network of i, j and the hop (scale_network.h), whose weights are the genes: H (4 + 2 (S - 1)) in [-3, 3]
// that start at 0 with a standard deviation of 1 at sigma0 = 1/6, then H in [-1, 1] with one of 0.1, for H hidden units and
// S sources; cut to the bounds. Scales start at 1, those of the other kinds with a standard deviation of 0.1.
//
// Ends: with Ends::kSearch one gene chooses the source that gives the embedding, one that of the final norm and head.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_DATA_FLOW_SPACE_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_DATA_FLOW_SPACE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/search_space/gene_label.h"
#include "coordinator/search_space/scale_network.h"

namespace merganser {

class DataFlowDecoder {
 public:
  // The data-flow space of the job's stage number `stage`. `winner`: the best recipe of the stages before; null stands for
  // the first model, which is enough where only the genome's shape is asked for.
  // InvalidArgument naming the field if the genome would have more than limits::kGenomeDimensionMax coordinates or the path
  // could be longer than limits::kPathLengthMax.
  static absl::StatusOr<DataFlowDecoder> Create(const JobSpec& spec, int num_layers, int stage, const Recipe* winner);

  const std::vector<GeneLabel>& labels() const { return labels_; }
  const GenomeSpec& genome() const { return genome_; }

  // The recipe of a path. `merged`: what the stage's parameter space makes of its part of the genome, where the pool names
  // it; else null. A path that is one stack's layers in order, unscaled, is left empty. InvalidArgument: wrong length, a
  // coordinate outside [0, 1] or not finite, or no layer is kept.
  absl::StatusOr<Recipe> Decode(absl::Span<const double> genome, const Recipe* merged) const;

 private:
  struct Layer {
    int source = 0;
    int index = 0;   // within the source
    int global = 0;  // within the pool
  };
  // Genes that choose a source.
  struct Choice {
    int leave_gene = -1;   // among two levels: the favourite, or another
    int source_gene = -1;  // which one (of the others)
  };
  struct Slot {
    int depth = 0;  // kPath
    Layer layer;    // kPublished, kBits
    Choice source;  // kPath
    int keep_gene = -1;
    int scale_gene = -1;  // kSlot
  };
  struct Kept {
    Layer layer;
    double strength = 0;  // the weakest go first where there are too many
    double scale = 1;
    bool forced = false;
  };

  // Hops of source `i`: those of its recipe.
  const std::vector<Hop>& HopsOf(int source) const { return pool_hops_[source]; }
  int AddGene(Gene gene, GeneLabel label);
  Choice AddChoice(const std::string& group, const std::string& what);
  int SourceOf(const Choice& choice, absl::Span<const double> genome) const;
  void AddSlots(const DataFlowSpace& space);
  void AddScalesAndEnds(const DataFlowSpace& space);
  Layer LayerOf(int source, int index) const { return {source, index, first_global_[source] + index}; }
  std::vector<Kept> Keep(absl::Span<const double> genome) const;
  void ForceEnds(std::vector<Kept>* kept) const;
  void Shorten(std::vector<Kept>* kept) const;
  void AddNetwork(int sources, int hidden);
  // Scales of kMatrix and kNetwork.
  void ScaleByLayers(absl::Span<const double> genome, std::vector<Kept>* kept) const;
  double ScaleOf(double gene) const;

  JobSpec spec_;
  DataFlowSpace space_;
  std::vector<Recipe> pool_;                 // by source; "merged": a recipe without stacks, given to Decode
  std::vector<std::vector<Hop>> pool_hops_;  // by source: its layers, stack by the number in its recipe
  std::vector<int> first_global_;            // by source: the number of its first layer in the pool
  int layers_ = 0;                           // M
  std::vector<Slot> slots_;
  int matrix_gene_ = -1;
  std::optional<ScaleNetwork> network_;
  int network_gene_ = -1;  // the first of its genes
  int longest_path_ = 0;   // in hops
  Choice embedding_;
  Choice head_;
  std::vector<GeneLabel> labels_;
  GenomeSpec genome_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_DATA_FLOW_SPACE_H_
