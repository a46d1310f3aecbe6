// The JSON header of a safetensors file. Private to this folder.
#ifndef MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_HEADER_H_
#define MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/checkpoint/dtype.h"

namespace merganser {

// One entry of the header, as written: only its own numbers have been checked, not the file around
// it.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // offsets from the start of the data; begin <= end
  int64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of the JSON
  std::map<std::string, std::string> metadata;
};

// Parses the JSON text and checks each entry by itself: all three fields once, a known type, and
// end - begin equal to the bytes that type and shape ask for (without overflow). InvalidArgument
// names `path`, the tensor and the numbers.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_HEADER_H_
