#include "common/rpc/error_details.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/codec/time_codec.h"

namespace merganser {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr char kRetryInfo[] = "type.googleapis.com/google.rpc.RetryInfo";
constexpr char kBadRequest[] = "type.googleapis.com/google.rpc.BadRequest";
// Fields of google.rpc.Status, RetryInfo, BadRequest and its FieldViolation.
constexpr int kCode = 1, kMessage = 2, kDetails = 3, kRetryDelay = 1, kFieldViolations = 1, kField = 1, kDescription = 2;

void Write(int field, const std::string& bytes, CodedOutputStream* out) {
  out->WriteTag(WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  out->WriteVarint32(static_cast<uint32_t>(bytes.size()));
  out->WriteString(bytes);
}

// The length-delimited fields of a message, until its end or the first damage.
void EachField(absl::string_view message, const std::function<void(int, const std::string&)>& take) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return;
      continue;
    }
    uint32_t size = 0;
    std::string bytes;
    if (!in.ReadVarint32(&size) || size > message.size() || !in.ReadString(&bytes, static_cast<int>(size))) return;
    take(WireFormatLite::GetTagFieldNumber(tag), bytes);
  }
}

std::string Encoded(const std::function<void(CodedOutputStream*)>& write) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  CodedOutputStream out(&stream);
  write(&out);
  out.Trim();
  return bytes;
}

}  // namespace

void SetRetryDelay(absl::Status* status, absl::Duration delay) {
  const std::string duration = ToProto(absl::Ceil(delay, absl::Milliseconds(1))).SerializeAsString();
  status->SetPayload(kRetryInfo, absl::Cord(Encoded([&](CodedOutputStream* out) { Write(kRetryDelay, duration, out); })));
}

std::optional<absl::Duration> RetryDelayOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfo);
  if (!payload.has_value()) return std::nullopt;
  std::optional<absl::Duration> delay;
  EachField(std::string(*payload), [&](int field, const std::string& bytes) {
    google::protobuf::Duration duration;
    if (field == kRetryDelay && duration.ParseFromString(bytes)) delay = FromProto(duration);
  });
  return delay;
}

void AddFieldViolation(absl::Status* status) {
  if (!absl::IsInvalidArgument(*status)) return;
  const absl::string_view message = status->message();
  const size_t end = message.find(": ");
  if (end == 0 || end == absl::string_view::npos) return;
  const absl::string_view field = message.substr(0, end);
  const auto of_a_path = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || absl::StrContains("._[]", c);
  };
  if (!std::all_of(field.begin(), field.end(), of_a_path)) return;
  const std::string violation = Encoded([&](CodedOutputStream* out) {
    Write(kField, std::string(field), out);
    Write(kDescription, std::string(message.substr(end + 2)), out);
  });
  status->SetPayload(kBadRequest,
                     absl::Cord(Encoded([&](CodedOutputStream* out) { Write(kFieldViolations, violation, out); })));
}

std::optional<std::pair<std::string, std::string>> FieldViolationOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kBadRequest);
  if (!payload.has_value()) return std::nullopt;
  std::optional<std::pair<std::string, std::string>> found;
  EachField(std::string(*payload), [&](int field, const std::string& bytes) {
    if (field != kFieldViolations || found.has_value()) return;
    found.emplace();
    EachField(bytes, [&](int of, const std::string& text) {
      if (of == kField) found->first = text;
      if (of == kDescription) found->second = text;
    });
  });
  return found;
}

void BoundMessage(absl::Status* status) {
  const absl::string_view message = status->message();
  if (status->ok() || message.size() <= kStatusMessageBytesMax) return;
  size_t end = kStatusMessageBytesMax - 40;  // room for what is said of the rest
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  absl::Status bounded(status->code(), absl::StrCat(message.substr(0, end), "... (", message.size() - end, " bytes more)"));
  status->ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { bounded.SetPayload(url, payload); });
  *status = std::move(bounded);
}

std::string EncodeErrorDetails(const absl::Status& status) {
  std::vector<std::string> details;
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    google::protobuf::Any any;
    any.set_type_url(std::string(type_url));
    any.set_value(std::string(payload));
    details.push_back(any.SerializeAsString());
  });
  if (details.empty()) return "";
  return Encoded([&](CodedOutputStream* out) {
    out->WriteTag(WireFormatLite::MakeTag(kCode, WireFormatLite::WIRETYPE_VARINT));
    out->WriteVarint32(static_cast<uint32_t>(status.code()));
    Write(kMessage, std::string(status.message()), out);
    for (const std::string& detail : details) Write(kDetails, detail, out);
  });
}

void DecodeErrorDetails(absl::string_view details, absl::Status* status) {
  EachField(details, [&](int field, const std::string& bytes) {
    google::protobuf::Any any;
    if (field == kDetails && any.ParseFromString(bytes)) status->SetPayload(any.type_url(), absl::Cord(any.value()));
  });
}

}  // namespace merganser
