// An arena (worker/merge/arena.h) in a device's memory, and the same as the engine's weights.
#ifndef MERGANSER_WORKER_DEVICE_MERGE_DEVICE_ARENA_H_
#define MERGANSER_WORKER_DEVICE_MERGE_DEVICE_ARENA_H_

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/weight_source.h"
#include "worker/merge/arena.h"

namespace merganser {

// Allocated once. Threading: that of plain memory.
class DeviceArena {
 public:
  // `device`: "cpu", "cuda" or "cuda:N". InvalidArgument, FailedPrecondition: of ParseDevice and PrepareDevice.
  // ResourceExhausted: the device lacks the memory.
  static absl::StatusOr<std::unique_ptr<DeviceArena>> Create(ArenaLayout layout, const std::string& device);

  const ArenaLayout& layout() const { return layout_; }
  const std::string& device() const { return device_; }
  // The elements of layout().tensors()[i], flat; shares the arena's memory.
  const at::Tensor& tensor(int i) const { return tensors_[static_cast<size_t>(i)]; }

 private:
  DeviceArena(ArenaLayout layout, std::string device) : layout_(std::move(layout)), device_(std::move(device)) {}

  const ArenaLayout layout_;
  const std::string device_;
  at::Tensor buffer_;
  std::vector<at::Tensor> tensors_;
};

// What one merge wrote into a device's arena; as ArenaWeights (worker/evaluate/arena_weights.h).
class DeviceArenaWeights : public WeightSource {
 public:
  explicit DeviceArenaWeights(const DeviceArena* arena) : arena_(arena), id_(NextConstantId()) {}

  absl::StatusOr<WeightView> Find(absl::string_view name) const override;
  std::string device() const override { return arena_->device(); }
  bool may_alias() const override { return true; }
  uint64_t constant_id() const override { return id_; }

 private:
  const DeviceArena* arena_;
  uint64_t id_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_DEVICE_MERGE_DEVICE_ARENA_H_
