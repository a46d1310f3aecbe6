#include "common/codec/event_outline.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// What becomes of a field that holds bytes: true if `edit` has seen to it.
using Edit = absl::FunctionRef<bool(int field, absl::string_view body, std::string* out)>;

// Appends the fields of `message` to `out`; false: it is none.
bool CopyFields(absl::string_view message, Edit edit, std::string* out) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size()));
  while (true) {
    const int begin = in.CurrentPosition();
    const uint32_t tag = in.ReadTag();
    if (tag == 0) return in.ConsumedEntireMessage();
    if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      int size = 0;
      if (!in.ReadVarintSizeAsInt(&size)) return false;
      const int body = in.CurrentPosition();
      if (!in.Skip(size)) return false;
      if (edit(WireFormatLite::GetTagFieldNumber(tag), message.substr(static_cast<size_t>(body), static_cast<size_t>(size)),
               out)) {
        continue;
      }
    } else if (!WireFormatLite::SkipField(&in, tag)) {
      return false;
    }
    out->append(message.data() + begin, static_cast<size_t>(in.CurrentPosition() - begin));
  }
}

void AppendField(int field, absl::string_view body, std::string* out) {
  uint8_t head[20];
  uint8_t* end = WireFormatLite::WriteTagToArray(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED, head);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(body.size()), end);
  out->append(reinterpret_cast<const char*>(head), static_cast<size_t>(end - head));
  out->append(body.data(), body.size());
}

// An Edit that copies the messages in `field` by `inner`.
auto Inside(int field, Edit inner, bool* whole) {
  return [field, inner, whole](int at, absl::string_view body, std::string* out) {
    if (at != field) return false;
    std::string copy;
    *whole = CopyFields(body, inner, &copy) && *whole;
    AppendField(at, copy, out);
    return true;
  };
}

}  // namespace

std::string EventOutline(absl::string_view event) {
  bool whole = true;
  const auto drop = [](int field, absl::string_view, std::string*) {
    return field == v1::Candidate::kGenomeFieldNumber || field == v1::Candidate::kRecipeFieldNumber;
  };
  const auto proposed = Inside(v1::CandidatesProposed::kCandidatesFieldNumber, drop, &whole);
  std::string out;
  whole = CopyFields(event, Inside(v1::JobEvent::kCandidatesProposedFieldNumber, proposed, &whole), &out) && whole;
  return whole ? out : std::string(event);
}

}  // namespace merganser
