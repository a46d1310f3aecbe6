// What Tokenizer and Template share to call rust_abi.h: owners for what it returns, and its codes
// as absl::Status. Internal to this folder.
#ifndef MERGANSER_WORKER_TEXT_RUST_CALL_H_
#define MERGANSER_WORKER_TEXT_RUST_CALL_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "worker/text/rust_abi.h"

namespace merganser::text_internal {

// Owns one MgTextBuffer; empty until a call wrote it.
class RustBuffer {
 public:
  RustBuffer() = default;
  RustBuffer(const RustBuffer&) = delete;
  RustBuffer& operator=(const RustBuffer&) = delete;
  ~RustBuffer() { mg_text_buffer_free(buffer_); }
  MgTextBuffer* out() { return &buffer_; }
  absl::string_view view() const { return {buffer_.data, buffer_.size}; }

 private:
  MgTextBuffer buffer_ = {nullptr, 0};
};

// Owns one MgTextIds; empty until a call wrote it.
class RustIds {
 public:
  RustIds() = default;
  RustIds(const RustIds&) = delete;
  RustIds& operator=(const RustIds&) = delete;
  ~RustIds() { mg_text_ids_free(ids_); }
  MgTextIds* out() { return &ids_; }
  const uint32_t* data() const { return ids_.data; }
  size_t size() const { return ids_.size; }

 private:
  MgTextIds ids_ = {nullptr, 0};
};

inline MgTextSlice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }

// OK, InvalidArgument, ResourceExhausted or Internal, with the library's message.
inline absl::Status ToStatus(int32_t code, const RustBuffer& error) {
  switch (code) {
    case MG_TEXT_OK:
      return absl::OkStatus();
    case MG_TEXT_INVALID_ARGUMENT:
      return absl::InvalidArgumentError(error.view());
    case MG_TEXT_RESOURCE_EXHAUSTED:
      return absl::ResourceExhaustedError(error.view());
    default:
      return absl::InternalError(error.view());
  }
}

// InvalidArgument unless `text` has at most `max_bytes`.
inline absl::Status CheckSize(absl::string_view what, absl::string_view text, int64_t max_bytes) {
  if (static_cast<int64_t>(text.size()) <= max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " has ", text.size(), " bytes, more than the ", max_bytes, " allowed"));
}

}  // namespace merganser::text_internal

#endif  // MERGANSER_WORKER_TEXT_RUST_CALL_H_
