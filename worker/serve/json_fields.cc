#include "worker/serve/json_fields.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "worker/serve/api_error.h"

namespace merganser {

const nlohmann::json* JsonFields::Take(const std::string& name) {
  taken_.insert(name);
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

absl::Status JsonFields::Number(const std::string& name, double low, double high, double* value) {
  const nlohmann::json* field = Take(name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_number()) return ParamError(name, "must be a number");
  const double number = field->get<double>();
  if (!(number >= low && number <= high)) {
    return ParamError(name, absl::StrCat("is ", number, ", not in [", low, ", ", high, "]"));
  }
  *value = number;
  return absl::OkStatus();
}

absl::Status JsonFields::Integer(const std::string& name, int64_t low, int64_t high, int64_t* value) {
  const nlohmann::json* field = Take(name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_number_integer()) return ParamError(name, "must be an integer");
  // Beyond int64_t a number is out of any range.
  const bool huge = field->is_number_unsigned() && field->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : field->get<int64_t>();
  if (huge || number < low || number > high) {
    return ParamError(name, absl::StrCat("is ", field->dump(), ", not in [", low, ", ", high, "]"));
  }
  *value = number;
  return absl::OkStatus();
}

absl::Status JsonFields::Bool(const std::string& name, bool* value) {
  const nlohmann::json* field = Take(name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_boolean()) return ParamError(name, "must be true or false");
  *value = field->get<bool>();
  return absl::OkStatus();
}

absl::Status JsonFields::String(const std::string& name, std::string* value) {
  const nlohmann::json* field = Take(name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_string()) return ParamError(name, "must be a string");
  *value = field->get<std::string>();
  return absl::OkStatus();
}

absl::Status JsonFields::Neutral(const std::string& name, const nlohmann::json& neutral) {
  const nlohmann::json* field = Take(name);
  if (field == nullptr || *field == neutral) return absl::OkStatus();
  return ParamError(name, absl::StrCat("is not supported here: leave it out, or at ", neutral.dump()),
                    "unsupported_parameter");
}

absl::Status JsonFields::CheckAllTaken() const {
  for (const auto& [name, value] : object_.items()) {
    if (taken_.count(name) != 0) continue;
    const std::vector<std::string> known(taken_.begin(), taken_.end());
    return ParamError(name, absl::StrCat("is no argument that this server knows", DidYouMean(name, known)),
                      "unknown_parameter");
  }
  return absl::OkStatus();
}

}  // namespace merganser
