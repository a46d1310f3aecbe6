// The file that says how a user's program scores a model.
#ifndef MERGANSER_WORKER_COMMAND_COMMAND_FILE_H_
#define MERGANSER_WORKER_COMMAND_COMMAND_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/command/program.h"

namespace merganser {

// What the program is given.
enum class CommandModel {
  kEndpoint,    // MERGANSER_BASE_URL: an OpenAI-compatible endpoint of the model
  kCheckpoint,  // MERGANSER_MODEL_DIR: the model's directory
};

struct CommandFile {
  Program program;  // runs in the file's folder
  CommandModel model = CommandModel::kEndpoint;
  int64_t max_length = 0;            // kEndpoint: tokens of a prompt with its completion; 0: the model's, at most 4096
  std::vector<std::string> metrics;  // that it prints; empty: not said
};

// Reads YAML:
//
//   run: [python3, score.py]    # or one text, which a shell reads
//   model: checkpoint           # or endpoint, the default
//   timeout: 600                # seconds; 3600 unless given
//   env: {NAME: value}
//   output_bytes: 1048576       # of standard output
//   max_length: 2048            # tokens, for an endpoint
//   metrics: [acc]
//
// Does not look for the program. NotFound, PermissionDenied: the file. InvalidArgument "FILE:LINE: field: what".
absl::StatusOr<CommandFile> ReadCommandFile(const std::string& path);

// The same of a text; `file` names it in errors, and its folder is where the program runs.
absl::StatusOr<CommandFile> ParseCommandFile(absl::string_view text, const std::string& file);

}  // namespace merganser

#endif  // MERGANSER_WORKER_COMMAND_COMMAND_FILE_H_
