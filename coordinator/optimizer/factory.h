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

// Names for OptimizerSpec::name: "cma_es", "random".
const std::vector<std::string>& KnownOptimizers();

// A new search over the genome's box [0, 1]^n, for outcomes of `objectives` numbers. Options, by
// optimizer:
//   cma_es  preset      hansen (default): the constants of Hansen's tutorial; update rolling,
//                       bounds transform
//                       published: as the published searches ran it, Optuna's CmaEsSampler over
//                       `cmaes`; update generation, bounds resample with at most 10 * n draws
//           population  lambda, whole number in [4, 10000]; default 4 + floor(3 ln n)
//           sigma0      first standard deviation of a gene of scale 1, in [1e-6, 1]; default 1/6
//           mean        first mean of every gene, in [0, 1]; default each gene's own start
//           update      generation | rolling: which outcomes make a generation (cma_es.h); default
//                       by preset
//           bounds      transform | resample: how genomes stay in the box (cma_es.h); default by
//                       preset
//   random  population  outcomes counted as one generation, whole number in [1, 10000]; default as
//                       cma_es
// Dimension: 1 to 1000 for cma_es, to 1000000 for random. Equal seeds give equal searches.
//
// InvalidArgument for an unknown optimizer or option (with the nearest known name), a value out of
// its range or of the wrong type, a genome or a number of objectives out of range; the message
// starts with the field, as "optimizer.cma_es.sigma0: ...".
absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec,
                                                           const GenomeSpec& genome, int objectives,
                                                           uint64_t seed);

// The same for `dimension` continuous genes and one objective.
absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec, int dimension,
                                                           uint64_t seed);

// Continues from what SaveState returned. DataLoss if `state` is damaged, of another version, or of
// an optimizer that this build does not know: the caller then replays the job log from its start.
absl::StatusOr<std::unique_ptr<Optimizer>> RestoreOptimizer(absl::string_view state);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_FACTORY_H_
