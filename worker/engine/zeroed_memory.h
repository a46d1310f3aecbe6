// A block of zeros from the operating system.
#ifndef MERGANSER_WORKER_ENGINE_ZEROED_MEMORY_H_
#define MERGANSER_WORKER_ENGINE_ZEROED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace merganser {

// Floats that start as zero, page-aligned; pages that are never written take no memory. Movable,
// owns its mapping.
class ZeroedMemory {
 public:
  // ResourceExhausted naming the bytes.
  static absl::StatusOr<ZeroedMemory> Allocate(int64_t floats);

  ZeroedMemory() = default;
  ZeroedMemory(ZeroedMemory&& other) noexcept { *this = std::move(other); }
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~ZeroedMemory();

  float* data() const { return data_; }

 private:
  float* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ZEROED_MEMORY_H_
