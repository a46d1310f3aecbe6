// "did you mean": the known name nearest to a misspelt one.
#ifndef MERGANSER_COMMON_BASE_CLOSEST_NAME_H_
#define MERGANSER_COMMON_BASE_CLOSEST_NAME_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// The entry of `known` with the smallest edit distance to `name` (a swap of neighbours is one edit), if that is at most a
// third of the longer length (at least 1); "" otherwise.
std::string ClosestName(absl::string_view name, const std::vector<std::string>& known);

// "; did you mean 'X'?" or, without a near name, "; known: a, b, c". For the end of an error message.
std::string DidYouMean(absl::string_view name, const std::vector<std::string>& known);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_CLOSEST_NAME_H_
