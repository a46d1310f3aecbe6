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
  cases.push_back({"cma_es_hansen_by_generation", {"cma_es", {}, {{"preset", "hansen"}, {"update", "generation"}}}, 5});
  cases.push_back(
      {"cma_es_published_rolling", {"cma_es", {{"population", 5}}, {{"preset", "published"}, {"update", "rolling"}}}, 2});
  cases.push_back({"cma_es_one_dimension", {"cma_es", {{"sigma0", 0.3}, {"mean", 0}}, {}}, 1});
  cases.push_back({"random_in_small_generations", {"random", {{"population", 2}}, {}}, 4});
  cases.push_back({"cma_es_separable", {"cma_es", {}, {{"covariance", "separable"}}}, 4});
  cases.push_back({"cma_es_with_a_cholesky_root", {"cma_es", {{"population", 4}}, {}}, 41});
  cases.push_back({"cma_es_restarting", {"cma_es", {{"restarts", 2}}, {}}, 2});
  cases.push_back({"cma_es_adaptive", {"cma_es", {}, {{"learning_rate", "adaptive"}}}, 3});
  cases.push_back({"niche_injecting", {"niche", {{"inject", 0.3}}, {}}, 3});
  // A slope of the contract runs along gene 0.
  const std::vector<Gene> mixed = {
      {Gene::Kind::kContinuous, 0, 0.4, 0.5}, {Gene::Kind::kInteger, 5, 0.5, 1}, {Gene::Kind::kCategorical, 3, 0.5, 1}};
  for (const std::string& name : KnownOptimizers()) cases.push_back({name + "_on_mixed_genes", {name, {}, {}}, 3, mixed});
  cases.push_back({"niche_injecting_on_mixed_genes", {"niche", {{"inject", 0.5}, {"population", 8}}, {}}, 3, mixed});
  cases.push_back({"cma_es_with_margin", {"cma_es", {}, {{"discrete", "margin"}}}, 3, mixed});
  cases.push_back(
      {"cma_es_on_categories_alone", {"cma_es", {}, {}}, 3, std::vector<Gene>(3, {Gene::Kind::kCategorical, 50, 0.5, 1})});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Known, OptimizerContract, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser
