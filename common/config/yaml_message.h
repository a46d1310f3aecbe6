// YAML <-> protobuf messages, by reflection: the proto is the one schema, the YAML is its JSON mapping (snake_case names).
// Beyond that mapping: google.protobuf.Duration is written "90s", "1h30m"; a message whose only field is `repeated values`
// is written as the plain list; a choice between messages may be only its name (`optimizer: nsga2`); the stack of a recipe's
// hop may be its name instead of its place.
//
// Strict: an unknown or repeated key, a value of the wrong type or out of range is InvalidArgument
// "FILE:LINE: field.path: what; did you mean 'x'?".
#ifndef MERGANSER_COMMON_CONFIG_YAML_MESSAGE_H_
#define MERGANSER_COMMON_CONFIG_YAML_MESSAGE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace merganser {

// Where each field of a YAML file stands, so that errors found later can still name the line.
class SourceMap {
 public:
  SourceMap() = default;
  explicit SourceMap(std::string file) : file_(std::move(file)) {}

  void Add(const std::string& field, int line) { lines_[field] = line; }
  // `field` stands where the longest known prefix of `other` does; nowhere if there is none.
  void AddAlias(const std::string& field, const std::string& other);
  bool Knows(const std::string& field) const { return lines_.count(field) != 0; }
  // `status` with "FILE:LINE: " before a message that starts with a field path ("models.ja.path: ..."): the line of the
  // longest known prefix of that path, "FILE: " if none is known. The code is kept; OK stays OK.
  absl::Status Locate(const absl::Status& status) const;

 private:
  // The longest prefix of `field` (a path) that is known; "".
  std::string KnownPrefix(std::string field) const;

  std::string file_;
  std::map<std::string, int> lines_;  // 1-based
};

// True if the text is of a file of mergekit's rather than a recipe of ours: a map without `stacks`, with one of the keys
// that only mergekit has (merge_method, slices, modules, base_model, out_dtype, tokenizer_source, parameters) or with
// `models` as a list. False for what is no YAML.
bool IsMergekitText(absl::string_view text);

// Parses `text` into `message`, which is cleared first. `file` is only named in errors.
absl::StatusOr<SourceMap> ReadYaml(absl::string_view text, const std::string& file, google::protobuf::Message* message);

// Reads the file (at most 16 MiB) and parses it. NotFound if there is none.
absl::StatusOr<SourceMap> ReadYamlFile(const std::string& path, google::protobuf::Message* message);

// `message` as YAML: set fields in order of their numbers, maps in order of their keys, numbers in the shortest form that
// reads back equal. ReadYaml(WriteYaml(m)) == m.
std::string WriteYaml(const google::protobuf::Message& message);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CONFIG_YAML_MESSAGE_H_
