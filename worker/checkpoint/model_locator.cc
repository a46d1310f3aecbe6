#include "worker/checkpoint/model_locator.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"
#include "worker/checkpoint/path_within.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

struct HubId {
  std::string org;
  std::string name;
  std::string revision;
};

bool IsHubName(absl::string_view text) {
  return !text.empty() && text.size() <= 96 && text[0] != '.' && text[0] != '-' && !absl::StrContains(text, "..") &&
         !absl::StrContains(text, "--") && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

// Becomes a path below refs/, so no part of it may climb.
bool IsRevision(absl::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  for (absl::string_view part : absl::StrSplit(text, '/')) {
    if (part.empty() || part[0] == '.' ||
        !std::all_of(part.begin(), part.end(), [](char c) { return absl::ascii_isgraph(c) && c != '\\'; })) {
      return false;
    }
  }
  return true;
}

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isxdigit(c); });
}

std::optional<HubId> ParseHubId(absl::string_view spec) {
  HubId id;
  const size_t at = spec.find('@');
  const std::vector<std::string> parts = absl::StrSplit(spec.substr(0, at), '/');
  id.revision = at == absl::string_view::npos ? "main" : std::string(spec.substr(at + 1));
  if (parts.size() != 2 || !IsHubName(parts[0]) || !IsHubName(parts[1]) || !IsRevision(id.revision)) {
    return std::nullopt;
  }
  id.org = parts[0];
  id.name = parts[1];
  return id;
}

absl::StatusOr<std::string> FindSnapshot(const HubId& id, const std::string& hub_cache) {
  const absl::Status not_there =
      absl::NotFoundError(absl::StrCat("model '", id.org, "/", id.name, "', revision '", id.revision,
                                       "', is neither a directory nor in the Hugging Face cache '", hub_cache,
                                       "'; fetch it with: hf download ", id.org, "/", id.name, " --revision ", id.revision));
  if (hub_cache.empty()) return not_there;
  const fs::path repository = fs::path(hub_cache) / absl::StrCat("models--", id.org, "--", id.name);
  const fs::path snapshots = repository / "snapshots";
  std::error_code ignored;

  const absl::StatusOr<std::string> ref = ReadFile((repository / "refs" / id.revision).string(), 4096);
  if (ref.ok()) {
    const std::string commit(absl::StripAsciiWhitespace(*ref));
    if (commit.empty() || !IsHex(commit)) {
      return absl::InvalidArgumentError(absl::StrCat("'", (repository / "refs" / id.revision).string(), "' holds '",
                                                     Printable(commit), "'; expected a commit"));
    }
    if (fs::is_directory(snapshots / commit, ignored)) return (snapshots / commit).string();
    return not_there;
  }
  if (id.revision.size() < 7 || id.revision.size() > 40 || !IsHex(id.revision)) return not_there;
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(snapshots, ignored)) {
    const std::string commit = entry.path().filename().string();
    if (absl::StartsWith(commit, absl::AsciiStrToLower(id.revision)) && entry.is_directory(ignored)) {
      found.push_back(commit);
    }
  }
  if (found.empty()) return not_there;
  if (found.size() > 1) {
    std::sort(found.begin(), found.end());
    return absl::InvalidArgumentError(absl::StrCat("revision '", id.revision, "' of '", id.org, "/", id.name,
                                                   "' is ambiguous: ", absl::StrJoin(found, ", ")));
  }
  return (snapshots / found[0]).string();
}

// Links inside a model's directory count as well: a link to a file outside of the roots would be
// read like any other.
absl::Status CheckConfined(const fs::path& dir, const ModelLocatorOptions& options) {
  if (options.model_roots.empty()) return absl::OkStatus();
  std::error_code error;
  std::vector<fs::path> roots;
  for (const std::string& root : options.model_roots) {
    fs::path canonical = fs::canonical(root, error);
    if (!error) roots.push_back(std::move(canonical));
  }
  const auto check = [&](const fs::path& path) {
    const fs::path canonical = fs::weakly_canonical(path, error);
    if (!error && std::any_of(roots.begin(), roots.end(), [&](const fs::path& r) { return IsWithin(canonical, r); })) {
      return absl::OkStatus();
    }
    return absl::PermissionDeniedError(
        absl::StrCat("'", path.string(), "' (really '", canonical.string(),
                     "') is outside of the model roots: ", absl::StrJoin(options.model_roots, ", ")));
  };
  MG_RETURN_IF_ERROR(check(dir));
  for (const auto& entry : fs::directory_iterator(dir, error)) MG_RETURN_IF_ERROR(check(entry.path()));
  return absl::OkStatus();
}

}  // namespace

std::string HubCacheFolder(const std::function<const char*(const char*)>& getenv) {
  const auto folder = [&](const char* variable, absl::string_view below) -> std::string {
    const char* value = getenv(variable);
    return value == nullptr || *value == '\0' ? "" : absl::StrCat(value, below);
  };
  for (std::string found : {folder("HF_HUB_CACHE", ""), folder("HF_HOME", "/hub"),
                            folder("XDG_CACHE_HOME", "/huggingface/hub"), folder("HOME", "/.cache/huggingface/hub")}) {
    if (!found.empty()) return found;
  }
  return "";
}

absl::StatusOr<std::string> ResolveModel(absl::string_view spec_with_content, const ModelLocatorOptions& options) {
  const auto [spec, content] = SplitContent(spec_with_content);
  if (!content.empty()) {
    MG_ASSIGN_OR_RETURN(std::string dir, ResolveModel(spec, options));
    const absl::StatusOr<std::string> here = CheckpointContent(dir);
    if (here.ok() && *here == content) return dir;
    // What cannot be read any more is not what it was, either; another worker may have it.
    return absl::FailedPreconditionError(
        here.ok() ? absl::StrCat("'", dir, "' has the content ", *here, ", not ", content)
                  : absl::StrCat("'", dir, "' has not the content ", content, " any more: ", here.status().message()));
  }
  if (spec.empty() || spec.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("a model's path is empty or holds a zero byte");
  }
  const fs::path path = fs::path(options.base_dir) / fs::path(spec);
  std::error_code error;
  if (fs::exists(path, error)) {
    MG_RETURN_IF_ERROR(CheckConfined(path, options));
    if (!fs::is_directory(path, error)) {
      return absl::InvalidArgumentError(absl::StrCat("'", path.string(), "' is a file; a checkpoint is a directory"));
    }
    return path.lexically_normal().string();
  }
  const std::optional<HubId> id = ParseHubId(spec);
  if (!id) {
    // Outside of the roots it makes no difference whether a path exists: nobody shall explore them
    // by messages.
    MG_RETURN_IF_ERROR(CheckConfined(path, options));
    return absl::NotFoundError(absl::StrCat("no directory '", path.string(), "', and '", Printable(spec),
                                            "' is not a Hub id (org/name[@revision])"));
  }
  absl::StatusOr<std::string> snapshot = FindSnapshot(*id, options.hub_cache);
  if (absl::IsNotFound(snapshot.status()) && options.download) {
    MG_RETURN_IF_ERROR(CheckConfined(options.hub_cache, options));
    const std::string repository = absl::StrCat(id->org, "/", id->name);
    absl::StatusOr<std::string> downloaded = options.download(repository, id->revision);
    // Where the Hub cannot be reached it may come later; else it is not there.
    if (downloaded.ok() || absl::IsUnavailable(downloaded.status()) || absl::IsResourceExhausted(downloaded.status()) ||
        absl::IsCancelled(downloaded.status())) {
      snapshot = downloaded.ok()
                     ? std::move(downloaded)
                     : Annotate(downloaded.status(), absl::StrCat("model '", repository, "' is neither a directory nor in ",
                                                                  options.hub_cache, ", and could not be downloaded"));
    } else {
      snapshot = absl::Status(snapshot.status().code(),
                              absl::StrCat(snapshot.status().message(), " (", downloaded.status().message(), ")"));
    }
  }
  MG_RETURN_IF_ERROR(snapshot.status());
  MG_RETURN_IF_ERROR(CheckConfined(*snapshot, options));
  return snapshot;
}

absl::StatusOr<std::string> PinHubId(
    absl::string_view spec, const std::string& hub_cache,
    const std::function<absl::StatusOr<std::string>(const std::string&, const std::string&)>& look_up) {
  const std::optional<HubId> id = ParseHubId(spec);
  std::error_code error;
  if (!id || fs::exists(std::string(spec), error)) {
    return absl::InvalidArgumentError(absl::StrCat("'", Printable(spec), "' is not a Hub id (org/name[@revision])"));
  }
  if (id->revision.size() == 40 && IsHex(id->revision)) return std::string(spec);
  const std::string repository = absl::StrCat(id->org, "/", id->name);
  if (const absl::StatusOr<std::string> snapshot = FindSnapshot(*id, hub_cache); snapshot.ok()) {
    return absl::StrCat(repository, "@", fs::path(*snapshot).filename().string());
  }
  MG_ASSIGN_OR_RETURN(const std::string commit, look_up(repository, id->revision));
  return absl::StrCat(repository, "@", commit);
}

}  // namespace merganser
