#include "worker/device_merge/device_merger.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/device_merge/chunk_merge.h"
#include "worker/engine/device.h"
#include "worker/engine/scalar_type.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

// ATen has no pointer to const; the tensor is only ever read.
at::Tensor HostTensor(const FloatTensor& tensor) {
  return at::from_blob(const_cast<std::byte*>(tensor.data), {tensor.count},
                       at::TensorOptions().dtype(ScalarTypeOf(tensor.dtype)));
}

at::Tensor HostTensor(const Arena& arena, int i) {
  const ArenaTensor& tensor = arena.layout().tensors()[static_cast<size_t>(i)];
  return HostTensor(FloatTensor{tensor.dtype, arena.data(i), tensor.NumElements()});
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMerger>> DeviceMerger::Create(Materializer& materializer,
                                                                   const DeviceMergeOptions& options) {
  if (options.chunk_elements < 8 || options.chunk_elements % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("device merge: chunk_elements ", options.chunk_elements, " is not a positive multiple of 8"));
  }
  if (options.resident_bytes_max < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("device merge: resident_bytes_max ", options.resident_bytes_max, " is below 0"));
  }
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(options.device));
  MG_RETURN_IF_ERROR(PrepareDevice(device));
  std::unique_ptr<DeviceMerger> merger(new DeviceMerger(materializer, options));
  MG_RETURN_IF_ERROR(merger->Place(device));
  return merger;
}

absl::Status DeviceMerger::Place(c10::Device device) {
  return CatchTorch(absl::StrCat("sources on ", options_.device), [&] {
    const int models = static_cast<int>(sources_->names().size()),
              tensors = static_cast<int>(sources_->layout().tensors().size());
    if (!device.is_cpu()) stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    placed_.resize(static_cast<size_t>(models));
    bool pin = !device.is_cpu();
    // Tensor by tensor, so that what stays is the same part of every model.
    for (int t = 0; t < tensors; ++t) {
      for (int m = 0; m < models; ++m) {
        const FloatTensor& source = sources_->tensor(m, t);
        const int64_t bytes = source.count * SizeOf(source.dtype);
        Placed placed{HostTensor(source), resident_bytes_ + bytes <= options_.resident_bytes_max};
        if (placed.resident) {
          resident_bytes_ += bytes;
          placed.values = placed.values.to(device);
        } else if (pin) {
          const absl::Status pinned = CatchTorch("pinning", [&] { placed.values = placed.values.pin_memory(); });
          if (!pinned.ok()) {
            pin = false;  // copies from ordinary memory are slower, and right
            MG_LOG(WARNING) << "sources stream from memory that is not pinned device=" << options_.device << " message=\""
                            << pinned.message() << "\"";
          }
        }
        placed_[static_cast<size_t>(m)].push_back(std::move(placed));
      }
    }
  });
}

at::Tensor DeviceMerger::Load(int model, int tensor, int64_t first, int64_t count) {
  const Placed& placed = placed_[static_cast<size_t>(model)][static_cast<size_t>(tensor)];
  at::Tensor values = placed.values.narrow(0, first, count);
  traffic_.needed += static_cast<int64_t>(values.nbytes());
  if (!placed.resident) {
    traffic_.host_to_device += static_cast<int64_t>(values.nbytes());
    values = values.to(c10::Device(options_.device), /*non_blocking=*/true);
  }
  return values.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

absl::Status DeviceMerger::Run(const MergePlan& plan, DeviceArena& arena, std::stop_token stop) {
  if (plan.sources() != sources_)
    return absl::InvalidArgumentError("the plan was built for the sources of another materializer");
  if (arena.layout().tensors() != sources_->layout().tensors()) {
    return absl::InvalidArgumentError("the arena's layout is not that of the sources");
  }
  if (!stream_.has_value()) return RunHere(plan, arena, stop);
  return CatchTorchStatus("a merge on the device's stream", [&] {
    c10::Event before(stream_->device_type());
    before.record(c10::impl::VirtualGuardImpl(stream_->device_type()).getStream(stream_->device()));
    before.block(*stream_);
    const c10::StreamGuard guard(*stream_);
    absl::Status status = RunHere(plan, arena, stop);
    stream_->synchronize();
    return status;
  });
}

absl::Status DeviceMerger::RunHere(const MergePlan& plan, DeviceArena& arena, const std::stop_token& stop) {
  traffic_ = {};
  if (!MergesInChunks(plan)) return RunOnCpu(plan, arena, stop);
  MG_ASSIGN_OR_RETURN(const CandidateTerms* terms, materializer_.Resolve(plan, stop));
  for (size_t t = 0; t < sources_->layout().tensors().size(); ++t) {
    if (!HasItsMasks(terms->Of(static_cast<int>(t)))) return RunOnCpu(plan, arena, stop);
  }
  return RunInChunks(plan, *terms, arena, stop);
}

absl::Status DeviceMerger::RunOnCpu(const MergePlan& plan, DeviceArena& arena, const std::stop_token& stop) {
  if (host_arena_ == nullptr) {
    MG_ASSIGN_OR_RETURN(host_arena_, Arena::Create(sources_->layout()));
  }
  MG_RETURN_IF_ERROR(materializer_.Run(plan, *host_arena_, stop));
  const int64_t models = static_cast<int64_t>(plan.models().size()) + (plan.base() >= 0 ? 1 : 0);
  return CatchTorch("a merge of the CPU to the device", [&] {
    for (int t = 0; t < static_cast<int>(sources_->layout().tensors().size()); ++t) {
      arena.tensor(t).copy_(HostTensor(*host_arena_, t));
      traffic_.host_to_device += sources_->layout().tensors()[static_cast<size_t>(t)].NumBytes();
      traffic_.needed += (models + 1) * sources_->layout().tensors()[static_cast<size_t>(t)].NumBytes();
    }
  });
}

absl::Status DeviceMerger::RunInChunks(const MergePlan& plan, const CandidateTerms& terms, DeviceArena& arena,
                                       const std::stop_token& stop) {
  bool finite = true;
  const absl::Status status = CatchTorchStatus("a merge on the device", [&]() -> absl::Status {
    const c10::InferenceMode guard;
    // Zero as long as all is finite: three kernels a chunk, of which isfinite alone would be four.
    at::Tensor zero = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(c10::Device(arena.device())));
    for (int t = 0; t < static_cast<int>(sources_->layout().tensors().size()); ++t) {
      const TensorTerms own = terms.Of(t);
      const int64_t elements = sources_->layout().tensors()[static_cast<size_t>(t)].NumElements();
      for (int64_t first = 0; first < elements; first += options_.chunk_elements) {
        if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
        const int64_t count = std::min(options_.chunk_elements, elements - first);
        Chunk chunk{first, {}, {}};
        if (plan.base() >= 0) chunk.base = Load(plan.base(), t, first, count);
        for (const int model : plan.models()) chunk.sources.push_back(Load(model, t, first, count));
        for (const SourceTerm& term : own.sources) {
          const bool masked = term.mask_rule.kind == MaskRule::Kind::kSome || term.ranked.kind == MaskRule::Kind::kSome;
          if (masked) traffic_.host_to_device += (count + 7) / 8;
        }
        at::Tensor stored = arena.tensor(t).narrow(0, first, count);
        stored.copy_(MergeChunk(*plan.method(), own, std::move(chunk)));
        zero.add_(stored.mul(0).sum(at::kFloat));
        traffic_.needed += static_cast<int64_t>(stored.nbytes());
      }
    }
    finite = zero.item<float>() == 0;
    return absl::OkStatus();
  });
  if (!status.ok() || finite) return status;
  // The CPU's merge finds the same and says where.
  MG_RETURN_IF_ERROR(RunOnCpu(plan, arena, stop));
  return absl::InternalError("the device's merge holds a value that is not finite, and the CPU's does not");
}

}  // namespace merganser
