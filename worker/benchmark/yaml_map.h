// A YAML map read key by key, with errors "FILE:LINE: field.path: what".
#ifndef MERGANSER_WORKER_BENCHMARK_YAML_MAP_H_
#define MERGANSER_WORKER_BENCHMARK_YAML_MAP_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "yaml-cpp/yaml.h"

namespace merganser {

// A key with its value, in the file that says so.
struct YamlEntry {
  YAML::Node key, value;
  std::string file;
};

// Getters return nullopt for a key that is not there (or is null), and for a value of the wrong type, which status() then
// tells: the first error stays. Done() adds one for a key that nobody asked for. Thread-compatible.
class YamlMap {
 public:
  // The file at `path`, which must hold a map. Keys of the files that its `include` names (a path or a list, relative to it;
  // they may include others) stand where it has none itself, a later one's before an earlier one's. NotFound,
  // PermissionDenied; InvalidArgument: no YAML, more than 1 MiB, a file that includes itself, more than 64 files,
  // `!function` or another tag that asks for code in a key that is not overridden. Keys of `over`, a later one's before an
  // earlier one's, stand over all of them.
  static absl::StatusOr<YamlMap> ReadFile(const std::string& path, const std::vector<YamlEntry>& over = {});
  static absl::StatusOr<YamlMap> Parse(absl::string_view text, const std::string& file);

  bool Has(const std::string& key) const;
  // A key that Done() may suggest for a misspelt one, although nothing asks for it where it is absent.
  void Offer(const std::string& key) { offered_.insert(key); }
  std::optional<std::string> Text(const std::string& key);
  std::optional<int64_t> Integer(const std::string& key);
  std::optional<double> Number(const std::string& key);
  std::optional<bool> Bool(const std::string& key);
  // A list of scalars; a single scalar is a list of one.
  std::optional<std::vector<std::string>> Texts(const std::string& key);
  // A nested map.
  std::optional<YamlMap> Map(const std::string& key);
  // The maps of a list. Where an element is a scalar it becomes the map {scalar_key: element}.
  std::vector<YamlMap> Maps(const std::string& key, const std::string& scalar_key = "");
  // Any value as JSON text: plain scalars are numbers, booleans, null or strings as YAML's core schema has them.
  std::optional<std::string> JsonText(const std::string& key);
  std::vector<std::string> JsonTexts(const std::string& key);  // of a list
  // All keys, in their order; marks them as asked for.
  std::vector<std::string> Keys();
  // True if the value is null, a plain scalar, a list, a map.
  bool IsNull(const std::string& key) const;
  bool IsScalar(const std::string& key) const;
  bool IsList(const std::string& key) const;
  bool IsMap(const std::string& key) const;

  // All but those called in `without`; marks them as asked for.
  std::vector<YamlEntry> Entries(const std::set<std::string>& without);

  // OK, or the error that a key is given twice in one map, as PyYAML allows: then the last one's value is read.
  const absl::Status& repeated() const { return repeated_; }
  // Marks `key` as read though nothing is done with it.
  void Ignore(const std::string& key);
  // The first error of this map, or of one that Merge was given.
  const absl::Status& status() const { return status_; }
  void Merge(const absl::Status& status);
  void Fail(const std::string& key, absl::string_view what);
  // status(), or for an unknown key an error with the nearest known one.
  absl::Status Done();

  // The file that this map stands in: of the top, the one that was read first.
  const std::string& file() const { return file_; }

 private:
  static absl::StatusOr<YamlMap> ParseUnder(absl::string_view text, const std::string& file,
                                            const std::vector<YamlEntry>& over);
  // `files`: of keys that are other files'.
  YamlMap(std::string file, std::string path, YAML::Node node, std::map<std::string, std::string> files = {});
  YAML::Node Find(const std::string& key) const;
  YAML::Node Take(const std::string& key);
  std::string PathOf(const std::string& key) const;
  const std::string& FileOf(const std::string& key) const;
  // `path`: of the value in the file, PathOf(key) or longer.
  absl::Status ErrorAt(const YAML::Node& node, const std::string& path, absl::string_view what) const;

  std::string file_;
  std::string path_;  // of this map in the file; "" at the top
  YAML::Node node_;
  std::map<std::string, std::string> files_;
  std::set<std::string> asked_, offered_;
  absl::Status status_, repeated_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_YAML_MAP_H_
