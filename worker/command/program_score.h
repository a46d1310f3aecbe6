// What a program says of a model.
#ifndef MERGANSER_WORKER_COMMAND_PROGRAM_SCORE_H_
#define MERGANSER_WORKER_COMMAND_PROGRAM_SCORE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// The metrics in the last line of `output` that is not blank: a JSON object of numbers, {"acc": 0.58, "f1": 0.6}, or a
// number, which is the metric `score`. Members that are no numbers are passed over. InvalidArgument: no line, no JSON, no
// number in it, one that is not finite; the message holds the line.
absl::StatusOr<std::map<std::string, double>> ReadProgramScore(absl::string_view output);

}  // namespace merganser

#endif  // MERGANSER_WORKER_COMMAND_PROGRAM_SCORE_H_
