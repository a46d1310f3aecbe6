#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/merge/mergekit_config.h"

namespace merganser {

std::optional<double> MergekitSetting::At(absl::string_view tensor_name, double t) const {
  for (const Entry& entry : entries) {
    if (!entry.filter.empty() && !absl::StrContains(tensor_name, entry.filter)) continue;
    const std::vector<double>& v = entry.values;
    const double s = t * static_cast<double>(v.size() - 1);
    const size_t low = static_cast<size_t>(s);
    if (entry.steps) return v[low];
    const size_t high = std::min(v.size() - 1, low + 1);
    const double part = s - static_cast<double>(low);
    return (1 - part) * v[low] + part * v[high];
  }
  return std::nullopt;
}

absl::Status MergekitConfig::Error(int line, absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(file, ":", line, ": ", what));
}

}  // namespace merganser
