#include "worker/merge/merge_method.h"

#include "common/base/log.h"
#include "worker/merge/methods/all_methods.h"

namespace merganser {
namespace {

const MethodSpec& SpecOf(absl::string_view name) {
  const MethodSpec* spec = FindMethodSpec(name);
  MG_CHECK(spec != nullptr);
  return *spec;
}

}  // namespace

MergeMethod::MergeMethod(absl::string_view name) : spec_(SpecOf(name)) {}

absl::Status MergeMethod::Combine(const MergeSettings&, const Products&, bool, absl::Span<double>) const {
  return absl::InternalError("only methods over products combine");
}

const std::vector<const MergeMethod*>& AllMergeMethods() {
  static const auto* const methods = new std::vector<const MergeMethod*>{
      NewLinear(),      NewTaskArithmetic(), NewTies(),        NewDareLinear(),      NewDareTies(),
      NewDellaLinear(), NewDella(),          NewBreadcrumbs(), NewBreadcrumbsTies(), NewSce(),
      NewSlerp(),       NewNuslerp(),        NewMultislerp(),  NewKarcher(),         NewModelStock(),
      NewNearswap(),    NewArceeFusion(),    NewRam(),         NewRamplusTl(),       NewPassthrough(),
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
