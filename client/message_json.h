// Protobuf messages as JSON for programs: snake_case names, 64-bit numbers as numbers, times in RFC
// 3339, durations as "90s".
#ifndef MERGANSER_CLIENT_MESSAGE_JSON_H_
#define MERGANSER_CLIENT_MESSAGE_JSON_H_

#include <string>

#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace merganser {

using Json = nlohmann::ordered_json;

// Plain fields, lists and maps are always there, so that programs need not ask; messages and
// `optional` fields where set. A message whose only field is `repeated values` is the plain list,
// as in YAML. Numbers that are not finite are null.
Json MessageJson(const google::protobuf::Message& message);

// Indented by two (`indent` -1: one line), ending in '\n'. Bytes that are no UTF-8 become U+FFFD.
std::string DumpJson(const Json& json, int indent = 2);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_MESSAGE_JSON_H_
