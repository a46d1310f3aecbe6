// UTF-8 as Unicode defines it (no surrogates, no overlong forms, at most U+10FFFF).
#ifndef MERGANSER_WORKER_BENCHMARK_UTF8_H_
#define MERGANSER_WORKER_BENCHMARK_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

// Length in bytes (1 to 4) of the valid character at the start of `text`, 0 if there is none.
// `code_point`, if not null, receives the character.
int Utf8Character(absl::string_view text, uint32_t* code_point);

// Offset of the first byte that is not part of a valid character; nullopt if all of `text` is
// valid.
std::optional<size_t> FirstInvalidUtf8(absl::string_view text);

// `text` with each byte that is not part of a valid character replaced by U+FFFD.
std::string ToValidUtf8(absl::string_view text);

// The first `max_bytes` bytes of `text`, less a character that would be cut in two, plus "..." if
// anything is missing. For values inside error messages.
std::string Shortened(absl::string_view text, size_t max_bytes = 120);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_UTF8_H_
