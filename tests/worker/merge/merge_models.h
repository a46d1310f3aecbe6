// Small synthetic models for the merge tests, and short ways to write recipes and to run them.
#ifndef MERGANSER_TESTS_WORKER_MERGE_MERGE_MODELS_H_
#define MERGANSER_TESTS_WORKER_MERGE_MERGE_MODELS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/merge/arena.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"

namespace merganser::testing_merge {

using Values = std::vector<float>;

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  Values values;
};

// A model that stores `tensors` as `dtype` (rounded to it), and owns the bytes.
MergeSources::Model MakeModel(const std::vector<NamedTensor>& tensors, DType dtype, const std::string& label = "");

// The tensors' names and shapes, all as `dtype`.
ArenaLayout MakeLayout(const std::vector<NamedTensor>& tensors, DType dtype);

// count values from N(0, sigma) added to `around` (empty: to 0), the same for equal seeds.
Values Gaussian(int64_t count, uint64_t seed, float sigma = 1, const Values& around = {});

// A recipe with one stack of one group that takes everything.
Recipe OneGroup(const std::string& method, const std::string& base, const std::vector<std::string>& sources,
                const std::vector<std::map<std::string, double>>& source_parameters,
                const std::map<std::string, double>& parameters = {}, const std::string& dtype = "float32");

// The merged values of every tensor of the layout, in its order.
absl::StatusOr<std::vector<Values>> MergeAll(const Recipe& recipe, const std::shared_ptr<const MergeSources>& sources,
                                             const MaterializerOptions& options = {});

// Values of tensor `i` of the arena, as fp32.
Values ArenaValues(const Arena& arena, int i);

}  // namespace merganser::testing_merge

#endif  // MERGANSER_TESTS_WORKER_MERGE_MERGE_MODELS_H_
