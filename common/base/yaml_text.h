// What our YAML readers share: checks of the text for mistakes that yaml-cpp misses or reports in another place. It takes a
// quote that is still open at the end of the text as closed, reports other mistakes where it happens to stop reading, and
// reads only the first of several documents.
#ifndef MERGANSER_COMMON_BASE_YAML_TEXT_H_
#define MERGANSER_COMMON_BASE_YAML_TEXT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace YAML {
class Node;
}

namespace merganser {

// "a map", "a list", "a value" or "nothing", for errors.
const char* KindOf(const YAML::Node& node);

// OK, or InvalidArgument "FILE:LINE: what". LINE is that of a quote: one that is open at the end of the text; of text that
// is not YAML, one that ends lines later, in front of other text. Or it is that of a second document, unless that is empty.
// Text that is not YAML for other reasons is OK here.
absl::Status CheckYamlText(absl::string_view text, absl::string_view file);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_YAML_TEXT_H_
