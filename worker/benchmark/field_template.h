// A template over the fields of a row of data.
#ifndef MERGANSER_WORKER_BENCHMARK_FIELD_TEMPLATE_H_
#define MERGANSER_WORKER_BENCHMARK_FIELD_TEMPLATE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/text/template.h"

namespace merganser {

// The text of a field's value, as Python prints it.
std::string TextOf(const nlohmann::ordered_json& value);

// A Jinja template of a definition's field, as lm-evaluation-harness reads them: text that is just the name of a field of
// the data is that field's value, and a result that is a Python list is a list.
class FieldTemplate {
 public:
  struct Value {
    std::string text;
    bool is_list = false;
    std::vector<std::string> elements;  // of a list
    std::string null_field = {};        // the field whose value this is, where that is null or has a null in it
  };
  // The value of the field `name`.
  static Value OfField(const std::string& name, const nlohmann::ordered_json& field);

  // `what` names it in errors: "prompt of benchmark 'b'". InvalidArgument: a syntax error.
  static absl::StatusOr<FieldTemplate> Compile(const std::string& what, const std::string& source);

  // To be told of every row of the data before the first Render: what is a field of one is a field of all.
  void Know(const nlohmann::ordered_json& fields);
  // `fields` and the same as JSON text. InvalidArgument: the template asks for what the fields lack.
  absl::StatusOr<Value> Render(const nlohmann::ordered_json& fields, const std::string& json) const;
  // As text, whatever it looks like and whatever fields are called.
  absl::StatusOr<std::string> RenderText(const std::string& json) const;

 private:
  FieldTemplate(std::string source, Template compiled);

  std::string source_;
  Template compiled_;
  std::string variable_;  // of a template that is just "{{ variable }}"
  bool is_field_ = false;
};

// InvalidArgument: the value is null, which would be asked, or be right, as the text "None".
absl::Status CheckNoNull(const FieldTemplate::Value& value);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_FIELD_TEMPLATE_H_
