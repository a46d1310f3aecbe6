// How people name a candidate on the command line.
#ifndef MERGANSER_CLIENT_CANDIDATE_NAME_H_
#define MERGANSER_CLIENT_CANDIDATE_NAME_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace merganser {

// "JOB/CANDIDATE", or "JOB" alone.
struct CandidateName {
  std::string job;  // id or name
  std::optional<int64_t> number;
};

// InvalidArgument: what follows the slash is no number.
absl::StatusOr<CandidateName> ParseCandidateName(const std::string& text);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_CANDIDATE_NAME_H_
