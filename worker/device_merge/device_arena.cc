#include "worker/device_merge/device_arena.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/device.h"
#include "worker/engine/scalar_type.h"
#include "worker/engine/torch_status.h"

namespace merganser {

absl::StatusOr<std::unique_ptr<DeviceArena>> DeviceArena::Create(ArenaLayout layout, const std::string& device) {
  MG_ASSIGN_OR_RETURN(const c10::Device parsed, ParseDevice(device));
  MG_RETURN_IF_ERROR(PrepareDevice(parsed));
  std::unique_ptr<DeviceArena> arena(new DeviceArena(std::move(layout), device));
  MG_RETURN_IF_ERROR(CatchTorch(absl::StrCat("an arena of ", arena->layout_.TotalBytes(), " bytes on ", device), [&] {
    arena->buffer_ = at::empty({arena->layout_.TotalBytes()}, at::TensorOptions().dtype(at::kByte).device(parsed));
    for (size_t i = 0; i < arena->layout_.tensors().size(); ++i) {
      const ArenaTensor& tensor = arena->layout_.tensors()[i];
      arena->tensors_.push_back(arena->buffer_.narrow(0, arena->layout_.offset(static_cast<int>(i)), tensor.NumBytes())
                                    .view(ScalarTypeOf(tensor.dtype)));
    }
  }));
  return arena;
}

absl::StatusOr<WeightView> DeviceArenaWeights::Find(absl::string_view name) const {
  const ArenaLayout& layout = arena_->layout();
  int i = layout.IndexOf(name);
  if (i < 0) i = layout.IndexOf(absl::StrCat("language_model.", name));
  if (i < 0 && absl::StartsWith(name, "model.")) i = layout.IndexOf(absl::StrCat("model.language_model.", name.substr(6)));
  if (i < 0) return absl::NotFoundError(absl::StrCat("the merge has no tensor '", name, "'"));
  const ArenaTensor& tensor = layout.tensors()[static_cast<size_t>(i)];
  return WeightView{tensor.dtype, tensor.shape, static_cast<const std::byte*>(arena_->tensor(i).const_data_ptr())};
}

}  // namespace merganser
