#include "client/message_json.h"

#include <cmath>
#include <map>

#include "absl/time/time.h"
#include "common/codec/time_codec.h"
#include "google/protobuf/struct.pb.h"

namespace merganser {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json ValueJson(const google::protobuf::Value& value) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      return Number(value.number_value());
    case google::protobuf::Value::kStringValue:
      return value.string_value();
    case google::protobuf::Value::kBoolValue:
      return value.bool_value();
    case google::protobuf::Value::kListValue: {
      Json list = Json::array();
      for (const auto& item : value.list_value().values()) list.push_back(ValueJson(item));
      return list;
    }
    case google::protobuf::Value::kStructValue: {
      std::map<std::string, Json> sorted;
      for (const auto& [key, inner] : value.struct_value().fields()) sorted[key] = ValueJson(inner);
      return Json(sorted);
    }
    default:
      return nullptr;
  }
}

// `index`: of a repeated field, -1 for a single one.
Json One(const Message& message, const FieldDescriptor* field, int index) {
  const auto* r = message.GetReflection();
  const bool many = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return many ? r->GetRepeatedString(message, field, index) : r->GetString(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(many ? r->GetRepeatedDouble(message, field, index) : r->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_INT32:
      return many ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return many ? r->GetRepeatedInt64(message, field, index) : r->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return many ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return many ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageJson(many ? r->GetRepeatedMessage(message, field, index) : r->GetMessage(message, field));
    default:
      return nullptr;
  }
}

Json FieldJson(const Message& message, const FieldDescriptor* field) {
  const auto* r = message.GetReflection();
  if (field->is_map()) {
    std::map<std::string, Json> sorted;
    for (int i = 0; i < r->FieldSize(message, field); ++i) {
      const Message& entry = r->GetRepeatedMessage(message, field, i);
      const std::string key = entry.GetReflection()->GetString(entry, field->message_type()->map_key());
      sorted[key] = One(entry, field->message_type()->map_value(), -1);
    }
    return Json(sorted);
  }
  if (!field->is_repeated()) return One(message, field, -1);
  Json list = Json::array();
  for (int i = 0; i < r->FieldSize(message, field); ++i) list.push_back(One(message, field, i));
  return list;
}

}  // namespace

Json MessageJson(const Message& message) {
  const auto* type = message.GetDescriptor();
  if (type == google::protobuf::Timestamp::descriptor()) {
    return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", FromProto(static_cast<const google::protobuf::Timestamp&>(message)),
                            absl::UTCTimeZone());
  }
  if (type == google::protobuf::Duration::descriptor()) {
    return absl::FormatDuration(FromProto(static_cast<const google::protobuf::Duration&>(message)));
  }
  if (type == google::protobuf::Value::descriptor()) {
    return ValueJson(static_cast<const google::protobuf::Value&>(message));
  }
  if (type->field_count() == 1 && type->field(0)->is_repeated() && !type->field(0)->is_map() &&
      type->field(0)->name() == "values") {
    return FieldJson(message, type->field(0));
  }
  Json json = Json::object();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->has_presence() && !message.GetReflection()->HasField(message, field)) continue;
    json[field->name()] = FieldJson(message, field);
  }
  return json;
}

std::string DumpJson(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

}  // namespace merganser
