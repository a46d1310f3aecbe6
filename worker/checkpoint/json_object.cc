#include "worker/checkpoint/json_object.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kDepthMax = 100;  // far more than any config has; bounds the recursion of dump()

// Checks what the library's own parser lets pass: duplicate keys and any depth.
class StrictJsonCheck : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(number_integer_t) override { return Scalar(); }
  bool number_unsigned(number_unsigned_t) override { return Scalar(); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(); }
  bool string(string_t&) override { return Scalar(); }
  bool binary(binary_t&) override { return Scalar(); }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return Deeper();
  }
  bool key(string_t& key) override {
    if (keys_.back().insert(key).second) return true;
    error = absl::StrCat("key '", Printable(key), "' appears twice in one object");
    return false;
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return Deeper(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_position = position;
    error = "not valid JSON";
    return false;
  }

  std::string error;
  std::optional<size_t> error_position;

 private:
  bool Scalar() { return true; }
  bool Deeper() {
    if (++depth_ <= kDepthMax) return true;
    error = absl::StrCat("nested deeper than ", kDepthMax);
    return false;
  }

  std::vector<absl::flat_hash_set<std::string>> keys_;
  size_t depth_ = 0;
};

std::string Where(absl::string_view text, size_t position) {
  const absl::string_view before = text.substr(0, position == 0 ? 0 : position - 1);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == absl::string_view::npos ? 0 : newline + 1) + 1;
  return absl::StrCat("line ", line, ", column ", column);
}

// ASCII, so that cutting it cannot split a character.
std::string ValueText(const Json& value) {
  constexpr size_t kBytesMax = 120;
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  return text.size() > kBytesMax ? absl::StrCat(text.substr(0, kBytesMax), "...") : text;
}

}  // namespace

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, const std::string& path) {
  StrictJsonCheck check;
  if (!Json::sax_parse(text.begin(), text.end(), &check)) {
    const std::string where = check.error_position ? absl::StrCat(" (", Where(text, *check.error_position), ")") : "";
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "': ", check.error.empty() ? "not valid JSON" : check.error, where));
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "': a JSON ", json.type_name(), "; expected an object"));
  }
  return json;
}

bool JsonObject::Has(absl::string_view field) const { return json_->contains(std::string(field)); }

const Json* JsonObject::Get(absl::string_view field) const {
  const auto it = json_->find(std::string(field));
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

absl::Status JsonObject::Bad(absl::string_view field, absl::string_view wanted) const {
  const auto it = json_->find(std::string(field));
  return absl::InvalidArgumentError(absl::StrCat("'", path_, "': field '", prefix_, field, "' is ",
                                                 it == json_->end() ? std::string("missing") : ValueText(*it), "; expected ",
                                                 wanted));
}

absl::StatusOr<std::optional<int64_t>> JsonObject::Int(absl::string_view field, int64_t low, int64_t high) const {
  const Json* value = Get(field);
  if (value == nullptr) return std::optional<int64_t>();
  const auto bad = [&] { return Bad(field, absl::StrCat("an integer in [", low, ", ", high, "]")); };
  if (!value->is_number_integer()) return bad();
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return bad();
  }
  const int64_t number = value->get<int64_t>();
  if (number < low || number > high) return bad();
  return std::optional<int64_t>(number);
}

absl::StatusOr<int64_t> JsonObject::RequiredInt(absl::string_view field, int64_t low, int64_t high) const {
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> value, Int(field, low, high));
  if (!value) return Bad(field, absl::StrCat("an integer in [", low, ", ", high, "]"));
  return *value;
}

absl::StatusOr<std::optional<double>> JsonObject::Double(absl::string_view field, Range range) const {
  const Json* value = Get(field);
  if (value == nullptr) return std::optional<double>();
  const double number = value->is_number() ? value->get<double>() : 0;
  if (!value->is_number() || number < range.low || number > range.high || (range.low_open && number == range.low)) {
    return Bad(field, absl::StrCat("a number in ", range.low_open ? "(" : "[", range.low, ", ", range.high, "]"));
  }
  return std::optional<double>(number);
}

absl::StatusOr<bool> JsonObject::Bool(absl::string_view field, bool fallback) const {
  const Json* value = Get(field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return Bad(field, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> JsonObject::String(absl::string_view field) const {
  const Json* value = Get(field);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return Bad(field, "a string");
  return std::optional<std::string>(value->get<std::string>());
}

absl::StatusOr<std::optional<int32_t>> JsonObject::TokenId(absl::string_view field) const {
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> id, Int(field, -1, std::numeric_limits<int32_t>::max()));
  if (!id || *id < 0) return std::optional<int32_t>();
  return std::optional<int32_t>(static_cast<int32_t>(*id));
}

absl::StatusOr<std::vector<int32_t>> JsonObject::TokenIds(absl::string_view field) const {
  std::vector<int32_t> ids;
  const Json* value = Get(field);
  if (value == nullptr) return ids;
  if (!value->is_array()) {
    MG_ASSIGN_OR_RETURN(const std::optional<int32_t> id, TokenId(field));
    if (id) ids.push_back(*id);
    return ids;
  }
  for (const Json& item : *value) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{std::numeric_limits<int32_t>::max()}) {
      return Bad(field, "a token id or a list of token ids in [0, 2147483647]");
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<std::optional<JsonObject>> JsonObject::Object(absl::string_view field) const {
  const Json* value = Get(field);
  if (value == nullptr) return std::optional<JsonObject>();
  if (!value->is_object()) return Bad(field, "an object");
  return std::optional<JsonObject>(JsonObject(*value, path_, absl::StrCat(prefix_, field, ".")));
}

}  // namespace merganser
