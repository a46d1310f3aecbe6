#include "common/config/struct_section.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

}  // namespace

absl::StatusOr<StructSection> StructSection::Of(const Struct& fields, std::string path,
                                                const std::vector<std::string>& known) {
  std::set<std::string> keys;  // a proto map has no order
  for (const auto& entry : fields.fields()) keys.insert(entry.first);
  StructSection section(&fields, std::move(path));
  for (const std::string& key : keys) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return Bad(section.PathOf(key), absl::StrCat("unknown field", DidYouMean(key, known)));
  }
  return section;
}

std::string StructSection::PathOf(absl::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
}

const Value* StructSection::Find(const std::string& key) const {
  const auto it = fields_->fields().find(key);
  return it == fields_->fields().end() || it->second.kind_case() == Value::kNullValue ? nullptr : &it->second;
}

absl::StatusOr<std::string> StructSection::Text(const std::string& key, const std::string& otherwise) const {
  const Value* value = Find(key);
  if (value == nullptr) return otherwise;
  if (value->kind_case() != Value::kStringValue) return Bad(PathOf(key), "must be text");
  return value->string_value();
}

absl::StatusOr<std::vector<std::string>> StructSection::Texts(const std::string& key) const {
  const Value* value = Find(key);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (value->kind_case() != Value::kListValue) return Bad(PathOf(key), "must be a list of texts");
  for (const Value& item : value->list_value().values()) {
    if (item.kind_case() != Value::kStringValue) return Bad(PathOf(key), "must be a list of texts");
    texts.push_back(item.string_value());
  }
  return texts;
}

absl::StatusOr<std::optional<bool>> StructSection::Bool(const std::string& key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->kind_case() != Value::kBoolValue) return Bad(PathOf(key), "is not true or false");
  return std::optional<bool>(value->bool_value());
}

absl::StatusOr<double> StructSection::Number(const std::string& key, double otherwise) const {
  const Value* value = Find(key);
  if (value == nullptr) return otherwise;
  if (value->kind_case() != Value::kNumberValue) return Bad(PathOf(key), "is not a number");
  return value->number_value();
}

absl::StatusOr<std::optional<int64_t>> StructSection::Whole(const std::string& key, int64_t low) const {
  if (Find(key) == nullptr) return std::optional<int64_t>();
  MG_ASSIGN_OR_RETURN(const double number, Number(key, 0));
  constexpr double kMax = std::numeric_limits<int32_t>::max();
  if (number != std::floor(number) || number < static_cast<double>(low) || number > kMax) {
    return Bad(PathOf(key), absl::StrCat(number, " is not a whole number in [", low, ", ", kMax, "]"));
  }
  return std::optional<int64_t>(static_cast<int64_t>(number));
}

}  // namespace merganser
