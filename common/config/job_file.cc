#include "common/config/job_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/transfer/checkpoint_files.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBytesMax = int64_t{16} << 20;  // as ReadYamlFile

// org/name[@revision]: exactly one '/' before the revision, and none of a path's marks.
bool LooksLikeHubId(const std::string& path) {
  const std::string id = path.substr(0, path.find('@'));
  const size_t slash = id.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < id.size() && id.find('/', slash + 1) == std::string::npos &&
         id[0] != '.' && id[0] != '~';
}

// The names of the checkpoints in a folder.
std::vector<std::string> CheckpointsIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (fs::is_regular_file(entry.path() / "config.json", error)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A benchmark in a file of its own, rather than a built-in or another of the job.
bool LooksLikeFile(const std::string& use) {
  return use.find('/') != std::string::npos || absl::EndsWith(use, ".yaml") || absl::EndsWith(use, ".yml");
}

std::string Absolute(const fs::path& folder, const std::string& path) {
  std::error_code error;
  const fs::path joined = fs::path(path).is_absolute() ? fs::path(path) : folder / path;
  const fs::path canonical = fs::weakly_canonical(joined, error);
  return error ? joined.string() : canonical.string();
}

fs::path FolderOf(const std::string& file) {
  std::error_code error;
  return fs::absolute(fs::path(file), error).parent_path();
}

bool MayBeElsewhere(const std::string& path, PathsAre paths) {
  return paths == PathsAre::kOnWorkers && fs::path(path).is_absolute();
}

}  // namespace

absl::Status ResolveDataPaths(const std::string& file, absl::string_view section, std::vector<BenchmarkSpec>* benchmarks,
                              PathsAre paths) {
  for (BenchmarkSpec& b : *benchmarks) {
    std::error_code error;
    if (LooksLikeFile(b.use)) {
      const bool elsewhere = MayBeElsewhere(b.use, paths);
      b.use = Absolute(FolderOf(file), b.use);
      if (!fs::is_regular_file(b.use, error) && !elsewhere) {
        return absl::NotFoundError(absl::StrCat(section, ".", b.name, ".use: no file '", b.use, "'"));
      }
    }
    if (b.data.empty()) continue;  // what it uses brings the data, or is an average of others
    const std::string path = Absolute(FolderOf(file), b.data);
    if (!fs::exists(path, error) && !MayBeElsewhere(b.data, paths)) {
      const bool ours = b.use.empty() || b.use == "command" || LooksLikeFile(b.use) ||
                        std::any_of(benchmarks->begin(), benchmarks->end(),
                                    [&](const BenchmarkSpec& other) { return other.name == b.use && &other != &b; });
      return absl::NotFoundError(
          absl::StrCat(section, ".", b.name, ".data: no file '", path, "', nor a folder",
                       ours ? "" : absl::StrCat("; docs/benchmarks.md says where the data of '", b.use, "' is to be had")));
    }
    b.data = path;
  }
  return absl::OkStatus();
}

absl::Status ResolveModelPaths(const std::string& file, std::vector<ModelRef>* models, PathsAre paths) {
  for (ModelRef& model : *models) {
    const auto [named, content] = SplitContent(model.path);  // which is held against the directory when it is opened
    const std::string path = Absolute(FolderOf(file), named);
    std::error_code error;
    const std::string lora = Absolute(FolderOf(file), model.lora);
    if (!model.lora.empty() && fs::is_directory(lora, error)) model.lora = lora;
    if (fs::is_directory(path, error)) {
      model.path = content.empty() ? path : WithContent(path, content);
    } else if (!LooksLikeHubId(named) && !MayBeElsewhere(named, paths)) {
      return absl::NotFoundError(absl::StrCat("models.", model.name, ".path: no directory '", path, "', and '", model.path,
                                              "' is no Hub id (org/name)"));
    } else if (LooksLikeHubId(named) && named.find('@') == std::string::npos) {
      // A misspelt folder beside others rather than a Hub id.
      const fs::path folder = fs::path(path).parent_path();
      const std::vector<std::string> others = CheckpointsIn(folder);
      if (others.empty()) continue;
      return absl::NotFoundError(absl::StrCat("models.", model.name, ".path: no directory '", path, "'",
                                              DidYouMean(fs::path(path).filename().string(), others), " (", folder.string(),
                                              " holds checkpoints; a Hub id of that name is written '", named, "@main')"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobFile> ReadJobFile(const std::string& path, PathsAre paths, const EvolveOptions& evolve) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kBytesMax));
  JobFile file;
  if (IsEvolveText(text)) {
    MG_ASSIGN_OR_RETURN(EvolveJob job, ReadEvolveText(text, path, evolve));
    file = {std::move(job.spec), std::move(job.source), true, std::move(job.notes)};
  } else {
    v1::JobSpec proto;
    MG_ASSIGN_OR_RETURN(file.source, ReadYaml(text, path, &proto));
    absl::StatusOr<JobSpec> spec = FromProto(proto);
    if (!spec.ok()) return file.source.Locate(spec.status());
    file.spec = *std::move(spec);
  }
  MG_RETURN_IF_ERROR(file.source.Locate(Validate(file.spec)));
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveModelPaths(path, &file.spec.models, paths)));
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveDataPaths(path, "benchmarks", &file.spec.benchmarks, paths)));
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveDataPaths(path, "held_out", &file.spec.held_out, paths)));
  return file;
}

}  // namespace merganser
