// What an export will do, for a dry run.
#ifndef MERGANSER_WORKER_MERGE_RECIPE_EXPORT_PLAN_H_
#define MERGANSER_WORKER_MERGE_RECIPE_EXPORT_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

namespace merganser {

struct RecipeExportPlan {
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    std::string from;  // "ties of ja, en onto base"
    int64_t read_bytes = 0, write_bytes = 0;
  };
  std::vector<Tensor> tensors;  // in the order of writing
  int layers = 0;
  int shards = 0;
  int64_t parameters = 0, read_bytes = 0, write_bytes = 0;
  int64_t memory_bytes = 0;      // most that is held at once, page cache apart
  double estimated_seconds = 0;  // of computing, from a calibration of milliseconds; the disk's time apart
  std::string no_mergekit_yaml;  // why mergekit could not say it; "" if it can
  std::vector<std::string> notes;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RECIPE_EXPORT_PLAN_H_
