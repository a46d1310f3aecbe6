// The one list of optimizers.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_FACTORY_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_FACTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/job_spec.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/optimizer.h"

namespace merganser {

// Names for OptimizerSpec::name, in the order of the table below.
const std::vector<std::string>& KnownOptimizers();

// Whether an optimizer of that name ranks by all objectives; the others rank by one number.
bool LearnsEachObjective(absl::string_view name);

// Whether a job raises the population to the number of its evaluation slots: cma_es with the preset `default`, where no
// population is given.
bool PopulationFollowsSlots(const OptimizerSpec& spec);

// A new search over the genome's box [0, 1]^n, for outcomes of `objectives` numbers. Options, by
// optimizer:
//   cma_es     preset         default: what docs/optimizers.md measures to be best at few samples per
//                             candidate: hansen, with a population a third larger
//                             hansen: the constants of Hansen's tutorial; update rolling, bounds
//                             transform
//                             published: as the published searches ran it, Optuna's CmaEsSampler
//                             over `cmaes`; update generation, bounds resample with at most 10 * n
//                             draws, discrete relaxed
//              population     lambda, whole number in [4, 10000]; default 4 + floor(3 ln n), preset
//                             default: 4/3 of that, rounded up; jobs raise the latter to the number of
//                             their evaluation slots (PopulationFollowsSlots)
//              sigma0         first standard deviation of a gene of scale 1, in [1e-6, 1]; default
//                             1/6
//              mean           first mean of every gene, in [0, 1]; default each gene's own start
//              update         generation | rolling: which outcomes make a generation (cma_es.h);
//                             default by preset
//              bounds         transform | resample: how genomes stay in the box (cma_es.h); default
//                             by preset
//              covariance     full (default) | separable: what is learned of C
//              discrete       categorical | margin | relaxed: how genes of several levels are
//                             searched (cma_es.h); default categorical, which is CatCMA with margin
//              restarts       IPOP: after convergence again with twice the population, so often,
//                             whole number in [0, 20]; default 0
//              learning_rate  fixed (default) | adaptive: LRA-CMA-ES (learning_rates.h)
//   nsga2      population     parents and children of a generation, whole number in [2, 10000];
//                             default 40
//   mo_cma_es  population     whole number in [2, 1000]; default 20
//              sigma0         as for cma_es
//   gp         population     outcomes counted as one generation, whole number in [1, 1000];
//                             default 8
//   niche      population     members of the archive, whole number in [2, 10000]; default 20
//              sigma0         standard deviation of a mutation, in [0, 1]; default 0.05
//              inject         share of each generation, in [0.01, 0.9], that the archive breeds and injects into CMA-ES,
//                             which proposes the rest and learns from the mean of the objectives (niche_cma_es.h); a
//                             generation is that of cma_es. Default: the archive alone
//   random     population     outcomes counted as one generation, whole number in [1, 10000];
//                             default 4 + floor(3 ln n)
// Dimension: 1 to 5000 for cma_es (1000 if adaptive, 100000 if separable) and niche with inject, 100000
// for nsga2 and niche, 500 for mo_cma_es, 200 for gp, 1000000 for random. cma_es and random take any number of
// objectives and rank by their mean. Equal seeds give equal searches.
//
// InvalidArgument for an unknown optimizer or option (with the nearest known name), a value out of
// its range or of the wrong type, options that exclude each other, a genome or a number of objectives
// out of range; the message starts with the field, as "optimizer.cma_es.sigma0: ...".
absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec, const GenomeSpec& genome,
                                                           int objectives, uint64_t seed);

// The same for `dimension` continuous genes and one objective.
absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec, int dimension, uint64_t seed);

// Continues from what SaveState returned. DataLoss if `state` is damaged, of another version, or of
// an optimizer that this build does not know: the caller then replays the job log from its start.
absl::StatusOr<std::unique_ptr<Optimizer>> RestoreOptimizer(absl::string_view state);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_FACTORY_H_
