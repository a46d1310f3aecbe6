// Where the weights of one candidate lie: an ordered list of tensors, packed into one buffer that
// every candidate reuses.
#ifndef MERGANSER_WORKER_MERGE_ARENA_H_
#define MERGANSER_WORKER_MERGE_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "worker/checkpoint/dtype.h"

namespace merganser {

// One tensor that the consumer of the weights wants. Row-major.
struct ArenaTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kBF16;  // BF16, F16 or F32

  // Product of the shape.
  int64_t NumElements() const;
  // Bytes of the tensor.
  int64_t NumBytes() const { return NumElements() * SizeOf(dtype); }
  bool operator==(const ArenaTensor&) const = default;
};

// Immutable. Tensors lie in the given order, each on a 64-byte boundary; so neighbours whose sizes
// are multiples of 64 bytes (q, k, v of one layer; gate, up) follow each other without a gap and
// can be read as one matrix.
class ArenaLayout {
 public:
  // InvalidArgument: no tensor, a name given twice, a negative dimension, a size that overflows, or
  // a type other than BF16, F16 and F32.
  static absl::StatusOr<ArenaLayout> Create(std::vector<ArenaTensor> tensors);

  const std::vector<ArenaTensor>& tensors() const { return tensors_; }
  // Byte offset of tensors()[i].
  int64_t offset(int i) const { return offsets_[i]; }
  // Index of the tensor of that name, or -1.
  int IndexOf(absl::string_view name) const;
  // Bytes of the whole arena.
  int64_t TotalBytes() const { return total_bytes_; }

 private:
  std::vector<ArenaTensor> tensors_;
  std::vector<int64_t> offsets_;
  absl::flat_hash_map<std::string, int> index_of_;
  int64_t total_bytes_ = 0;
};

// Pages of arenas that are gone, for those to come: the kernel zeroes each page that it gives, which takes as long as
// merging into it. Any thread.
class ArenaPages {
 public:
  ArenaPages() = default;
  ~ArenaPages();
  ArenaPages(const ArenaPages&) = delete;
  ArenaPages& operator=(const ArenaPages&) = delete;

 private:
  friend class Arena;
  struct Mapping {
    std::byte* buffer = nullptr;
    size_t bytes = 0;
  };

  // Fresh pages; a null buffer if memory is not to be had.
  static Mapping MapPages(size_t bytes);
  // At least `bytes`: the smallest mapping that fits; else all are given back and a new one is made.
  Mapping Take(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  void Give(Mapping mapping) ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex mu_;
  std::vector<Mapping> free_ ABSL_GUARDED_BY(mu_);
};

// The buffer. Allocated once, and zeroed unless its pages were another's; the kernel is asked for huge pages. Not copyable
// or movable: pointers into it stay valid for its life. Threading: that of plain memory.
class Arena {
 public:
  struct View {
    DType dtype;
    const std::vector<int64_t>* shape;
    std::byte* data;
  };

  // ResourceExhausted, naming the wanted bytes, if memory is not to be had.
  // `pages`, if given, lends the memory and has it back.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(ArenaLayout layout, std::shared_ptr<ArenaPages> pages = nullptr);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const ArenaLayout& layout() const { return layout_; }
  // The tensor of that name; data is null if there is none.
  View Find(absl::string_view name) const;
  // First byte of layout().tensors()[i].
  std::byte* data(int i) const { return buffer_ + layout_.offset(i); }

 private:
  Arena(ArenaLayout layout, std::byte* buffer, size_t mapped, std::shared_ptr<ArenaPages> pages)
      : layout_(std::move(layout)), buffer_(buffer), mapped_(mapped), pages_(std::move(pages)) {}

  const ArenaLayout layout_;
  std::byte* const buffer_;
  const size_t mapped_;  // bytes
  const std::shared_ptr<ArenaPages> pages_;
};

// SHA-256 (hexadecimal) of the weights as stored: of the lines "name dtype shape sha256(bytes)" of
// all tensors, in the order of their names. So it does not depend on the layout's order.
std::string WeightsSha256(const Arena& arena);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_ARENA_H_
