#include "common/transfer/hub_client.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"
#include "nlohmann/json.hpp"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kAnswerMax = int64_t{32} << 20;
constexpr int64_t kTokenMax = 4096;
constexpr absl::Duration kLockPoll = absl::Milliseconds(200);

// "/" of a branch's name would be another folder of the URL.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"%", "%25"}, {"/", "%2F"}, {"?", "%3F"}, {"#", "%23"}});
}

bool IsCommit(absl::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isxdigit(c); });
}

class HubFiles final : public CheckpointSource {
 public:
  explicit HubFiles(std::function<UrlRequest(const std::string& file)> request) : request_(std::move(request)) {}
  std::string name() const override { return "the Hub"; }
  absl::StatusOr<std::vector<File>> List(std::stop_token) override {
    return absl::UnimplementedError("the Hub's API lists them");
  }
  absl::StatusOr<std::string> Read(const File& file, int64_t offset, const Sink& sink, std::stop_token stop) override {
    UrlRequest request = request_(file.name);
    request.offset = offset;
    MG_RETURN_IF_ERROR(GetUrl(request, sink, stop).status());
    return "";
  }

 private:
  const std::function<UrlRequest(const std::string& file)> request_;
};

absl::StatusOr<HubModel> ParseModel(absl::string_view text, absl::string_view repository) {
  const nlohmann::json answer = nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  const auto bad = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("the Hub's answer about '", repository, "' ", what));
  };
  if (!answer.is_object()) return bad("is not JSON");
  HubModel model;
  if (answer.contains("sha") && answer["sha"].is_string()) model.commit = answer["sha"].get<std::string>();
  if (!IsCommit(model.commit)) return bad("names no commit");
  if (!answer.contains("siblings") || !answer["siblings"].is_array()) return bad("lists no files");
  std::map<std::string, CheckpointSource::File> files;
  std::vector<std::string> names;
  for (const nlohmann::json& sibling : answer["siblings"]) {
    if (!sibling.is_object() || !sibling.contains("rfilename") || !sibling["rfilename"].is_string())
      return bad("lists a file without a name");
    CheckpointSource::File file;
    file.name = sibling["rfilename"].get<std::string>();
    if (sibling.contains("size") && sibling["size"].is_number_unsigned()) file.size = sibling["size"].get<int64_t>();
    if (sibling.contains("lfs") && sibling["lfs"].is_object() && sibling["lfs"].contains("sha256") &&
        sibling["lfs"]["sha256"].is_string()) {
      file.sha256 = absl::AsciiStrToLower(sibling["lfs"]["sha256"].get<std::string>());
    }
    names.push_back(file.name);
    files[file.name] = file;
  }
  for (const std::string& name : NeededFiles(names)) model.files.push_back(files[name]);
  return model;
}

}  // namespace

HubOptions HubOptionsFrom(const std::function<const char*(const char*)>& getenv, std::string cache) {
  const auto value = [&](const char* name) -> std::string {
    const char* const found = getenv(name);
    return found == nullptr ? "" : found;
  };
  HubOptions options;
  options.cache = std::move(cache);
  options.endpoint = value("HF_ENDPOINT");
  if (options.endpoint.empty()) options.endpoint = "https://huggingface.co";
  options.token = value("HF_TOKEN");
  std::string token_path = value("HF_TOKEN_PATH");
  if (token_path.empty() && !value("HF_HOME").empty()) token_path = value("HF_HOME") + "/token";
  if (options.token.empty() && !token_path.empty()) options.token = ReadFile(token_path, kTokenMax).value_or("");
  options.token = std::string(absl::StripAsciiWhitespace(options.token));
  const std::string offline = absl::AsciiStrToLower(value("HF_HUB_OFFLINE"));
  options.offline = offline == "1" || offline == "true" || offline == "yes" || offline == "on";
  return options;
}

UrlRequest HubClient::RequestFor(const std::string& path) const {
  UrlRequest request = options_.access;
  request.url = absl::StrCat(absl::StripSuffix(options_.endpoint, "/"), path);
  request.bearer = options_.token;
  return request;
}

absl::StatusOr<HubModel> HubClient::LookUp(const std::string& repository, const std::string& revision,
                                           std::stop_token stop) const {
  if (options_.offline) return absl::NotFoundError("HF_HUB_OFFLINE is set");
  if (!absl::StartsWith(options_.endpoint, "http://") && !absl::StartsWith(options_.endpoint, "https://")) {
    return absl::InvalidArgumentError(absl::StrCat("HF_ENDPOINT: '", options_.endpoint, "' is no http:// or https:// URL"));
  }
  UrlRequest request = RequestFor(absl::StrCat("/api/models/", repository, "/revision/", Escaped(revision), "?blobs=true"));
  request.bytes_max = kAnswerMax;
  std::string answer;
  const auto keep = [&](absl::string_view bytes) {
    absl::StrAppend(&answer, bytes);
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(GetUrl(request, keep, stop).status());
  return ParseModel(answer, repository);
}

absl::StatusOr<std::string> HubClient::Download(const std::string& repository, const std::string& revision,
                                                const Progress& progress, std::stop_token stop) const {
  if (options_.cache.empty()) return absl::NotFoundError("there is no Hugging Face cache: set HF_HOME");
  MG_ASSIGN_OR_RETURN(const HubModel model, LookUp(repository, revision, stop));
  if (model.files.empty()) {
    return absl::NotFoundError(
        absl::StrCat("'", repository, "' at the Hub has no files of a checkpoint (safetensors, configs, tokenizer)"));
  }
  const fs::path folder =
      fs::path(options_.cache) / absl::StrCat("models--", absl::StrReplaceAll(repository, {{"/", "--"}}));
  const fs::path snapshot = folder / "snapshots" / model.commit;
  // Beside the snapshots, so that nobody takes half of one for a whole.
  const fs::path partial = folder / absl::StrCat(".", model.commit, ".partial");
  std::error_code error;
  fs::create_directories(folder / "snapshots", error);
  if (error) return ErrnoStatus(error.value(), "cannot make", (folder / "snapshots").string());
  const std::string lock_path = absl::StrCat(partial.string(), ".lock");
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) return ErrnoStatus(errno, "cannot open", lock_path);
  struct Unlock {
    int fd;
    ~Unlock() { close(fd); }
  } unlock{lock};
  while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoStatus(errno, "cannot lock", lock_path);
    MG_RETURN_IF_ERROR(SleepUnlessStopped(kLockPoll, stop));
  }
  // What another tool downloaded in part may lack files.
  const bool there = std::all_of(model.files.begin(), model.files.end(), [&](const CheckpointSource::File& file) {
    std::error_code none;
    return fs::exists(snapshot / file.name, none);
  });
  if (!there) {
    int64_t total = 0, done = 0;
    for (const CheckpointSource::File& file : model.files) total += std::max<int64_t>(0, file.size);
    HubFiles source([&](const std::string& file) {
      return RequestFor(absl::StrCat("/", repository, "/resolve/", model.commit, "/", file));
    });
    fs::create_directories(partial, error);
    if (error) return ErrnoStatus(error.value(), "cannot make", partial.string());
    for (const CheckpointSource::File& file : model.files) {
      std::error_code none;
      if (fs::exists(snapshot / file.name, none)) continue;
      const auto at = [&](int64_t bytes) {
        if (progress) progress(done + bytes, total);
      };
      MG_ASSIGN_OR_RETURN(const int64_t size, FetchFile(&source, file, partial.string(), options_.fetch, at, stop));
      done += size;
    }
    MG_RETURN_IF_ERROR(SyncFolder(partial.string()));
    if (!fs::exists(snapshot, error)) {
      fs::rename(partial, snapshot, error);
      if (error) return ErrnoStatus(error.value(), "cannot rename", partial.string());
    } else {
      for (const CheckpointSource::File& file : model.files) {
        std::error_code none;
        if (fs::exists(partial / file.name, none)) fs::rename(partial / file.name, snapshot / file.name, error);
        if (error) return ErrnoStatus(error.value(), "cannot rename", (partial / file.name).string());
      }
      fs::remove_all(partial, error);
    }
    MG_RETURN_IF_ERROR(SyncFolder((folder / "snapshots").string()));
  }
  if (!IsCommit(revision)) {
    const fs::path ref = folder / "refs" / revision;
    fs::create_directories(ref.parent_path(), error);
    MG_RETURN_IF_ERROR(WriteFileAtomically(ref.string(), model.commit));
  }
  return snapshot.string();
}

}  // namespace merganser
