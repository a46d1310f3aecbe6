#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/base/yaml_text.h"
#include "common/config/yaml_message.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/struct.pb.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr absl::string_view kStackOfHop = "merganser.v1.Hop.stack";  // may also be the stack's name
constexpr int kDepthMax = 64;                                        // nested YAML; a job file has about 8

int Line(const YAML::Node& node) { return node.Mark().line + 1; }

std::string Join(const std::string& path, absl::string_view key) {
  return path.empty() ? std::string(key) : absl::StrCat(path, ".", key);
}

// Whether every field is one of a single oneof of messages, as the optimizers are.
bool IsChoice(const Descriptor* type) {
  return type->real_oneof_decl_count() == 1 && type->oneof_decl(0)->field_count() == type->field_count() &&
         type->field(0)->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

std::vector<std::string> FieldNames(const Descriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
  return names;
}

// What the whole file looks like, if that is something else than `type`: a job given where a recipe is wanted, say.
std::string OtherFile(const YAML::Node& root, const Descriptor* type) {
  struct Sign {
    const char* key;
    const char* what;
  };
  static constexpr char kMoeFile[] =
      "this looks like a file of mergekit-moe's, which makes a mixture of experts of dense models; models of one shape are "
      "merged here, mixtures included";
  constexpr Sign kSigns[] = {
      {"space", "this looks like a job"},
      {"objectives", "this looks like a job"},
      {"stacks", "this looks like a recipe"},
      {"merge_method", "this looks like a recipe of mergekit's"},
      {"slices", "this looks like a recipe of mergekit's"},
      {"genome",
       "this looks like a configuration of mergekit-evolve's, which `run`, `validate`, `submit` and `convert` read"},
      {"experts", kMoeFile},
      {"gate_mode", kMoeFile}};
  for (const Sign& sign : kSigns) {
    if (root[sign.key] && type->FindFieldByName(sign.key) == nullptr) return sign.what;
  }
  return "";
}

class Reader {
 public:
  Reader(std::string file, SourceMap* map, const YAML::Node& root) : file_(std::move(file)), map_(map) {
    const YAML::Node stacks = root["stacks"];
    if (!stacks.IsDefined() || !stacks.IsSequence()) return;
    for (const YAML::Node& stack : stacks) {
      const bool named = stack.IsMap() && stack["name"].IsDefined() && stack["name"].IsScalar();
      stacks_.push_back(named ? stack["name"].Scalar() : "");
    }
  }

  absl::Status Read(const YAML::Node& node, const std::string& path, Message* message, int depth) {
    if (depth > kDepthMax) return Error(node, path, absl::StrCat("nested deeper than ", kDepthMax));
    const Descriptor* type = message->GetDescriptor();
    if (type == google::protobuf::Value::descriptor()) {
      return ReadValue(node, path, static_cast<google::protobuf::Value*>(message), depth);
    }
    if (type == google::protobuf::ListValue::descriptor()) {
      return ReadList(node, path, static_cast<google::protobuf::ListValue*>(message), depth);
    }
    if (type == google::protobuf::Duration::descriptor()) {
      return ReadDuration(node, path, static_cast<google::protobuf::Duration*>(message));
    }
    if (IsPlainList(type) && node.IsSequence()) return ReadField(node, path, type->field(0), message, depth);
    if (node.IsNull()) return absl::OkStatus();  // `random:` is `random: {}`
    if (node.IsScalar() && IsChoice(type)) {     // `optimizer: nsga2` is `optimizer: {nsga2: {}}`
      const FieldDescriptor* const chosen = type->FindFieldByName(node.Scalar());
      if (chosen == nullptr) {
        return Error(node, path, absl::StrCat("unknown '", node.Scalar(), "'", DidYouMean(node.Scalar(), FieldNames(type))));
      }
      map_->Add(Join(path, node.Scalar()), Line(node));
      message->GetReflection()->MutableMessage(message, chosen);
      return absl::OkStatus();
    }
    if (!node.IsMap()) {
      return Error(node, path, absl::StrCat("must be a ", IsPlainList(type) ? "list" : "map", ", not ", KindOf(node)));
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      const std::string field_path = Join(path, key);
      if (!seen.insert(key).second) return Error(entry.first, field_path, "given twice");
      const FieldDescriptor* field = type->FindFieldByName(key);
      if (field == nullptr) {
        const std::vector<std::string> known = FieldNames(type);
        const std::string other = path.empty() ? OtherFile(node, type) : "";
        return Error(entry.first, field_path,
                     absl::StrCat("unknown field", other.empty() ? DidYouMean(key, known) : absl::StrCat("; ", other)));
      }
      if (const auto* oneof = field->real_containing_oneof();
          oneof != nullptr && message->GetReflection()->HasOneof(*message, oneof)) {
        const auto* other = message->GetReflection()->GetOneofFieldDescriptor(*message, oneof);
        return Error(entry.first, field_path,
                     absl::StrCat("only one of '", other->name(), "' and '", key, "' may be given"));
      }
      map_->Add(field_path, Line(entry.first));
      MG_RETURN_IF_ERROR(ReadField(entry.second, field_path, field, message, depth));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Error(const YAML::Node& node, const std::string& path, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", Line(node), ": ", path, path.empty() ? "" : ": ", what));
  }

  static bool IsPlainList(const Descriptor* type) {
    return type->field_count() == 1 && type->field(0)->is_repeated() && type->field(0)->name() == "values" &&
           !type->field(0)->is_map();
  }

  absl::Status ReadField(const YAML::Node& node, const std::string& path, const FieldDescriptor* field, Message* message,
                         int depth) {
    const Reflection* reflection = message->GetReflection();
    if (field->is_map()) {
      if (!node.IsMap()) return Error(node, path, absl::StrCat("must be a map, not ", KindOf(node)));
      const FieldDescriptor* value_field = field->message_type()->map_value();
      std::set<std::string> seen;
      for (const auto& entry : node) {
        const std::string key = entry.first.Scalar();
        const std::string entry_path = Join(path, key);
        if (!seen.insert(key).second) return Error(entry.first, entry_path, "given twice");
        map_->Add(entry_path, Line(entry.first));
        Message* item = reflection->AddMessage(message, field);
        item->GetReflection()->SetString(item, field->message_type()->map_key(), key);
        MG_RETURN_IF_ERROR(ReadField(entry.second, entry_path, value_field, item, depth));
      }
      return absl::OkStatus();
    }
    if (field->is_repeated()) {
      if (!node.IsSequence()) return Error(node, path, absl::StrCat("must be a list, not ", KindOf(node)));
      for (size_t i = 0; i < node.size(); ++i) {
        const std::string item_path = absl::StrCat(path, "[", i, "]");
        map_->Add(item_path, Line(node[i]));
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
          MG_RETURN_IF_ERROR(Read(node[i], item_path, reflection->AddMessage(message, field), depth + 1));
        } else {
          MG_RETURN_IF_ERROR(ReadScalar(node[i], item_path, field, message));
        }
      }
      return absl::OkStatus();
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return Read(node, path, reflection->MutableMessage(message, field), depth + 1);
    }
    return ReadScalar(node, path, field, message);
  }

  template <typename T>
  absl::Status ReadInteger(const YAML::Node& node, const std::string& path, T* value) const {
    // Through text: yaml-cpp would read "1e3" or "010" in its own way.
    if (!absl::SimpleAtoi(node.Scalar(), value)) {
      return Error(node, path,
                   absl::StrCat("'", node.Scalar(), "' is not a whole number in [", std::numeric_limits<T>::min(), ", ",
                                std::numeric_limits<T>::max(), "]"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadScalar(const YAML::Node& node, const std::string& path, const FieldDescriptor* field, Message* message) {
    const Reflection* r = message->GetReflection();
    if (!node.IsScalar()) return Error(node, path, absl::StrCat("must be a single value, not ", KindOf(node)));
    const std::string text = WithLoneBytesAsCharacters(node.Scalar());
    const auto store = [&](auto set, auto add, auto value) {
      if (field->is_repeated()) {
        (r->*add)(message, field, value);
      } else {
        (r->*set)(message, field, value);
      }
      return absl::OkStatus();
    };
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (field->is_repeated()) {
          r->AddString(message, field, text);
        } else {
          r->SetString(message, field, text);
        }
        return absl::OkStatus();
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value = 0;
        if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
          return Error(node, path, absl::StrCat("'", text, "' is not a finite number"));
        }
        return store(&Reflection::SetDouble, &Reflection::AddDouble, value);
      }
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value = 0;
        if (field->full_name() == kStackOfHop && !absl::SimpleAtoi(text, &value)) {
          MG_RETURN_IF_ERROR(FindStack(node, path, &value));
        } else {
          MG_RETURN_IF_ERROR(ReadInteger(node, path, &value));
        }
        return store(&Reflection::SetInt32, &Reflection::AddInt32, value);
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t value = 0;
        MG_RETURN_IF_ERROR(ReadInteger(node, path, &value));
        return store(&Reflection::SetInt64, &Reflection::AddInt64, value);
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t value = 0;
        MG_RETURN_IF_ERROR(ReadInteger(node, path, &value));
        return store(&Reflection::SetUInt64, &Reflection::AddUInt64, value);
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        if (text != "true" && text != "false") return Error(node, path, absl::StrCat("'", text, "' is not true or false"));
        return store(&Reflection::SetBool, &Reflection::AddBool, text == "true");
      default:
        return Error(node, path, "is of a type that files cannot give");
    }
  }

  // The place of the stack of that name.
  absl::Status FindStack(const YAML::Node& node, const std::string& path, int32_t* place) const {
    const auto found = std::find(stacks_.begin(), stacks_.end(), node.Scalar());
    if (found == stacks_.end() || found->empty()) {
      return Error(node, path,
                   absl::StrCat("'", node.Scalar(), "' is neither the name of a stack nor its place, from 0",
                                DidYouMean(node.Scalar(), stacks_)));
    }
    *place = static_cast<int32_t>(found - stacks_.begin());
    return absl::OkStatus();
  }

  // A plain scalar is a number, a boolean or a string, as in YAML's core schema; a quoted one is a string.
  absl::Status ReadValue(const YAML::Node& node, const std::string& path, google::protobuf::Value* value, int depth) {
    if (depth > kDepthMax) return Error(node, path, absl::StrCat("nested deeper than ", kDepthMax));
    map_->Add(path, Line(node));
    if (node.IsNull()) {
      value->set_null_value(google::protobuf::NULL_VALUE);
    } else if (node.IsSequence()) {
      return ReadList(node, path, value->mutable_list_value(), depth);
    } else if (node.IsMap()) {
      auto& fields = *value->mutable_struct_value()->mutable_fields();
      for (const auto& entry : node) {
        const std::string key = entry.first.Scalar();
        const std::string inner = Join(path, key);
        if (fields.count(key) != 0) return Error(entry.first, inner, "given twice");
        MG_RETURN_IF_ERROR(ReadValue(entry.second, inner, &fields[key], depth + 1));
        map_->Add(inner, Line(entry.first));
      }
    } else {
      const std::string text = WithLoneBytesAsCharacters(node.Scalar());
      double number = 0;
      const bool quoted = node.Tag() == "!";
      if (!quoted && absl::SimpleAtod(text, &number) && std::isfinite(number)) {
        value->set_number_value(number);
      } else if (!quoted && (text == "true" || text == "false")) {
        value->set_bool_value(text == "true");
      } else {
        value->set_string_value(text);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadList(const YAML::Node& node, const std::string& path, google::protobuf::ListValue* list, int depth) {
    if (!node.IsSequence()) return Error(node, path, absl::StrCat("must be a list, not ", KindOf(node)));
    for (size_t i = 0; i < node.size(); ++i) {
      MG_RETURN_IF_ERROR(ReadValue(node[i], absl::StrCat(path, "[", i, "]"), list->add_values(), depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status ReadDuration(const YAML::Node& node, const std::string& path, google::protobuf::Duration* proto) {
    absl::Duration duration;
    if (!node.IsScalar() || !absl::ParseDuration(node.Scalar(), &duration) || duration == absl::InfiniteDuration()) {
      return Error(node, path, "is not a duration; write 90s, 45m or 1h30m");
    }
    const int64_t seconds = absl::ToInt64Seconds(duration);
    proto->set_seconds(seconds);
    proto->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(seconds))));
    return absl::OkStatus();
  }

  std::string file_;
  SourceMap* map_;
  std::vector<std::string> stacks_;  // a recipe's, by name
};

}  // namespace

// "models.ja.path" -> "models.ja" -> "models".
std::string SourceMap::KnownPrefix(std::string field) const {
  while (!field.empty() && lines_.count(field) == 0) {
    const size_t cut = field.find_last_of(".[");
    field = cut == std::string::npos ? "" : field.substr(0, cut);
  }
  return field;
}

void SourceMap::AddAlias(const std::string& field, const std::string& other) {
  const std::string known = KnownPrefix(other);
  if (!known.empty()) lines_[field] = lines_.at(known);
}

absl::Status SourceMap::Locate(const absl::Status& status) const {
  if (status.ok()) return status;
  const std::string message(status.message());
  const std::string field = KnownPrefix(message.substr(0, message.find(": ")));
  const std::string where = field.empty() ? file_ : absl::StrCat(file_, ":", lines_.at(field));
  return absl::Status(status.code(), absl::StrCat(where, ": ", message));
}

bool IsMergekitText(absl::string_view text) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap() || root["stacks"].IsDefined()) return false;
    if (root["experts"].IsDefined() || root["gate_mode"].IsDefined()) return false;  // mergekit-moe's
    // A file without (or with a misspelt) merge_method is told by what only mergekit has: its reader then names the mistake.
    for (const char* key :
         {"merge_method", "slices", "modules", "base_model", "out_dtype", "tokenizer_source", "parameters"}) {
      if (root[key].IsDefined()) return true;
    }
    return root["models"].IsDefined() && root["models"].IsSequence();
  } catch (const YAML::Exception&) {
    return false;
  }
}

absl::StatusOr<SourceMap> ReadYaml(absl::string_view text, const std::string& file, Message* message) {
  message->Clear();
  SourceMap map(file);
  MG_RETURN_IF_ERROR(CheckUtf8(text, file));
  MG_RETURN_IF_ERROR(CheckYamlText(text, file));
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":1: the file must hold a map, not ", KindOf(root)));
    }
    MG_RETURN_IF_ERROR(Reader(file, &map, root).Read(root, "", message, 0));
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":", e.mark.line + 1, ": not valid YAML: ", e.msg));
  }
  return map;
}

absl::StatusOr<SourceMap> ReadYamlFile(const std::string& path, Message* message) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, int64_t{16} << 20));
  return ReadYaml(text, path, message);
}

}  // namespace merganser
