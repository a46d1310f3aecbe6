// Entry for libFuzzer (clang++ -fsanitize=fuzzer,address) and for the mutation test, which calls it
// as a plain function: the parser may refuse any bytes, but what it accepts must lie within them
// and have the size that its shape says.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "worker/checkpoint/finite_scan.h"
#include "worker/checkpoint/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto contents = merganser::ParseSafetensors(absl::MakeConstSpan(begin, size), "fuzz.safetensors");
  if (!contents.ok()) {
    if (contents.status().message().empty()) std::abort();
    return 0;
  }
  size_t covered = 0;
  for (const merganser::TensorView& tensor : contents->tensors) {
    if (tensor.data.data() < begin || tensor.data.data() + tensor.data.size() > begin + size) std::abort();
    const int64_t bytes = tensor.NumElements() * merganser::SizeOf(tensor.dtype);
    if (bytes != static_cast<int64_t>(tensor.data.size())) std::abort();
    (void)merganser::FirstNonFinite(tensor);  // touches every byte
    covered += tensor.data.size();
  }
  return covered <= size ? 0 : (std::abort(), 1);
}
