// The vision side (tower and projector) of a job's candidates: one model's for all of them, or merged for each.
#ifndef MERGANSER_WORKER_EVALUATE_CANDIDATE_VISION_H_
#define MERGANSER_WORKER_EVALUATE_CANDIDATE_VISION_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "worker/evaluate/image_feature_cache.h"
#include "worker/evaluate/source_models.h"
#include "worker/merge/recipe_models.h"

namespace merganser {

// The vision side (tower and projector) of the candidate that was made last: that of one model, or a merge. It is the side
// that the candidate's export has, bit for bit: that of the stack which gives the embedding (RecipePlan). Thread-compatible.
class CandidateVision {
 public:
  // Begins with the eyes of `donor`, the model whose tokenizer candidates have, by name and checkpoint. Features are kept up
  // to `bytes_max`. `models`: OpenJobModels. Errors of VisionModel::Load.
  static absl::StatusOr<std::unique_ptr<CandidateVision>> Create(const JobSpec& spec, const std::string& donor,
                                                                 std::shared_ptr<const Checkpoint> checkpoint,
                                                                 std::shared_ptr<const RecipeModels> models,
                                                                 const std::string& device, int threads, int64_t bytes_max);

  // From now on images() gives out what `recipe`'s candidate sees. A merged vision side is merged here, on the CPU, unless
  // the last candidate's was merged alike; one model's is loaded when a picture has to be encoded. REQUIRES: CandidateModel
  // has materialized the recipe. Errors of RecipePlan and VisionModel::Load.
  absl::Status Materialize(const Recipe& recipe, std::stop_token stop);

  ImageFeatureCache& images() { return *images_; }

 private:
  // A recipe without what its vision side does not depend on. Equal keys: equal sides.
  struct Side {
    std::string key;
    bool merged = false;
    Recipe recipe;
  };

  CandidateVision(const JobSpec& spec, std::string donor, std::shared_ptr<const Checkpoint> checkpoint,
                  std::shared_ptr<const RecipeModels> models, std::string device, int threads)
      : spec_(spec),
        donor_(std::move(donor)),
        checkpoint_(std::move(checkpoint)),
        models_(std::move(models)),
        device_(std::move(device)),
        threads_(threads) {}
  Side CopyOf(const std::string& model) const;
  Side SideOf(const Recipe& recipe) const;
  absl::StatusOr<std::unique_ptr<VisionModel>> Make(const Recipe& side, std::stop_token stop) const;

  const JobSpec spec_;
  const std::string donor_;
  const std::shared_ptr<const Checkpoint> checkpoint_;
  const std::shared_ptr<const RecipeModels> models_;
  const std::string device_;
  const int threads_;
  std::unique_ptr<ImageFeatureCache> images_;
};

// Where several of the job's models see: whether pictures are as many rows to all that bring a tower or a projector, and
// these can be merged as the spaces say. `opened`: OpenJobModels, null where AllPlain. InvalidArgument, naming model or
// space, file, field and both values.
absl::Status CheckVisionSides(const JobSpec& spec, const CheckpointMap& models, const RecipeModels* opened);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_CANDIDATE_VISION_H_
