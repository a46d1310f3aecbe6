#include "client/spec_difference.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/message_json.h"
#include "common/codec/job_spec_codec.h"

namespace merganser {
namespace {

// {"space.parameter.sources[1]": "\"math\"", ...}
void Flatten(const Json& json, const std::string& path, std::map<std::string, std::string>* leaves) {
  if (json.is_object() && !json.empty()) {
    for (const auto& [key, value] : json.items()) Flatten(value, path.empty() ? key : absl::StrCat(path, ".", key), leaves);
  } else if (json.is_array() && !json.empty()) {
    for (size_t i = 0; i < json.size(); ++i) Flatten(json[i], absl::StrCat(path, "[", i, "]"), leaves);
  } else {
    (*leaves)[path] = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

}  // namespace

std::optional<std::string> SpecDifference(const JobSpec& stored, const JobSpec& file) {
  std::map<std::string, std::string> a, b;
  Flatten(MessageJson(ToProto(stored)), "", &a);
  Flatten(MessageJson(ToProto(file)), "", &b);
  std::set<std::string> paths;
  for (const auto& [path, value] : a) paths.insert(path);
  for (const auto& [path, value] : b) paths.insert(path);
  const auto text = [](const std::map<std::string, std::string>& leaves, const std::string& path) {
    const auto it = leaves.find(path);
    return it == leaves.end() ? std::string("unset") : it->second;
  };
  for (const std::string& path : paths) {
    const std::string left = text(a, path), right = text(b, path);
    if (left != right) return absl::StrCat(path, ": ", left, " in the store, ", right, " in the file");
  }
  return std::nullopt;
}

}  // namespace merganser
