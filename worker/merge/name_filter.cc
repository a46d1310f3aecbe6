#include "worker/merge/name_filter.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr char kHead[] = "lm_head.weight";

bool IsNumber(const std::string& part) { return std::all_of(part.begin(), part.end(), absl::ascii_isdigit); }

}  // namespace

absl::Status CheckFilter(absl::string_view filter, absl::Span<const std::string> tensor_names) {
  const auto selected = [&](const std::string& name) { return absl::StrContains(name, filter); };
  if (selected(kHead) || std::any_of(tensor_names.begin(), tensor_names.end(), selected)) return absl::OkStatus();
  std::set<std::string> parts, pairs;  // "q_proj", "self_attn.q_proj"
  for (const std::string& name : tensor_names) {
    std::string before;
    for (const std::string& part : std::vector<std::string>(absl::StrSplit(name, '.'))) {
      const bool number = IsNumber(part);
      if (!number) parts.insert(part);
      if (!number && !before.empty()) pairs.insert(absl::StrCat(before, ".", part));
      before = number ? "" : part;
    }
  }
  std::vector<std::string> known(parts.begin(), parts.end());
  const bool dotted = absl::StrContains(filter, ".");
  if (dotted) known.assign(pairs.begin(), pairs.end());
  return absl::InvalidArgumentError(
      absl::StrCat("filter '", filter, "' is part of no tensor's name", DidYouMean(filter, known)));
}

absl::Status CheckFilters(const JobSpec& spec, absl::Span<const std::string> tensor_names) {
  for (int stage = 0; stage < NumStages(spec); ++stage) {
    const std::vector<std::string> filters = StageOf(spec, stage).parameter.granularity.filters;
    for (size_t i = 0; i < filters.size(); ++i) {
      const absl::Status found = CheckFilter(filters[i], tensor_names);
      if (found.ok()) continue;
      return Annotate(found, absl::StrCat(StageField(stage), "space.parameter.granularity.filters[", i, "]"));
    }
  }
  return absl::OkStatus();
}

absl::string_view InLayer(absl::string_view tensor_name, int layer) {
  const std::string number = absl::StrCat(".", layer, ".");
  const size_t at = tensor_name.find(number);
  return at == absl::string_view::npos ? tensor_name : tensor_name.substr(at + number.size());
}

}  // namespace merganser
