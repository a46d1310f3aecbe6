#include "worker/merge/mergekit_needs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
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

absl::Status CheckComputesInType(const MergekitConfig& config, const std::string& result,
                                 const std::vector<std::string>& stored) {
  const std::string given = config.in_float64 ? "float64" : config.dtype;
  const auto differs = [&](const std::string& type) { return type != result; };
  if (given.empty() ? std::none_of(stored.begin(), stored.end(), differs) : given == result) return absl::OkStatus();
  const std::string where = given.empty() ? "the types that the models are stored in" : absl::StrCat("`dtype`, ", given);
  const absl::Status error = config.Error(
      config.types_line, absl::StrCat("mergekit computes in ", where, ", and stores ", result,
                                      "; arithmetic `mergekit` computes in the type of the result: write `dtype: ", result,
                                      "` without `out_dtype`, or merge in fp32"));
  return absl::UnimplementedError(error.message());
}

bool IsRequired(absl::string_view parameter) { return parameter == "weight" || parameter == "t"; }

}  // namespace merganser
