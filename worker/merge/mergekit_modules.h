// Models of several modules (a vision tower beside a language model, encoder and decoder) as mergekit sees them: which
// tensors are a module's, and where a tensor stands among the layers of its own.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_MODULES_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_MODULES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace merganser {

// The tensors of one of mergekit's modules by the beginnings of their names, in the order in which they are tried: those of
// the architectures that mergekit knows, else the module's own name (what mergekit calls a module that it infers).
// "text_decoder", "shared" and "default" have what no other module takes: {""}.
std::vector<std::string> ModulePrefixes(absl::string_view module);

// The position in `modules` of the one that has the tensor, by the longest beginning that fits; -1: none has.
int ModuleOf(absl::Span<const std::string> modules, absl::string_view tensor_name);

// Where tensors stand among those with the same beginning before their first number: "vision_tower.encoder.layers".
class LayersByPrefix {
 public:
  explicit LayersByPrefix(absl::Span<const std::string> tensor_names);

  // mergekit's t: 0 for the first layer to 1 for the last, 1 for an only one; 0 for a tensor whose name has no number.
  double At(absl::string_view tensor_name) const;

 private:
  std::map<std::string, int> layers_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_MODULES_H_
