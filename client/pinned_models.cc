#include "client/pinned_models.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"
#include "common/transfer/hub_client.h"
#include "worker/checkpoint/model_locator.h"

namespace merganser {
namespace {

// Whether `path` is the Hub id `id` with a whole commit for its revision.
bool IsCommitOf(const std::string& path, const std::string& id) {
  const std::string repository = absl::StrCat(id.substr(0, id.find('@')), "@");
  if (path.size() != repository.size() + 40 || path.compare(0, repository.size(), repository) != 0) return false;
  return std::all_of(path.end() - 40, path.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

}  // namespace

absl::Status PinModels(const std::string& hub_cache, const CommitLookUp& look_up, JobSpec* spec) {
  const ModelLocatorOptions locator{.hub_cache = hub_cache};
  bool away = false;
  const CommitLookUp once = [&](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
    if (away) return absl::UnavailableError("the Hub did not answer");
    absl::StatusOr<std::string> commit = look_up(repository, revision);
    away = absl::IsUnavailable(commit.status());
    return commit;
  };
  for (ModelRef& model : spec->models) {
    auto [path, content] = SplitContent(model.path);
    if (const absl::StatusOr<std::string> pinned = PinHubId(path, hub_cache, once); pinned.ok()) path = *pinned;
    const absl::StatusOr<std::string> dir = ResolveModel(path, locator);
    const absl::StatusOr<std::string> here = dir.ok() ? CheckpointContent(*dir) : dir.status();
    if (here.ok() && !content.empty() && content != *here) {
      return absl::FailedPreconditionError(
          absl::StrCat("models.", model.name, ".path: ", path, " has the content ", *here, ", not ", content));
    }
    if (here.ok()) content = *here;
    model.path = content.empty() ? path : WithContent(path, content);
  }
  return absl::OkStatus();
}

absl::Status PinModels(JobSpec* spec) {
  const auto environment = [](const char* name) -> const char* { return std::getenv(name); };
  const std::string hub_cache = HubCacheFolder(environment);
  HubOptions hub = HubOptionsFrom(environment, hub_cache);
  return PinModels(
      hub_cache,
      [&hub](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
        MG_ASSIGN_OR_RETURN(const HubModel model, HubClient(hub).LookUp(repository, revision));
        return model.commit;
      },
      spec);
}

void KeepPins(const JobSpec& stored, JobSpec* spec) {
  for (ModelRef& model : spec->models) {
    const auto same = std::find_if(stored.models.begin(), stored.models.end(),
                                   [&](const ModelRef& other) { return other.name == model.name; });
    if (same == stored.models.end() || !SplitContent(model.path).second.empty()) continue;
    const std::string path = SplitContent(same->path).first;
    if (path == model.path || IsCommitOf(path, model.path)) model.path = same->path;
  }
}

}  // namespace merganser
