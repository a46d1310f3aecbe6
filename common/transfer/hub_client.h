// Models of a Hugging Face Hub, or of a server that answers like it, into the local Hub cache.
#ifndef MERGANSER_COMMON_TRANSFER_HUB_CLIENT_H_
#define MERGANSER_COMMON_TRANSFER_HUB_CLIENT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/transfer/checkpoint_source.h"
#include "common/transfer/file_fetch.h"
#include "common/transfer/url_get.h"

namespace merganser {

struct HubOptions {
  std::string endpoint;  // "https://huggingface.co"
  std::string token;     // "": none
  std::string cache;     // with folders "models--org--name"
  bool offline = false;  // nothing is asked or downloaded
  FetchOptions fetch;
  UrlRequest access;  // timeouts and bytes_per_second of every request
};

// HF_ENDPOINT; HF_TOKEN, else the file HF_TOKEN_PATH, else HF_HOME/token; HF_HUB_OFFLINE. `cache` as given. `getenv` gives a
// variable's value or nullptr.
HubOptions HubOptionsFrom(const std::function<const char*(const char*)>& getenv, std::string cache);

struct HubModel {
  std::string commit;                         // 40 hexadecimal digits
  std::vector<CheckpointSource::File> files;  // those that a checkpoint needs
};

class HubClient {
 public:
  using Progress = std::function<void(int64_t done_bytes, int64_t total_bytes)>;  // total 0: not known

  explicit HubClient(HubOptions options) : options_(std::move(options)) {}

  // What the Hub has as ORG/NAME at a branch, tag or commit. `repository`: "org/name". NotFound: no such model or revision,
  // or offline. PermissionDenied: it wants a token, or another one. Unavailable: it cannot be reached. DataLoss: it answers
  // something else than a Hub does.
  absl::StatusOr<HubModel> LookUp(const std::string& repository, const std::string& revision,
                                  std::stop_token stop = {}) const;

  // The folder CACHE/models--ORG--NAME/snapshots/COMMIT with the files that a checkpoint needs, each checked against its
  // size and (weights) its SHA-256; it gets its name when all are there, and refs/REVISION then names the commit. What broke
  // off goes on where it was. Two processes that want the same wait for each other. Errors as LookUp and FetchFile.
  absl::StatusOr<std::string> Download(const std::string& repository, const std::string& revision, const Progress& progress,
                                       std::stop_token stop = {}) const;

 private:
  UrlRequest RequestFor(const std::string& path) const;

  const HubOptions options_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_HUB_CLIENT_H_
