// Where the engine takes a model's weights from: a merge's arena, or a checkpoint.
#ifndef MERGANSER_WORKER_ENGINE_WEIGHT_SOURCE_H_
#define MERGANSER_WORKER_ENGINE_WEIGHT_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/dtype.h"

namespace merganser {

// Row-major, without strides; `data` may be misaligned for its type and is valid as long as the
// source.
struct WeightView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
};

// Named tensors. Implementations may be read from several threads at once.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // NotFound if there is no tensor of that name.
  virtual absl::StatusOr<WeightView> Find(absl::string_view name) const = 0;

  // Whose memory `data` points into: "cpu", or "cuda:N".
  virtual std::string device() const { return "cpu"; }

  // True if `data` stays where it is until the next LoadWeights or the engine's end, and changes
  // only while the engine is idle. Then tensors that are already as the engine wants them (device,
  // type, neighbours as in WeightLayout) are used in place and not copied.
  virtual bool may_alias() const { return false; }

  // Not 0: the contents never change, and nothing else in this process has this number. Then what
  // the engine made of a layer for one candidate is kept for the next. 0: they may change between
  // two calls of LoadWeights.
  virtual uint64_t constant_id() const { return 0; }
};

// A number for constant_id that was not given out before.
uint64_t NextConstantId();

// The weights of a checkpoint as they are in its files. Shares the checkpoint, because views point
// into its mapping.
class CheckpointWeights : public WeightSource {
 public:
  explicit CheckpointWeights(std::shared_ptr<const Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)), id_(NextConstantId()) {}
  absl::StatusOr<WeightView> Find(absl::string_view name) const override;
  uint64_t constant_id() const override { return id_; }

 private:
  std::shared_ptr<const Checkpoint> checkpoint_;
  uint64_t id_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_WEIGHT_SOURCE_H_
