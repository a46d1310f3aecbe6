#include "common/transfer/url_source.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"
#include "nlohmann/json.hpp"

namespace merganser {
namespace {

constexpr int64_t kIndexMax = int64_t{64} << 20;
constexpr int64_t kSumMax = 4096;  // of FILE.sha256
constexpr absl::string_view kIndex = "model.safetensors.index.json";

bool IsPlainPath(absl::string_view path) {
  return !path.empty() && !absl::StrContains(path, "..") && std::all_of(path.begin(), path.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
  });
}

}  // namespace

absl::Status CheckUrlTemplate(absl::string_view url) {
  bool known = false;
  for (const char* scheme : {"file://", "http://", "https://", "s3://"}) known = known || absl::StartsWith(url, scheme);
  if (!known || !absl::StrContains(url, "{file}") ||
      (!absl::StrContains(url, "{content}") && !absl::StrContains(url, "{model}"))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", url, "' must be a file://, http://, https:// or s3:// URL with {file} and with {content} or {model}"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> WeightFilesInIndex(absl::string_view json) {
  const nlohmann::json index = nlohmann::json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(kIndex, ": holds no weight_map"));
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) return absl::InvalidArgumentError(absl::StrCat(kIndex, ": a file of weight_map is no text"));
    names.insert(file.get<std::string>());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

UrlSource::UrlSource(std::string url, std::string content, std::string model, UrlRequest access)
    : url_(std::move(url)),
      content_(std::move(content)),
      model_(absl::StripPrefix(model, "/")),
      access_(std::move(access)) {}

absl::StatusOr<UrlRequest> UrlSource::RequestFor(absl::string_view file) const {
  if (absl::StrContains(url_, "{model}") && !IsPlainPath(model_)) {
    return absl::NotFoundError(absl::StrCat("'", model_, "' does not go into the URL ", url_));
  }
  if (absl::StrContains(url_, "{content}") && content_.empty()) {
    return absl::NotFoundError(absl::StrCat("the content of '", model_, "' is not known"));
  }
  UrlRequest request = access_;
  request.url = absl::StrReplaceAll(url_, {{"{file}", file}, {"{content}", content_}, {"{model}", model_}});
  return request;
}

absl::StatusOr<std::vector<CheckpointSource::File>> UrlSource::List(std::stop_token stop) {
  std::vector<File> files;
  const auto look = [&](const std::string& name) -> absl::Status {
    MG_ASSIGN_OR_RETURN(UrlRequest request, RequestFor(name));
    request.head = true;
    const absl::StatusOr<UrlAnswer> there = GetUrl(
        request, [](absl::string_view) { return absl::OkStatus(); }, stop);
    if (there.ok()) files.push_back({name, there->size, there->sha256});
    return there.status();
  };
  // Without its config there is no checkpoint, and no need to ask for the rest. Buckets that may not be listed answer 403
  // for what is not there.
  MG_RETURN_IF_ERROR(look("config.json"));
  bool sharded = false;
  for (const std::string& name : CheckpointSideFiles()) {
    if (name == "config.json") continue;
    const absl::Status there = look(name);
    if (!there.ok() && !absl::IsNotFound(there) && !absl::IsPermissionDenied(there)) return there;
    sharded = sharded || (there.ok() && name == kIndex);
  }
  std::vector<std::string> weights = {"model.safetensors"};
  if (sharded) {
    MG_ASSIGN_OR_RETURN(UrlRequest request, RequestFor(kIndex));
    request.bytes_max = kIndexMax;
    std::string index;
    const auto keep = [&](absl::string_view bytes) {
      absl::StrAppend(&index, bytes);
      return absl::OkStatus();
    };
    MG_RETURN_IF_ERROR(GetUrl(request, keep, stop).status());
    MG_ASSIGN_OR_RETURN(weights, WeightFilesInIndex(index));
  }
  for (const std::string& name : weights) {
    if (!IsCheckpointFileName(name))
      return absl::InvalidArgumentError(absl::StrCat(kIndex, ": names the file '", name, "'"));
    MG_RETURN_IF_ERROR(look(name));
  }
  return files;
}

absl::StatusOr<std::string> UrlSource::Read(const File& file, int64_t offset, const Sink& sink, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(UrlRequest request, RequestFor(file.name));
  request.offset = offset;
  MG_RETURN_IF_ERROR(GetUrl(request, sink, stop).status());
  return "";
}

absl::StatusOr<std::string> UrlSource::Sha256Of(const File& file, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(UrlRequest request, RequestFor(absl::StrCat(file.name, ".sha256")));
  request.bytes_max = kSumMax;
  std::string text;
  const auto keep = [&](absl::string_view bytes) {
    absl::StrAppend(&text, bytes);
    return absl::OkStatus();
  };
  const absl::StatusOr<UrlAnswer> got = GetUrl(request, keep, stop);
  // Buckets that may not be listed answer 403 for what is not there.
  if (absl::IsPermissionDenied(got.status())) return absl::NotFoundError(got.status().message());
  MG_RETURN_IF_ERROR(got.status());
  const absl::string_view line = absl::StripLeadingAsciiWhitespace(text);
  const std::string sum = absl::AsciiStrToLower(line.substr(0, line.find_first_of(" \t\r\n")));
  if (sum.size() != 64 || !std::all_of(sum.begin(), sum.end(), [](char c) { return absl::ascii_isxdigit(c); })) {
    return absl::InvalidArgumentError(absl::StrCat(file.name, ".sha256: does not begin with 64 hexadecimal digits"));
  }
  return sum;
}

}  // namespace merganser
