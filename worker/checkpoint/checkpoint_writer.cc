#include "worker/checkpoint/checkpoint_writer.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/disk_space.h"
#include "worker/checkpoint/json_object.h"
#include "worker/checkpoint/staged_directory.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char kConfigFile[] = "config.json";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr const char* kDonorFiles[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer.model",
                                       "tokenizer_config.json",
                                       "spiece.model",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "preprocessor_config.json",
                                       "processor_config.json",
                                       "chat_template.jinja",
                                       "chat_template.json"};

std::string Dump(const Json& json) { return absl::StrCat(json.dump(2, ' ', false, Json::error_handler_t::replace), "\n"); }

absl::StatusOr<std::string> MergedConfig(const CheckpointWriterOptions& options) {
  const std::string& dir = options.config_dir.empty() ? options.donor_dir : options.config_dir;
  const std::string path = (fs::path(dir) / kConfigFile).string();
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  MG_ASSIGN_OR_RETURN(Json config, ParseJsonObject(text, path));
  if (!options.config_patch.empty()) {
    MG_ASSIGN_OR_RETURN(const Json patch, ParseJsonObject(options.config_patch, "config_patch"));
    config.merge_patch(patch);
  }
  if (options.dtype) {
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = std::string(ConfigName(*options.dtype));
    if (config.contains("dtype")) config.erase("torch_dtype");
  }
  return Dump(config);
}

// The names and texts of all files but the weights.
absl::StatusOr<std::map<std::string, std::string>> SmallFiles(const CheckpointWriterOptions& options) {
  std::map<std::string, std::string> files;
  MG_ASSIGN_OR_RETURN(files[kConfigFile], MergedConfig(options));
  for (const char* name : kDonorFiles) {
    if (options.dropped_files.count(name) > 0) continue;
    absl::StatusOr<std::string> bytes = ReadFile((fs::path(options.donor_dir) / name).string());
    if (absl::IsNotFound(bytes.status())) continue;
    MG_RETURN_IF_ERROR(bytes.status());
    files[name] = *std::move(bytes);
  }
  for (const auto& [name, text] : options.text_files) {
    if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
        name == kConfigFile || name == kIndexFile || absl::EndsWith(name, ".safetensors")) {
      return absl::InvalidArgumentError(
          absl::StrCat("text file '", Printable(name), "' is not a plain file name, or one that the export writes itself"));
    }
    files[name] = text;
  }
  return files;
}

// Consecutive tensors that share a file.
absl::StatusOr<std::vector<std::vector<TensorHeader>>> Shards(const std::vector<TensorHeader>& tensors,
                                                              int64_t max_shard_bytes, int64_t& total_bytes) {
  if (max_shard_bytes <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("max_shard_bytes ", max_shard_bytes, " is not positive"));
  }
  std::vector<std::vector<TensorHeader>> shards;
  absl::flat_hash_set<absl::string_view> names;
  int64_t shard_bytes = 0;
  total_bytes = 0;
  for (const TensorHeader& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(tensor.name), "' appears twice"));
    }
    int64_t bytes = SizeOf(tensor.dtype);
    for (int64_t dimension : tensor.shape) {
      if (dimension < 0 || __builtin_mul_overflow(bytes, dimension, &bytes)) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(tensor.name), "': shape ",
                                                       ShapeText(tensor.shape), " is negative or too large"));
      }
    }
    if (__builtin_add_overflow(total_bytes, bytes, &total_bytes)) {
      return absl::InvalidArgumentError("the tensors have more than 2^63 bytes");
    }
    if (shards.empty() || (shard_bytes > 0 && bytes > max_shard_bytes - shard_bytes)) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(tensor);
    shard_bytes += bytes;
  }
  if (shards.empty()) return absl::InvalidArgumentError("there are no tensors to write");
  return shards;
}

absl::Status WriteShard(const std::string& path, const std::vector<TensorHeader>& tensors,
                        const CheckpointWriter::TensorSource& source) {
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer, SafetensorsWriter::Create(path, tensors));
  for (const TensorHeader& tensor : tensors) {
    int64_t given = 0;
    const auto append = [&](absl::Span<const std::byte> bytes) {
      given += static_cast<int64_t>(bytes.size());
      // Checked for each tensor: an excess would otherwise be taken for the next one's start.
      if (given > tensor.NumBytes()) {
        return absl::OutOfRangeError(absl::StrCat("more bytes than the ", tensor.NumBytes(), " of its shape"));
      }
      return writer->Append(bytes);
    };
    const absl::Status written = source(tensor, append);
    // Tensors are computed several at a time: an error may be of another one, and then says so.
    if (absl::StartsWith(written.message(), "tensor '")) return written;
    MG_RETURN_IF_ERROR(Annotate(written, absl::StrCat("tensor '", Printable(tensor.name), "'")));
    if (given != tensor.NumBytes()) {
      return absl::FailedPreconditionError(
          absl::StrCat("tensor '", Printable(tensor.name), "': ", given, " bytes given, ", tensor.NumBytes(), " expected"));
    }
  }
  return writer->Finish();
}

}  // namespace

absl::Status CheckpointWriter::Write(const std::vector<TensorHeader>& tensors, const TensorSource& source) const {
  int64_t wanted_bytes = 0;
  MG_ASSIGN_OR_RETURN(const auto shards, Shards(tensors, options_.max_shard_bytes, wanted_bytes));
  MG_ASSIGN_OR_RETURN(const auto small_files, SmallFiles(options_));
  const int64_t tensor_bytes = wanted_bytes;
  for (const auto& [name, bytes] : small_files) wanted_bytes += static_cast<int64_t>(bytes.size());
  MG_ASSIGN_OR_RETURN(const auto staged, StagedDirectory::Create(options_.out_dir, options_.overwrite, kConfigFile));
  MG_RETURN_IF_ERROR(CheckFreeSpace(staged->path(), wanted_bytes));

  const fs::path folder = staged->path();
  for (const auto& [name, bytes] : small_files) MG_RETURN_IF_ERROR(WriteFileAtomically((folder / name).string(), bytes));
  std::map<std::string, std::string> file_of;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors" : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    MG_RETURN_IF_ERROR(WriteShard((folder / name).string(), shards[i], source));
    for (const TensorHeader& tensor : shards[i]) file_of[tensor.name] = name;
  }
  if (shards.size() > 1) {
    const nlohmann::json index = {{"metadata", {{"total_size", tensor_bytes}}}, {"weight_map", file_of}};
    MG_RETURN_IF_ERROR(
        WriteFileAtomically((folder / kIndexFile).string(),
                            absl::StrCat(index.dump(2, ' ', false, nlohmann::json::error_handler_t::replace), "\n")));
  }
  // What is renamed into place must load. A family that this build cannot run may still be
  // exported.
  const absl::Status opens = Checkpoint::Open(folder.string()).status();
  if (!opens.ok() && !absl::IsUnimplemented(opens)) return Annotate(opens, "the export would not load");
  return staged->Commit();
}

}  // namespace merganser
