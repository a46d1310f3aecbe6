// Whether a path is a directory, as an error that says what it is instead.
#ifndef MERGANSER_WORKER_CHECKPOINT_DIRECTORY_H_
#define MERGANSER_WORKER_CHECKPOINT_DIRECTORY_H_

#include <filesystem>
#include <string>

#include "absl/status/status.h"

namespace merganser {

// False also where the system does not say.
bool Exists(const std::filesystem::path& path);

// OK if `dir` is a directory. NotFound: "no directory 'x'". InvalidArgument: "'x' is not a directory".
absl::Status CheckDirectory(const std::string& dir);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_DIRECTORY_H_
