#include "worker/merge/mergekit_needs.h"

#include "common/domain/job_spec.h"

namespace merganser {

MethodNeeds NeedsOf(const MergekitConfig& config) {
  MethodNeeds needs;
  const MethodSignature* signature = FindMethod(config.method);
  if (signature != nullptr) {
    bool written = config.base_model.has_value();
    for (const MergekitSlice& slice : config.slices) written |= slice.base_model.has_value();
    const bool base = signature->needs_base || (signature->takes_base && written);
    needs = {false, base, signature->source_parameters, signature->parameters};
  }
  if (config.method != "passthrough") return needs;
  // A scale makes it a method; a copy needs no arithmetic.
  bool scaled = !config.parameters.empty();
  for (const MergekitSlice& slice : config.slices) {
    scaled |= !slice.parameters.empty();
    for (const MergekitSource& source : slice.sources) scaled |= !source.parameters.empty();
  }
  needs.copies = !scaled;
  return needs;
}

bool IsRequired(absl::string_view parameter) { return parameter == "weight" || parameter == "t"; }

}  // namespace merganser
