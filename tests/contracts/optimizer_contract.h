// What every Optimizer must do. Instantiate OptimizerContract with specs and link
// optimizer_contract.cc.
#ifndef MERGANSER_TESTS_CONTRACTS_OPTIMIZER_CONTRACT_H_
#define MERGANSER_TESTS_CONTRACTS_OPTIMIZER_CONTRACT_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/domain/job_spec.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/optimizer.h"

namespace merganser {

struct OptimizerCase {
  std::string name;  // of the test, [A-Za-z0-9_]
  OptimizerSpec spec;
  int dimension = 3;
  // In place of `dimension` continuous genes, where not empty.
  std::vector<Gene> genes = {};
};

class OptimizerContract : public testing::TestWithParam<OptimizerCase> {
 protected:
  std::unique_ptr<Optimizer> Create(uint64_t seed = 7) const;
  // A smooth function with its optimum at 0.3; every fifth proposal fails, every seventh is not a
  // number.
  static Outcome Evaluate(const Proposal& proposal);
  static std::vector<Outcome> EvaluateAll(const std::vector<Proposal>& proposals);
};

// Ask that must succeed.
std::vector<Proposal> MustAsk(Optimizer& optimizer, int count);
// RestoreOptimizer(SaveState()) that must succeed.
std::unique_ptr<Optimizer> SaveAndRestore(const Optimizer& optimizer);

}  // namespace merganser

#endif  // MERGANSER_TESTS_CONTRACTS_OPTIMIZER_CONTRACT_H_
