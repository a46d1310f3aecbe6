#include "worker/benchmark/lm_eval_index.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFilesMax = 100'000;
constexpr int64_t kFileBytesMax = int64_t{1} << 20;
constexpr int kIncludesMax = 16;  // one in another
constexpr absl::Duration kRecent = absl::Seconds(10);

// The values of the keys that name things. A list's elements; a single value is a list of one; a list of maps is empty.
using Head = std::map<std::string, std::vector<std::string>>;

bool Names(absl::string_view key) {
  return key == "task" || key == "group" || key == "tag" || key == "class" || key == "include";
}

bool IsPlain(absl::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

std::vector<std::string> Values(const std::string& text) {
  std::vector<std::string> values;
  try {
    const YAML::Node value = YAML::Load("k:" + text)["k"];
    if (value.IsScalar()) values.push_back(value.Scalar());
    for (size_t i = 0; value.IsSequence() && i < value.size(); ++i) {
      if (value[i].IsScalar()) values.push_back(value[i].Scalar());
    }
  } catch (const YAML::Exception&) {
    values.clear();
  }
  return values;
}

// Keys of the top level begin their lines; what they say goes on until the next line that begins with one.
Head HeadOf(absl::string_view text) {
  Head head;
  std::string key, value;
  const auto end = [&] {
    if (key.empty()) return;
    const absl::string_view plain = absl::StripAsciiWhitespace(value);
    head[key] = IsPlain(plain) ? std::vector<std::string>{std::string(plain)} : Values(value);
    key.clear();
  };
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool goes_on = line.empty() || absl::string_view(" \t\r-#").find(line.front()) != absl::string_view::npos;
    const size_t colon = line.find(':');
    if (!goes_on) end();
    if (goes_on || colon == absl::string_view::npos) {
      if (!key.empty()) absl::StrAppend(&value, "\n", line);
      continue;
    }
    absl::string_view name = absl::StripAsciiWhitespace(line.substr(0, colon));
    if (name.size() > 1 && (name.front() == '"' || name.front() == '\'')) name = name.substr(1, name.size() - 2);
    if (!Names(name)) continue;
    key = std::string(name);
    value = std::string(line.substr(colon + 1));
  }
  end();
  return head;
}

// Files are read once, however many include them.
class HeadReader {
 public:
  std::optional<Head> Read(const std::string& path, int depth = 0) {
    if (const auto known = heads_.find(path); known != heads_.end()) return known->second;
    const absl::StatusOr<std::string> text = ReadFile(path, kFileBytesMax);
    if (!text.ok() || depth > kIncludesMax) return std::nullopt;
    Head own = HeadOf(*text), head;
    const bool includes = own.count("include") != 0;
    for (const std::string& name : own["include"]) {
      const std::optional<Head> included =
          Read((fs::path(path).parent_path() / name).lexically_normal().string(), depth + 1);
      if (!included) return std::nullopt;
      for (const auto& [key, values] : *included) head[key] = values;
    }
    own.erase("include");
    for (auto& [key, values] : own) head[key] = std::move(values);
    if (depth > 0 || includes) heads_[path] = head;
    return head;
  }

 private:
  std::map<std::string, Head> heads_;
};

std::string OnlyValue(const Head& head, const std::string& key) {
  const auto it = head.find(key);
  return it != head.end() && it->second.size() == 1 ? it->second.front() : "";
}

}  // namespace

std::string LmEvalIndex::RootOf(const std::string& folder) {
  for (fs::path at = fs::path(folder); at.has_relative_path(); at = at.parent_path()) {
    if (at.filename() == "tasks") return at.string();
  }
  return folder;
}

absl::StatusOr<LmEvalIndex> LmEvalIndex::Build(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->is_directory(error) && (name == "__pycache__" || name == ".ipynb_checkpoints")) it.disable_recursion_pending();
    if (it->path().extension() == ".yaml" && !it->is_directory(error)) files.push_back(it->path().string());
    if (files.size() > kFilesMax) {
      return absl::InvalidArgumentError(absl::StrCat(folder, ": more than ", kFilesMax, " .yaml files"));
    }
  }
  if (error) return absl::NotFoundError(absl::StrCat("cannot list ", folder, ": ", error.message()));
  std::sort(files.begin(), files.end());
  LmEvalIndex index;
  index.folder_ = folder;
  HeadReader reader;
  for (const std::string& file : files) {
    const std::optional<Head> head = reader.Read(file);
    if (!head) continue;
    const bool group = head->count("class") == 0 && head->count("group") != 0;
    const std::string name = OnlyValue(*head, group ? "group" : "task");
    if (name.empty()) continue;
    const Entry entry{group ? Entry::Kind::kGroup : Entry::Kind::kTask, file, {}};
    if (!index.entries_.emplace(name, entry).second || group) continue;
    const auto tags = head->find("tag");
    if (tags == head->end()) continue;
    for (const std::string& tag : tags->second) {
      index.entries_.emplace(tag, Entry{Entry::Kind::kTag, "", {}}).first->second.tasks.insert(name);
    }
  }
  return index;
}

absl::StatusOr<std::shared_ptr<const LmEvalIndex>> LmEvalIndex::Recent(const std::string& folder) {
  static std::mutex mutex;
  static auto* const last = new std::shared_ptr<const LmEvalIndex>;
  static absl::Time built = absl::InfinitePast();
  const std::lock_guard<std::mutex> lock(mutex);
  if (*last == nullptr || (*last)->folder() != folder || absl::Now() - built > kRecent) {
    MG_ASSIGN_OR_RETURN(LmEvalIndex index, Build(folder));
    *last = std::make_shared<const LmEvalIndex>(std::move(index));
    built = absl::Now();
  }
  return *last;
}

const LmEvalIndex::Entry* LmEvalIndex::Find(const std::string& name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

std::vector<std::string> LmEvalIndex::Names() const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

}  // namespace merganser
