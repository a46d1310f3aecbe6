#include "client/candidate_name.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace merganser {

absl::StatusOr<CandidateName> ParseCandidateName(const std::string& text) {
  const size_t slash = text.find('/');
  CandidateName name{.job = text.substr(0, slash)};
  if (slash == std::string::npos) return name;
  int64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(slash + 1), &number) || number < 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not JOB or JOB/CANDIDATE (a number)"));
  }
  name.number = number;
  return name;
}

}  // namespace merganser
