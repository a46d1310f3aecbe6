#include "worker/checkpoint/evo_mistral.h"

#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {

absl::StatusOr<std::vector<Hop>> ReadEvoMistralPath(const WeightFiles& files) {
  const TensorView* layers = files.Find(kInputLayersTensor);
  const TensorView* scales = files.Find(kInputScalesTensor);
  const auto bad = [&](absl::string_view tensor, absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", files.dir(), "': tensor '", tensor, "' ", what));
  };
  if (layers == nullptr) return bad(kInputLayersTensor, "is missing");
  if (scales == nullptr) return bad(kInputScalesTensor, "is missing");
  if (layers->dtype != DType::kI32 || layers->shape.size() != 1)
    return bad(kInputLayersTensor,
               absl::StrCat("is ", Name(layers->dtype), " ", ShapeText(layers->shape), "; expected I32 [hops]"));
  if (scales->dtype != DType::kF32 || scales->shape != layers->shape)
    return bad(kInputScalesTensor, absl::StrCat("is ", Name(scales->dtype), " ", ShapeText(scales->shape), "; expected F32 ",
                                                ShapeText(layers->shape)));
  std::vector<Hop> path;
  for (int64_t i = 0; i < layers->shape[0]; ++i) {
    int32_t layer;
    float scale;
    std::memcpy(&layer, layers->data.data() + i * 4, 4);
    std::memcpy(&scale, scales->data.data() + i * 4, 4);
    if (layer < 0) return bad(kInputLayersTensor, absl::StrCat("holds layer ", layer, " at ", i));
    if (!std::isfinite(scale)) return bad(kInputScalesTensor, absl::StrCat("holds ", scale, " at ", i));
    path.push_back({0, layer, static_cast<double>(scale)});
  }
  if (path.empty()) return bad(kInputLayersTensor, "is empty");
  return path;
}

}  // namespace merganser
