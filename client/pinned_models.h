// What a job's models are, in its record: a file may change under its name, a branch of the Hub may move.
#ifndef MERGANSER_CLIENT_PINNED_MODELS_H_
#define MERGANSER_CLIENT_PINNED_MODELS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/domain/job_spec.h"

namespace merganser {

// Of a Hub's "org/name" at a revision: its commit.
using CommitLookUp = std::function<absl::StatusOr<std::string>(const std::string& repository, const std::string& revision)>;

// Adds its content to the path of each model that is here ("/models/ja@sha256:...", common/transfer/checkpoint_files.h), and
// to a Hub id its commit. What cannot be told stays as it is: loading says why. `look_up` is not asked again after
// Unavailable. FailedPrecondition naming the field: a path that names a content already and has another.
absl::Status PinModels(const std::string& hub_cache, const CommitLookUp& look_up, JobSpec* spec);

// By this process's environment (HF_HOME, HF_ENDPOINT, HF_TOKEN, ...).
absl::Status PinModels(JobSpec* spec);

// Gives the models of a job that goes on what its record says of them, where `spec`, as its file is now, names the same and
// no content of its own.
void KeepPins(const JobSpec& stored, JobSpec* spec);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_PINNED_MODELS_H_
