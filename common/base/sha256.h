// SHA-256 of bytes, as lower-case hexadecimal.
#ifndef MERGANSER_COMMON_BASE_SHA256_H_
#define MERGANSER_COMMON_BASE_SHA256_H_

#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

std::string Sha256Hex(absl::string_view bytes);

// 128 random bits from the operating system, as 32 hexadecimal digits: attempt tokens, request ids.
std::string RandomToken();

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_SHA256_H_
