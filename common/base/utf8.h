// Whether bytes are text.
#ifndef MERGANSER_COMMON_BASE_UTF8_H_
#define MERGANSER_COMMON_BASE_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace merganser {

// Where the first byte lies that is not part of well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above
// U+10FFFF); npos if all of `text` is.
size_t FindInvalidUtf8(absl::string_view text);

// `text` with each byte that is not part of well-formed UTF-8 as the character of that number: what yaml-cpp 0.7 makes of
// the escapes \_ (no-break space) and \N (next line).
std::string WithLoneBytesAsCharacters(absl::string_view text);

// OK, or InvalidArgument "FILE:LINE: not UTF-8 text".
absl::Status CheckUtf8(absl::string_view text, absl::string_view file);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_UTF8_H_
