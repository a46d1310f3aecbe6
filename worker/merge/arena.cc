#include "worker/merge/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/sha256.h"

namespace merganser {
namespace {

constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector register
constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Mappings that others are to take over have few sizes, so that they fit: quarters of powers of two. What is not touched
// costs addresses only.
int64_t LentBytes(int64_t bytes) {
  const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes)));
  return RoundUp(bytes, std::max(kHugePage, power / 4));
}

}  // namespace

int64_t ArenaTensor::NumElements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

absl::StatusOr<ArenaLayout> ArenaLayout::Create(std::vector<ArenaTensor> tensors) {
  if (tensors.empty()) return absl::InvalidArgumentError("arena layout: no tensors");
  ArenaLayout layout;
  int64_t offset = 0;
  for (const ArenaTensor& tensor : tensors) {
    if (tensor.dtype != DType::kBF16 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kF32) {
      return absl::InvalidArgumentError(absl::StrCat("arena layout: tensor '", tensor.name, "' has type ",
                                                     Name(tensor.dtype), "; merges are stored as BF16, F16 or F32"));
    }
    int64_t bytes = SizeOf(tensor.dtype);
    for (const int64_t dim : tensor.shape) {
      if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes) || bytes > (int64_t{1} << 56)) {
        return absl::InvalidArgumentError(absl::StrCat("arena layout: tensor '", tensor.name, "' has no valid shape [",
                                                       absl::StrJoin(tensor.shape, ", "), "]"));
      }
    }
    if (!layout.index_of_.emplace(tensor.name, static_cast<int>(layout.offsets_.size())).second) {
      return absl::InvalidArgumentError(absl::StrCat("arena layout: tensor '", tensor.name, "' is listed twice"));
    }
    layout.offsets_.push_back(offset);
    offset = RoundUp(offset + bytes, kAlignment);
    if (offset > (int64_t{1} << 56)) return absl::InvalidArgumentError("arena layout: the sizes overflow");
  }
  layout.total_bytes_ = offset;
  layout.tensors_ = std::move(tensors);
  return layout;
}

int ArenaLayout::IndexOf(absl::string_view name) const {
  const auto it = index_of_.find(name);
  return it == index_of_.end() ? -1 : it->second;
}

ArenaPages::Mapping ArenaPages::MapPages(size_t bytes) {
  void* buffer = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) return {};
  madvise(buffer, bytes, MADV_HUGEPAGE);  // advice only: without huge pages the merge is merely slower
  return {static_cast<std::byte*>(buffer), bytes};
}

ArenaPages::~ArenaPages() {
  for (const Mapping& mapping : free_) munmap(mapping.buffer, mapping.bytes);
}

ArenaPages::Mapping ArenaPages::Take(size_t bytes) {
  {
    const absl::MutexLock lock(&mu_);
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->bytes >= bytes && (best == free_.end() || it->bytes < best->bytes)) best = it;
    }
    if (best != free_.end()) {
      const Mapping mapping = *best;
      free_.erase(best);
      return mapping;
    }
    for (const Mapping& mapping : free_) munmap(mapping.buffer, mapping.bytes);
    free_.clear();
  }
  return MapPages(bytes);
}

void ArenaPages::Give(Mapping mapping) {
  const absl::MutexLock lock(&mu_);
  free_.push_back(mapping);
}

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(ArenaLayout layout, std::shared_ptr<ArenaPages> pages) {
  const int64_t wanted = std::max<int64_t>(layout.TotalBytes(), 1);
  const auto bytes = static_cast<size_t>(pages != nullptr ? LentBytes(wanted) : RoundUp(wanted, kHugePage));
  const ArenaPages::Mapping mapping = pages != nullptr ? pages->Take(bytes) : ArenaPages::MapPages(bytes);
  if (mapping.buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the merged weights: ", layout.TotalBytes(), " bytes wanted"));
  }
  return std::unique_ptr<Arena>(new Arena(std::move(layout), mapping.buffer, mapping.bytes, std::move(pages)));
}

Arena::~Arena() {
  if (pages_ != nullptr) {
    pages_->Give({buffer_, mapped_});
  } else {
    munmap(buffer_, mapped_);
  }
}

Arena::View Arena::Find(absl::string_view name) const {
  const int i = layout_.IndexOf(name);
  if (i < 0) return {DType::kF32, nullptr, nullptr};
  return {layout_.tensors()[i].dtype, &layout_.tensors()[i].shape, data(i)};
}

std::string WeightsSha256(const Arena& arena) {
  const std::vector<ArenaTensor>& tensors = arena.layout().tensors();
  std::vector<int> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return tensors[a].name < tensors[b].name; });
  std::string lines;
  for (const int i : order) {
    const absl::string_view bytes(reinterpret_cast<const char*>(arena.data(i)), static_cast<size_t>(tensors[i].NumBytes()));
    absl::StrAppend(&lines, tensors[i].name, " ", Name(tensors[i].dtype), " [", absl::StrJoin(tensors[i].shape, ","), "] ",
                    Sha256Hex(bytes), "\n");
  }
  return Sha256Hex(lines);
}

}  // namespace merganser
