#include "common/transfer/checkpoint_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256_stream.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kWeights = ".safetensors";
constexpr int64_t kHeaderMax = 100'000'000;  // what the format allows
constexpr int64_t kBlock = 4096, kBlocks = 64;
constexpr int64_t kSideFileMax = int64_t{256} << 20;
constexpr absl::string_view kContentMark = "@sha256:";

class File {
 public:
  explicit File(std::string path) : path_(std::move(path)), fd_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  absl::Status Read(int64_t offset, int64_t size, std::string* bytes) const {
    if (fd_ < 0) return ErrnoStatus(errno, "cannot open", path_);
    bytes->resize(size);
    for (int64_t done = 0; done < size;) {
      const ssize_t n = pread(fd_, bytes->data() + done, size - done, offset + done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "cannot read", path_);
      if (n == 0) return absl::DataLossError(absl::StrCat("'", path_, "' became shorter while it was read"));
      done += n;
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const int fd_;
};

absl::Status AddWeights(const std::string& path, int64_t size, Sha256Stream* sha) {
  const File file(path);
  std::string bytes;
  MG_RETURN_IF_ERROR(file.Read(0, std::min<int64_t>(8, size), &bytes));
  uint64_t header = 0;
  memcpy(&header, bytes.data(), bytes.size());  // little-endian, as every machine that we run on
  if (bytes.size() < 8 || header > static_cast<uint64_t>(std::min(kHeaderMax, size - 8))) {
    return absl::DataLossError(absl::StrCat("'", path, "' is not a safetensors file, or is cut short"));
  }
  const int64_t data = 8 + static_cast<int64_t>(header);
  MG_RETURN_IF_ERROR(file.Read(8, static_cast<int64_t>(header), &bytes));
  sha->Add(bytes);
  const int64_t rest = size - data;
  if (rest <= kBlock * kBlocks) {
    MG_RETURN_IF_ERROR(file.Read(data, rest, &bytes));
    sha->Add(bytes);
    return absl::OkStatus();
  }
  for (int64_t i = 0; i < kBlocks; ++i) {
    MG_RETURN_IF_ERROR(file.Read(data + (rest - kBlock) / (kBlocks - 1) * i, kBlock, &bytes));
    sha->Add(bytes);
  }
  return absl::OkStatus();
}

bool IsContent(absl::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

// A Hub id at a whole commit, "org/name@" and 40 hexadecimal digits.
bool IsCommit(absl::string_view path) {
  const size_t at = path.rfind('@');
  if (at == absl::string_view::npos || absl::StartsWith(path, "/")) return false;
  const absl::string_view commit = path.substr(at + 1);
  return commit.size() == 40 &&
         std::all_of(commit.begin(), commit.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

}  // namespace

const std::vector<std::string>& CheckpointSideFiles() {
  static const auto* const names = new std::vector<std::string>{"adapter_config.json",
                                                                "added_tokens.json",
                                                                "chat_template.jinja",
                                                                "chat_template.json",
                                                                "config.json",
                                                                "generation_config.json",
                                                                "merges.txt",
                                                                "model.safetensors.index.json",
                                                                "preprocessor_config.json",
                                                                "processor_config.json",
                                                                "special_tokens_map.json",
                                                                "spiece.model",
                                                                "tokenizer.json",
                                                                "tokenizer.model",
                                                                "tokenizer_config.json",
                                                                "vocab.json",
                                                                "vocab.txt"};
  return *names;
}

bool IsCheckpointFileName(absl::string_view name) {
  if (name.empty() || name.size() > 200 || !absl::ascii_isalnum(name[0])) return false;
  if (!std::all_of(name.begin(), name.end(),
                   [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; })) {
    return false;
  }
  const std::vector<std::string>& side = CheckpointSideFiles();
  return absl::EndsWith(name, kWeights) || std::binary_search(side.begin(), side.end(), name);
}

bool IsWeightsFileName(absl::string_view name) { return absl::EndsWith(name, kWeights); }

std::vector<std::string> NeededFiles(const std::vector<std::string>& names) {
  const auto is_model = [](const std::string& name) { return IsWeightsFileName(name) && absl::StartsWith(name, "model"); };
  const bool model = std::any_of(names.begin(), names.end(), is_model);
  std::vector<std::string> needed;
  for (const std::string& name : names) {
    if (IsCheckpointFileName(name) && (!model || !IsWeightsFileName(name) || is_model(name))) needed.push_back(name);
  }
  std::sort(needed.begin(), needed.end());
  return needed;
}

absl::StatusOr<std::vector<CheckpointFile>> ListCheckpointFiles(const std::string& dir) {
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    std::error_code not_there;
    if (entry.is_regular_file(not_there)) names.push_back(entry.path().filename().string());
  }
  if (error) return absl::NotFoundError(absl::StrCat("'", dir, "' is no checkpoint: ", error.message()));
  std::vector<CheckpointFile> files;
  bool config = false, weights = false;
  for (const std::string& name : NeededFiles(names)) {
    const auto size = static_cast<int64_t>(fs::file_size(fs::path(dir) / name, error));
    if (error) return absl::NotFoundError(absl::StrCat("'", dir, "/", name, "' cannot be read: ", error.message()));
    config = config || name == "config.json";
    weights = weights || absl::EndsWith(name, kWeights);
    files.push_back({name, size});
  }
  if (!config || !weights) {
    return absl::NotFoundError(
        absl::StrCat("'", dir, "' is no checkpoint: it holds no ", config ? "weights in safetensors form" : "config.json"));
  }
  return files;
}

absl::StatusOr<std::string> CheckpointContent(const std::string& dir) {
  MG_ASSIGN_OR_RETURN(const std::vector<CheckpointFile> files, ListCheckpointFiles(dir));
  Sha256Stream sha;
  sha.Add("merganser checkpoint 1\n");
  for (const CheckpointFile& file : files) {
    const std::string path = absl::StrCat(dir, "/", file.name);
    sha.Add(absl::StrCat(file.name, " ", file.size, "\n"));
    if (absl::EndsWith(file.name, kWeights)) {
      MG_RETURN_IF_ERROR(AddWeights(path, file.size, &sha));
    } else {
      MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kSideFileMax));
      sha.Add(bytes);
    }
  }
  return sha.Hex();
}

std::pair<std::string, std::string> SplitContent(absl::string_view path) {
  const size_t mark = path.rfind(kContentMark);
  if (mark == absl::string_view::npos || !IsContent(path.substr(mark + kContentMark.size()))) return {std::string(path), ""};
  return {std::string(path.substr(0, mark)), std::string(path.substr(mark + kContentMark.size()))};
}

std::string WithContent(absl::string_view path, absl::string_view content) {
  return absl::StrCat(path, kContentMark, content);
}

void HoldToContents(const std::map<std::string, std::string>& contents, std::vector<ModelRef>* models) {
  for (ModelRef& model : *models) {
    const auto content = contents.find(model.name);
    if (content == contents.end() || !IsContent(content->second) || !SplitContent(model.path).second.empty()) continue;
    if (!IsCommit(model.path)) model.path = WithContent(model.path, content->second);
  }
}

absl::StatusOr<std::string> ContentIndex::Of(const std::string& dir) {
  MG_ASSIGN_OR_RETURN(const std::vector<CheckpointFile> files, ListCheckpointFiles(dir));
  std::map<std::string, FileStamp> stamps;
  for (const CheckpointFile& file : files) {
    MG_ASSIGN_OR_RETURN(stamps[file.name], StampAt(absl::StrCat(dir, "/", file.name)));
  }
  {
    absl::MutexLock lock(&mu_);
    const auto it = seen_.find(dir);
    if (it != seen_.end() && it->second.stamps == stamps) return it->second.content;
  }
  MG_ASSIGN_OR_RETURN(std::string content, CheckpointContent(dir));
  absl::MutexLock lock(&mu_);
  seen_[dir] = {std::move(stamps), content};
  return content;
}

absl::StatusOr<std::string> ContentIndex::Find(absl::string_view content, const std::vector<std::string>& roots) {
  int folders = 0;
  for (const std::string& root : roots) {
    std::vector<std::pair<fs::path, int>> open = {{root, 0}};  // the last one is next
    while (!open.empty() && folders < kFoldersMax) {
      const auto [dir, depth] = open.back();
      open.pop_back();
      ++folders;
      std::error_code error;
      if (fs::exists(dir / "config.json", error)) {
        const absl::StatusOr<std::string> found = Of(dir.string());
        if (found.ok() && *found == content) return dir.string();
      }
      if (depth == kDepthMax) continue;
      std::vector<std::pair<fs::path, int>> below;
      for (const auto& entry : fs::directory_iterator(dir, error)) {
        std::error_code not_there;
        // Not through links: they may go round in circles.
        if (entry.is_directory(not_there) && !entry.is_symlink(not_there)) below.emplace_back(entry.path(), depth + 1);
      }
      std::sort(below.begin(), below.end(), std::greater<>());
      open.insert(open.end(), below.begin(), below.end());
    }
  }
  return absl::NotFoundError(absl::StrCat("no checkpoint with the content ", content));
}

}  // namespace merganser
