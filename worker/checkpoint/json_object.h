// Checked access to the fields of a JSON file. Private to this folder: nlohmann-json appears in no
// other header.
#ifndef MERGANSER_WORKER_CHECKPOINT_JSON_OBJECT_H_
#define MERGANSER_WORKER_CHECKPOINT_JSON_OBJECT_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// The object that `text` holds, with its keys in the file's order. InvalidArgument, naming file,
// line and column, if it is not JSON, not an object, nested deeper than 100, or has a key twice in
// one object.
absl::StatusOr<nlohmann::ordered_json> ParseJsonObject(absl::string_view text, const std::string& path);

// A JSON object whose fields are read with their bounds. Every error is InvalidArgument and names
// file, field, value and bound. A field that is null counts as absent. Refers to `json`, which must
// outlive it.
class JsonObject {
 public:
  // `prefix` is put before field names in messages: "rope_scaling.".
  JsonObject(const nlohmann::ordered_json& json, std::string path, std::string prefix = "")
      : json_(&json), path_(std::move(path)), prefix_(std::move(prefix)) {}

  // The field exists, be it null or not.
  bool Has(absl::string_view field) const;
  // The value, or nullptr if it is absent or null.
  const nlohmann::ordered_json* Get(absl::string_view field) const;

  absl::StatusOr<std::optional<int64_t>> Int(absl::string_view field, int64_t low, int64_t high) const;
  absl::StatusOr<int64_t> RequiredInt(absl::string_view field, int64_t low, int64_t high) const;
  // `low_open`: the lower bound itself is not allowed.
  struct Range {
    double low;
    double high;
    bool low_open = false;
  };
  absl::StatusOr<std::optional<double>> Double(absl::string_view field, Range range) const;
  absl::StatusOr<bool> Bool(absl::string_view field, bool fallback) const;
  absl::StatusOr<std::optional<std::string>> String(absl::string_view field) const;
  // A token id, where -1 means none.
  absl::StatusOr<std::optional<int32_t>> TokenId(absl::string_view field) const;
  // One token id or a list of them; -1 and null give none.
  absl::StatusOr<std::vector<int32_t>> TokenIds(absl::string_view field) const;
  // An object; nullopt if absent.
  absl::StatusOr<std::optional<JsonObject>> Object(absl::string_view field) const;

  // InvalidArgument "path: field 'prefix.field' is VALUE; expected WANTED".
  absl::Status Bad(absl::string_view field, absl::string_view wanted) const;
  const std::string& path() const { return path_; }
  const nlohmann::ordered_json& json() const { return *json_; }

 private:
  const nlohmann::ordered_json* json_;
  std::string path_;
  std::string prefix_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_JSON_OBJECT_H_
