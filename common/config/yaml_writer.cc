#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/config/yaml_message.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Shortest(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

void Emit(const Message& message, YAML::Emitter& out);

void EmitValue(const google::protobuf::Value& value, YAML::Emitter& out);

void EmitList(const google::protobuf::ListValue& list, YAML::Emitter& out) {
  out << YAML::Flow << YAML::BeginSeq;
  for (const auto& item : list.values()) EmitValue(item, out);
  out << YAML::EndSeq;
}

// A string that a reader could take for a number or a boolean is quoted.
void EmitString(const std::string& text, YAML::Emitter& out) {
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool ambiguous = text.empty() || text == "true" || text == "false" || text == "null" || text == "~" ||
                         (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size());
  if (ambiguous || text.find('\n') != std::string::npos) {
    out << YAML::DoubleQuoted << text;
  } else {
    out << text;
  }
}

void EmitValue(const google::protobuf::Value& value, YAML::Emitter& out) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      out << Shortest(value.number_value());
      break;
    case google::protobuf::Value::kStringValue:
      EmitString(value.string_value(), out);
      break;
    case google::protobuf::Value::kBoolValue:
      out << (value.bool_value() ? "true" : "false");
      break;
    case google::protobuf::Value::kListValue:
      EmitList(value.list_value(), out);
      break;
    case google::protobuf::Value::kStructValue: {
      std::vector<std::string> keys;
      for (const auto& [key, inner] : value.struct_value().fields()) keys.push_back(key);
      std::sort(keys.begin(), keys.end());
      out << YAML::Flow << YAML::BeginMap;
      for (const std::string& key : keys) {
        out << YAML::Key << key << YAML::Value;
        EmitValue(value.struct_value().fields().at(key), out);
      }
      out << YAML::EndMap;
      break;
    }
    default:
      out << YAML::Null;
  }
}

void EmitScalar(const Message& message, const FieldDescriptor* field, int index, YAML::Emitter& out) {
  const Reflection* r = message.GetReflection();
  const bool many = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      EmitString(many ? r->GetRepeatedString(message, field, index) : r->GetString(message, field), out);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      out << Shortest(many ? r->GetRepeatedDouble(message, field, index) : r->GetDouble(message, field));
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      out << (many ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      out << (many ? r->GetRepeatedInt64(message, field, index) : r->GetInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      out << absl::StrCat(many ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      out << ((many ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field)) ? "true" : "false");
      break;
    default:
      out << YAML::Null;
  }
}

void EmitOne(const Message& message, const FieldDescriptor* field, int index, YAML::Emitter& out) {
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return EmitScalar(message, field, index, out);
  const Reflection* r = message.GetReflection();
  Emit(index >= 0 ? r->GetRepeatedMessage(message, field, index) : r->GetMessage(message, field), out);
}

void EmitMap(const Message& message, const FieldDescriptor* field, YAML::Emitter& out) {
  const Reflection* r = message.GetReflection();
  std::vector<std::pair<std::string, const Message*>> entries;
  for (int i = 0; i < r->FieldSize(message, field); ++i) {
    const Message& entry = r->GetRepeatedMessage(message, field, i);
    entries.emplace_back(entry.GetReflection()->GetString(entry, field->message_type()->map_key()), &entry);
  }
  std::sort(entries.begin(), entries.end());
  const bool flat = field->message_type()->map_value()->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE;
  if (flat) out << YAML::Flow;
  out << YAML::BeginMap;
  for (const auto& [key, entry] : entries) {
    out << YAML::Key << key << YAML::Value;
    EmitOne(*entry, field->message_type()->map_value(), -1, out);
  }
  out << YAML::EndMap;
}

void Emit(const Message& message, YAML::Emitter& out) {
  const auto* type = message.GetDescriptor();
  if (type == google::protobuf::Value::descriptor()) {
    return EmitValue(static_cast<const google::protobuf::Value&>(message), out);
  }
  if (type == google::protobuf::ListValue::descriptor()) {
    return EmitList(static_cast<const google::protobuf::ListValue&>(message), out);
  }
  if (type == google::protobuf::Duration::descriptor()) {
    const auto& d = static_cast<const google::protobuf::Duration&>(message);
    out << absl::FormatDuration(absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos()));
    return;
  }
  if (type == google::protobuf::Timestamp::descriptor()) {
    const auto& t = static_cast<const google::protobuf::Timestamp&>(message);
    out << absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixSeconds(t.seconds()) + absl::Nanoseconds(t.nanos()),
                            absl::UTCTimeZone());
    return;
  }
  const bool plain_list = type->field_count() == 1 && type->field(0)->is_repeated() && type->field(0)->name() == "values" &&
                          !type->field(0)->is_map();
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  if (plain_list && fields.empty()) {
    out << YAML::Flow << YAML::BeginSeq << YAML::EndSeq;
    return;
  }
  if (fields.empty()) out << YAML::Flow;
  if (!plain_list) out << YAML::BeginMap;
  for (const FieldDescriptor* field : fields) {
    if (!plain_list) out << YAML::Key << field->name() << YAML::Value;
    if (field->is_map()) {
      EmitMap(message, field, out);
    } else if (field->is_repeated()) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) EmitOne(message, field, i, out);
      out << YAML::EndSeq;
    } else {
      EmitOne(message, field, -1, out);
    }
  }
  if (!plain_list) out << YAML::EndMap;
}

}  // namespace

std::string WriteYaml(const Message& message) {
  YAML::Emitter out;
  Emit(message, out);
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace merganser
