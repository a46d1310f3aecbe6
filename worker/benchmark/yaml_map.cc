#include "worker/benchmark/yaml_map.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/base/yaml_text.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

constexpr int64_t kYamlBytesMax = int64_t{1} << 20;
constexpr int kYamlDepthMax = 32;
constexpr int kFilesMax = 64;  // that include each other

// yaml-cpp's bytes for \_ and \N become characters.
void MendEscapes(YAML::Node node, int depth) {
  if (depth > kYamlDepthMax) return;
  if (node.IsScalar() && FirstInvalidUtf8(node.Scalar())) node = WithLoneBytesAsCharacters(node.Scalar());
  if (node.IsMap()) {
    for (auto entry : node) MendEscapes(entry.second, depth + 1);
  } else if (node.IsSequence()) {
    for (auto item : node) MendEscapes(item, depth + 1);
  }
}

// Keys are texts. `repeated` gets the first that is given twice.
absl::Status CheckKeys(const std::string& file, const YAML::Node& map, const std::string& path, absl::Status* repeated) {
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar() || FirstInvalidUtf8(entry.first.Scalar())) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ":", map.Mark().line + 1, ": ", path, path.empty() ? "" : ": ", "a key that is no text"));
    }
    if (seen.insert(entry.first.Scalar()).second) continue;
    repeated->Update(
        absl::InvalidArgumentError(absl::StrCat(file, ":", entry.first.Mark().line + 1, ": ", path, path.empty() ? "" : ".",
                                                entry.first.Scalar(), ": given twice")));
  }
  return absl::OkStatus();
}

// Depth is bounded, and no tag asks for code ("!function utils.doc_to_text").
absl::Status CheckNode(const std::string& file, const YAML::Node& node, const std::string& path, int depth,
                       absl::Status* repeated) {
  const auto bad = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":", node.Mark().line + 1, ": ", path, ": ", what));
  };
  if (depth > kYamlDepthMax) return bad(absl::StrCat("nested deeper than ", kYamlDepthMax));
  const std::string& tag = node.Tag();
  if (!tag.empty() && tag != "?" && tag != "!" && tag.rfind("tag:yaml.org,2002:", 0) != 0) {
    return bad(absl::StrCat("'", tag, node.IsScalar() ? absl::StrCat(" ", Shortened(node.Scalar(), 60)) : "",
                            "' asks for Python code, which is not run; write it as a template"));
  }
  if (node.IsMap()) {
    MG_RETURN_IF_ERROR(CheckKeys(file, node, path, repeated));
    for (const auto& entry : node) {
      const std::string at = absl::StrCat(path, ".", entry.first.Scalar());
      MG_RETURN_IF_ERROR(CheckNode(file, entry.second, at, depth + 1, repeated));
    }
  } else if (node.IsSequence()) {
    for (size_t i = 0; i < node.size(); ++i) {
      MG_RETURN_IF_ERROR(CheckNode(file, node[i], absl::StrCat(path, "[", i, "]"), depth + 1, repeated));
    }
  }
  return absl::OkStatus();
}

nlohmann::ordered_json ToJson(const YAML::Node& node) {
  using Json = nlohmann::ordered_json;
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const auto& item : node) list.push_back(ToJson(item));
    return list;
  }
  if (node.IsMap()) {
    Json map = Json::object();
    for (const auto& entry : node) map[entry.first.Scalar()] = ToJson(entry.second);
    return map;
  }
  if (!node.IsScalar()) return nullptr;
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text == "true" || text == "True") return true;
  if (text == "false" || text == "False") return false;
  if (text == "null" || text == "~" || text.empty()) return nullptr;
  int64_t whole = 0;
  double number = 0;
  if (absl::SimpleAtoi(text, &whole)) return whole;
  if (absl::SimpleAtod(text, &number) && std::isfinite(number)) return number;
  return text;
}

// A file's top level with what it includes. Every key is there once, whoever says it.
struct TopLevel {
  std::vector<YamlEntry> entries;
  absl::Status repeated;

  void Put(const YamlEntry& entry) {
    for (YamlEntry& known : entries) {
      if (known.key.Scalar() == entry.key.Scalar()) {
        known = entry;
        return;
      }
    }
    entries.push_back(entry);
  }
};

class IncludeReader {
 public:
  absl::Status Read(absl::string_view text, const std::string& file, TopLevel* top) {
    if (FirstInvalidUtf8(text)) return absl::InvalidArgumentError(absl::StrCat(file, ": invalid UTF-8"));
    MG_RETURN_IF_ERROR(CheckYamlText(text, file));
    YAML::Node root;
    try {
      root = YAML::Load(std::string(text));
      if (absl::StrContains(text, "\\_") || absl::StrContains(text, "\\N")) MendEscapes(root, 0);
    } catch (const YAML::Exception& e) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":", e.mark.line + 1, ": not valid YAML: ", e.msg));
    }
    if (!root.IsMap()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":1: the file must hold a map, not ", KindOf(root)));
    }
    MG_RETURN_IF_ERROR(CheckKeys(file, root, "", &top->repeated));
    const std::string name = std::filesystem::path(file).lexically_normal().string();
    open_.insert(name);
    for (const auto& entry : root) {
      if (entry.first.Scalar() == "include") MG_RETURN_IF_ERROR(Include(entry.second, file, top));
    }
    open_.erase(name);
    for (const auto& entry : root) {
      if (entry.first.Scalar() != "include") top->Put({entry.first, entry.second, file});
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Include(const YAML::Node& value, const std::string& file, TopLevel* top) {
    const auto bad = [&](absl::StatusCode code, absl::string_view what) {
      return absl::Status(code, absl::StrCat(file, ":", value.Mark().line + 1, ": include: ", what));
    };
    std::vector<std::string> names;
    if (value.IsScalar()) names.push_back(value.Scalar());
    for (size_t i = 0; value.IsSequence() && i < value.size(); ++i) {
      if (value[i].IsScalar()) names.push_back(value[i].Scalar());
    }
    if (names.empty() || (value.IsSequence() && names.size() != value.size())) {
      return bad(absl::StatusCode::kInvalidArgument, "must be a file or a list of files");
    }
    for (const std::string& name : names) {
      const std::filesystem::path folder = std::filesystem::path(file).parent_path();
      const std::string path = (folder / name).lexically_normal().string();
      if (open_.count(path) != 0)
        return bad(absl::StatusCode::kInvalidArgument, absl::StrCat("'", name, "' includes itself"));
      if (++files_ > kFilesMax)
        return bad(absl::StatusCode::kInvalidArgument, absl::StrCat("more than ", kFilesMax, " files"));
      const absl::StatusOr<std::string> text = merganser::ReadFile(path, kYamlBytesMax);
      if (!text.ok()) return bad(text.status().code(), text.status().message());
      MG_RETURN_IF_ERROR(Read(*text, path, top));
    }
    return absl::OkStatus();
  }

  std::set<std::string> open_;  // files on the way to the present one
  int files_ = 0;
};

}  // namespace

YamlMap::YamlMap(std::string file, std::string path, YAML::Node node, std::map<std::string, std::string> files)
    : file_(std::move(file)), path_(std::move(path)), node_(std::move(node)), files_(std::move(files)) {}

absl::StatusOr<YamlMap> YamlMap::Parse(absl::string_view text, const std::string& file) {
  return ParseUnder(text, file, {});
}

absl::StatusOr<YamlMap> YamlMap::ParseUnder(absl::string_view text, const std::string& file,
                                            const std::vector<YamlEntry>& over) {
  TopLevel top;
  MG_RETURN_IF_ERROR(IncludeReader().Read(text, file, &top));
  for (const YamlEntry& entry : over) top.Put(entry);
  YAML::Node merged(YAML::NodeType::Map);
  std::map<std::string, std::string> files;
  for (const YamlEntry& entry : top.entries) {
    const std::string& key = entry.key.Scalar();
    MG_RETURN_IF_ERROR(CheckNode(entry.file, entry.value, key, 1, &top.repeated));
    if (entry.file != file) files[key] = entry.file;
    merged.force_insert(entry.key, entry.value);
  }
  YamlMap map(file, "", merged, std::move(files));
  map.repeated_ = top.repeated;
  return map;
}

absl::StatusOr<YamlMap> YamlMap::ReadFile(const std::string& path, const std::vector<YamlEntry>& over) {
  MG_ASSIGN_OR_RETURN(const std::string text, merganser::ReadFile(path, kYamlBytesMax));
  return ParseUnder(text, path, over);
}

YAML::Node YamlMap::Find(const std::string& key) const {
  YAML::Node last(YAML::NodeType::Undefined);
  for (const auto& entry : node_) {
    if (entry.first.Scalar() == key) last.reset(entry.second);
  }
  return last;
}

YAML::Node YamlMap::Take(const std::string& key) {
  asked_.insert(key);
  return Find(key);
}

bool YamlMap::Has(const std::string& key) const { return Find(key).IsDefined(); }
bool YamlMap::IsNull(const std::string& key) const { return Find(key).IsNull(); }
bool YamlMap::IsScalar(const std::string& key) const { return Find(key).IsScalar(); }
bool YamlMap::IsList(const std::string& key) const { return Find(key).IsSequence(); }
bool YamlMap::IsMap(const std::string& key) const { return Find(key).IsMap(); }
void YamlMap::Ignore(const std::string& key) { asked_.insert(key); }

std::string YamlMap::PathOf(const std::string& key) const { return absl::StrCat(path_, path_.empty() ? "" : ".", key); }

const std::string& YamlMap::FileOf(const std::string& key) const {
  const auto it = files_.find(key);
  return it == files_.end() ? file_ : it->second;
}

absl::Status YamlMap::ErrorAt(const YAML::Node& node, const std::string& path, absl::string_view what) const {
  const std::string& file =
      files_.empty() ? file_ : FileOf(path.substr(0, path.find_first_of(".[")));  // only the top has any
  return absl::InvalidArgumentError(absl::StrCat(file, ":", std::max(node.Mark().line, 0) + 1, ": ", path, ": ", what));
}

void YamlMap::Merge(const absl::Status& status) { status_.Update(status); }

void YamlMap::Fail(const std::string& key, absl::string_view what) {
  const YAML::Node node = Find(key);
  Merge(ErrorAt(node.IsDefined() ? node : node_, PathOf(key), what));
}

std::optional<std::string> YamlMap::Text(const std::string& key) {
  const YAML::Node node = Take(key);
  if (!node.IsDefined() || node.IsNull()) return std::nullopt;
  if (!node.IsScalar()) {
    Fail(key, absl::StrCat("must be a single value, not ", KindOf(node)));
    return std::nullopt;
  }
  return node.Scalar();
}

std::optional<int64_t> YamlMap::Integer(const std::string& key) {
  const auto text = Text(key);
  int64_t value = 0;
  if (!text) return std::nullopt;
  if (!absl::SimpleAtoi(*text, &value)) {
    Fail(key, absl::StrCat("'", Shortened(*text), "' is not a whole number"));
    return std::nullopt;
  }
  return value;
}

std::optional<double> YamlMap::Number(const std::string& key) {
  const auto text = Text(key);
  double value = 0;
  if (!text) return std::nullopt;
  if (!absl::SimpleAtod(*text, &value) || !std::isfinite(value)) {
    Fail(key, absl::StrCat("'", Shortened(*text), "' is not a finite number"));
    return std::nullopt;
  }
  return value;
}

std::optional<bool> YamlMap::Bool(const std::string& key) {
  const auto text = Text(key);
  if (!text) return std::nullopt;
  if (*text == "true" || *text == "True") return true;
  if (*text == "false" || *text == "False") return false;
  Fail(key, absl::StrCat("'", Shortened(*text), "' is not true or false"));
  return std::nullopt;
}

std::optional<std::vector<std::string>> YamlMap::Texts(const std::string& key) {
  const YAML::Node node = Take(key);
  if (!node.IsDefined() || node.IsNull()) return std::nullopt;
  if (node.IsScalar()) return std::vector<std::string>{node.Scalar()};
  std::vector<std::string> texts;
  for (size_t i = 0; node.IsSequence() && i < node.size(); ++i) {
    if (!node[i].IsScalar()) {
      Merge(ErrorAt(node[i], absl::StrCat(PathOf(key), "[", i, "]"),
                    absl::StrCat("must be a single value, not ", KindOf(node[i]))));
      return std::nullopt;
    }
    texts.push_back(node[i].Scalar());
  }
  if (!node.IsSequence()) {
    Fail(key, absl::StrCat("must be a list, not ", KindOf(node)));
    return std::nullopt;
  }
  return texts;
}

std::optional<YamlMap> YamlMap::Map(const std::string& key) {
  const YAML::Node node = Take(key);
  if (!node.IsDefined() || node.IsNull()) return std::nullopt;
  if (!node.IsMap()) {
    Fail(key, absl::StrCat("must be a map, not ", KindOf(node)));
    return std::nullopt;
  }
  return YamlMap(FileOf(key), PathOf(key), node);
}

std::vector<YamlMap> YamlMap::Maps(const std::string& key, const std::string& scalar_key) {
  const YAML::Node node = Take(key);
  std::vector<YamlMap> maps;
  if (!node.IsDefined() || node.IsNull()) return maps;
  if (!node.IsSequence()) {
    Fail(key, absl::StrCat("must be a list, not ", KindOf(node)));
    return maps;
  }
  for (size_t i = 0; i < node.size(); ++i) {
    const std::string path = absl::StrCat(PathOf(key), "[", i, "]");
    if (node[i].IsMap()) {
      maps.push_back(YamlMap(FileOf(key), path, node[i]));
    } else if (node[i].IsScalar() && !scalar_key.empty()) {
      YAML::Node wrapped(YAML::NodeType::Map);
      wrapped[scalar_key] = node[i];
      maps.push_back(YamlMap(FileOf(key), path, wrapped));
    } else {
      Merge(ErrorAt(node[i], path, absl::StrCat("must be a map, not ", KindOf(node[i]))));
    }
  }
  return maps;
}

std::optional<std::string> YamlMap::JsonText(const std::string& key) {
  const YAML::Node node = Take(key);
  if (!node.IsDefined()) return std::nullopt;
  return ToJson(node).dump();
}

std::vector<std::string> YamlMap::JsonTexts(const std::string& key) {
  const YAML::Node node = Take(key);
  std::vector<std::string> texts;
  if (!node.IsDefined() || node.IsNull()) return texts;
  if (!node.IsSequence()) Fail(key, absl::StrCat("must be a list, not ", KindOf(node)));
  for (size_t i = 0; node.IsSequence() && i < node.size(); ++i) texts.push_back(ToJson(node[i]).dump());
  return texts;
}

std::vector<std::string> YamlMap::Keys() {
  std::vector<std::string> keys;
  for (const auto& entry : node_) {
    asked_.insert(entry.first.Scalar());
    if (std::find(keys.begin(), keys.end(), entry.first.Scalar()) == keys.end()) keys.push_back(entry.first.Scalar());
  }
  return keys;
}

std::vector<YamlEntry> YamlMap::Entries(const std::set<std::string>& without) {
  std::vector<YamlEntry> entries;
  for (const auto& entry : node_) {
    const std::string& key = entry.first.Scalar();
    if (without.count(key) != 0) continue;
    asked_.insert(key);
    entries.push_back({entry.first, entry.second, FileOf(key)});
  }
  return entries;
}

absl::Status YamlMap::Done() {
  for (const auto& entry : node_) {
    const std::string& key = entry.first.Scalar();
    if (asked_.count(key) != 0) continue;
    std::set<std::string> all = offered_;
    all.insert(asked_.begin(), asked_.end());
    const std::vector<std::string> known(all.begin(), all.end());
    Merge(ErrorAt(entry.first, PathOf(key), absl::StrCat("unknown field", DidYouMean(key, known))));
  }
  return status_;
}

}  // namespace merganser
