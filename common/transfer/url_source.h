// A checkpoint behind a URL template.
#ifndef MERGANSER_COMMON_TRANSFER_URL_SOURCE_H_
#define MERGANSER_COMMON_TRANSFER_URL_SOURCE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/transfer/checkpoint_source.h"
#include "common/transfer/url_get.h"

namespace merganser {

// InvalidArgument unless it is a file://, http://, https:// or s3:// URL with {file} and with {content} or {model}.
absl::Status CheckUrlTemplate(absl::string_view url);

// {file}: the file's name; {content}: 64 hexadecimal digits (checkpoint_files.h); {model}: the model's path as the job names
// it, without a leading "/"; a path with ".." or characters that are none of [A-Za-z0-9._/-] is not there. The server need
// not list folders: it is asked for each file that a checkpoint may have, and for the weights that its index names. Their
// SHA-256 is what the server says of the file in a header (UrlAnswer), else the first word of FILE.sha256 beside it
// (sha256sum's form).
class UrlSource final : public CheckpointSource {
 public:
  // `access`: bearer, s3, bytes_per_second and timeouts of every request.
  UrlSource(std::string url, std::string content, std::string model, UrlRequest access);

  std::string name() const override { return url_.substr(0, url_.find('{')); }
  absl::StatusOr<std::vector<File>> List(std::stop_token stop) override;
  absl::StatusOr<std::string> Read(const File& file, int64_t offset, const Sink& sink, std::stop_token stop) override;
  absl::StatusOr<std::string> Sha256Of(const File& file, std::stop_token stop) override;

 private:
  absl::StatusOr<UrlRequest> RequestFor(absl::string_view file) const;

  const std::string url_, content_, model_;
  const UrlRequest access_;
};

// The weights that the text of a "model.safetensors.index.json" names, in order; InvalidArgument if it is none.
absl::StatusOr<std::vector<std::string>> WeightFilesInIndex(absl::string_view json);

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_URL_SOURCE_H_
