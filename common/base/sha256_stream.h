// SHA-256 of bytes that come in pieces.
#ifndef MERGANSER_COMMON_BASE_SHA256_STREAM_H_
#define MERGANSER_COMMON_BASE_SHA256_STREAM_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

struct evp_md_ctx_st;

namespace merganser {

// Not thread-safe.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept = default;
  Sha256Stream& operator=(Sha256Stream&&) noexcept = default;

  void Add(absl::string_view bytes);
  // Of all that was added, as lower-case hexadecimal. Once.
  std::string Hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_SHA256_STREAM_H_
