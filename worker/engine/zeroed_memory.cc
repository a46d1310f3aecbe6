#include "worker/engine/zeroed_memory.h"

#include <sys/mman.h>

#include "absl/strings/str_cat.h"

namespace merganser {

absl::StatusOr<ZeroedMemory> ZeroedMemory::Allocate(int64_t floats) {
  ZeroedMemory memory;
  memory.bytes_ = static_cast<size_t>(floats) * sizeof(float);
  if (memory.bytes_ == 0) return memory;
  void* address = mmap(nullptr, memory.bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", memory.bytes_, " bytes of memory"));
  }
  madvise(address, memory.bytes_,
          MADV_HUGEPAGE);  // fewer page faults and table look-ups; only a wish
  memory.data_ = static_cast<float*>(address);
  return memory;
}

ZeroedMemory::~ZeroedMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace merganser
