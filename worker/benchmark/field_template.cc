#include "worker/benchmark/field_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_forms.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

bool HasNull(const Json& value) {
  return value.is_null() || (value.is_array() &&
                             std::any_of(value.begin(), value.end(), [](const Json& element) { return element.is_null(); }));
}

}  // namespace

std::string TextOf(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  return value.is_null() ? "None" : value.dump();
}

FieldTemplate::Value FieldTemplate::OfField(const std::string& name, const Json& field) {
  Value value;
  if (HasNull(field)) value.null_field = name;
  value.is_list = field.is_array();
  if (value.is_list) {
    for (const Json& element : field) value.elements.push_back(TextOf(element));
  } else {
    value.text = TextOf(field);
  }
  return value;
}

FieldTemplate::FieldTemplate(std::string source, Template compiled)
    : source_(std::move(source)), compiled_(std::move(compiled)) {
  absl::string_view text = absl::StripAsciiWhitespace(source_);
  if (!absl::ConsumePrefix(&text, "{{") || !absl::ConsumeSuffix(&text, "}}")) return;
  text = absl::StripAsciiWhitespace(text);
  const bool word = std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
  if (word) variable_ = std::string(text);
}

absl::StatusOr<FieldTemplate> FieldTemplate::Compile(const std::string& what, const std::string& source) {
  MG_ASSIGN_OR_RETURN(Template compiled, Template::Compile(what, source));
  return FieldTemplate(source, std::move(compiled));
}

void FieldTemplate::Know(const Json& fields) { is_field_ = is_field_ || fields.contains(source_); }

absl::StatusOr<std::string> FieldTemplate::RenderText(const std::string& json) const { return compiled_.Render(json); }

absl::StatusOr<FieldTemplate::Value> FieldTemplate::Render(const Json& fields, const std::string& json) const {
  if (const auto field = fields.find(source_); field != fields.end()) return OfField(source_, *field);
  Value value;
  if (const auto field = fields.find(variable_); field != fields.end() && HasNull(*field)) value.null_field = variable_;
  if (is_field_) return absl::InvalidArgumentError(absl::StrCat("field '", source_, "' is missing"));
  MG_ASSIGN_OR_RETURN(value.text, compiled_.Render(json));
  if (!value.text.empty() && value.text.front() == '[') value.is_list = ParsePythonList(value.text, &value.elements);
  return value;
}

absl::Status CheckNoNull(const FieldTemplate::Value& value) {
  if (value.null_field.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("field '", value.null_field, "' is null, or has a null in it"));
}

}  // namespace merganser
