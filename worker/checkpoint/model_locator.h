// From what a user writes to a checkpoint's directory.
#ifndef MERGANSER_WORKER_CHECKPOINT_MODEL_LOCATOR_H_
#define MERGANSER_WORKER_CHECKPOINT_MODEL_LOCATOR_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct ModelLocatorOptions {
  // Relative paths start here (the folder of the job file); "": the working directory.
  std::string base_dir;
  // If not empty, models must lie within one of these folders, with everything that they hold,
  // links resolved. List the Hub cache to allow what is in it.
  std::vector<std::string> model_roots;
  // The Hugging Face cache, with its folders "models--org--name"; "": no Hub ids.
  std::string hub_cache;
  // Brings "org/name" at a revision into that cache and returns the snapshot's folder. Not called where model_roots do not
  // allow the cache. Null: nothing is downloaded.
  std::function<absl::StatusOr<std::string>(const std::string& repository, const std::string& revision)> download;
};

// The Hub cache that an environment means: HF_HUB_CACHE, else HF_HOME/hub, else
// XDG_CACHE_HOME/huggingface/hub, else HOME/.cache/huggingface/hub; "" if none of these is set.
// `getenv` gives a variable's value or nullptr.
std::string HubCacheFolder(const std::function<const char*(const char*)>& getenv);

// The directory of the model `spec`: a path, or a Hub id "org/name[@revision]" whose snapshot is in
// the cache (revision: a branch or tag, or a commit of 7 to 40 digits; "main" by default). An
// existing path wins over a Hub id. A path may end in "@sha256:CONTENT" (common/transfer/checkpoint_files.h):
// then it is looked at, too. Reads the file system, and downloads if it may.
//
// NotFound: no such path; for a Hub id the message ends with the command that fetches it, `hf
// download org/name --revision REV`, and why it could not be downloaded. FailedPrecondition: its content is another.
// InvalidArgument: empty, a file, a malformed Hub id, or an ambiguous short commit. PermissionDenied (names path and roots):
// outside of options.model_roots.
absl::StatusOr<std::string> ResolveModel(absl::string_view spec, const ModelLocatorOptions& options);

// "org/name@COMMIT" of a Hub id: what its revision means in `hub_cache`, else what `look_up`, given "org/name" and the
// revision, answers; as it is if it names a whole commit already. InvalidArgument: `spec` is a path, or no Hub id. Errors of
// `look_up`.
absl::StatusOr<std::string> PinHubId(
    absl::string_view spec, const std::string& hub_cache,
    const std::function<absl::StatusOr<std::string>(const std::string& repository, const std::string& revision)>& look_up);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_MODEL_LOCATOR_H_
