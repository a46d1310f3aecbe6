#include "worker/checkpoint/tensor_view.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace merganser {

int64_t TensorView::NumElements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::string ShapeText(absl::Span<const int64_t> shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

std::string Printable(absl::string_view name) {
  constexpr size_t kBytesMax = 120;
  const std::string escaped = absl::Utf8SafeCHexEscape(name.substr(0, kBytesMax));
  return name.size() > kBytesMax ? absl::StrCat(escaped, "...") : escaped;
}

}  // namespace merganser
