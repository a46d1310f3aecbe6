#include "worker/merge/merge_method.h"

#include "worker/merge/methods/dare_linear.h"
#include "worker/merge/methods/dare_ties.h"
#include "worker/merge/methods/linear.h"
#include "worker/merge/methods/task_arithmetic.h"
#include "worker/merge/methods/ties.h"

namespace merganser {

const std::vector<const MergeMethod*>& AllMergeMethods() {
  static const auto* const methods = new std::vector<const MergeMethod*>{
      new Linear, new TaskArithmetic, new Ties, new DareLinear, new DareTies,
  };
  return *methods;
}

const MergeMethod* FindMergeMethod(absl::string_view name) {
  for (const MergeMethod* method : AllMergeMethods()) {
    if (method->name() == name) return method;
  }
  return nullptr;
}

}  // namespace merganser
