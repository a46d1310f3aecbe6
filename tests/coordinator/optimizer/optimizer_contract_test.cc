#include "tests/contracts/optimizer_contract.h"

#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

// Every known optimizer with its defaults, so that a new one cannot be forgotten, and the variants
// worth a run.
std::vector<OptimizerCase> Cases() {
  std::vector<OptimizerCase> cases;
  for (const std::string& name : KnownOptimizers()) cases.push_back({name, {name, {}, {}}, 3});
  cases.push_back({"cma_es_published", {"cma_es", {}, {{"preset", "published"}}}, 6});
  cases.push_back({"cma_es_hansen_by_generation",
                   {"cma_es", {}, {{"preset", "hansen"}, {"update", "generation"}}},
                   5});
  cases.push_back(
      {"cma_es_published_rolling",
       {"cma_es", {{"population", 5}}, {{"preset", "published"}, {"update", "rolling"}}},
       2});
  cases.push_back({"cma_es_one_dimension", {"cma_es", {{"sigma0", 0.3}, {"mean", 0}}, {}}, 1});
  cases.push_back({"random_in_small_generations", {"random", {{"population", 2}}, {}}, 4});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Known, OptimizerContract, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser
