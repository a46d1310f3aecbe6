// What our readers of YAML have in common. Mistakes in the text that yaml-cpp does not tell, or tells in another place: it takes a quote that is open at the end of
// the text for closed, tells of others where they happen to end, and reads only the first of several documents.
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
