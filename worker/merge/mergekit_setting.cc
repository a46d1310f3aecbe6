#include <algorithm>

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

std::optional<double> FirstValue(const std::string& name, const std::vector<const MergekitSettings*>& scopes,
                                 const std::string& tensor, double t) {
  for (const MergekitSettings* scope : scopes) {
    const auto it = scope->find(name);
    if (it == scope->end()) continue;
    if (const std::optional<double> value = it->second.At(tensor, t)) return value;
  }
  return std::nullopt;
}

std::vector<MergekitSetting::Entry> FilteredEntries(const MergekitConfig& config) {
  std::vector<MergekitSetting::Entry> filters;
  const auto add = [&](const MergekitSettings& settings) {
    for (const auto& [name, setting] : settings) {
      for (const MergekitSetting::Entry& entry : setting.entries) {
        const auto same = [&](const MergekitSetting::Entry& other) { return other.filter == entry.filter; };
        if (!entry.filter.empty() && std::none_of(filters.begin(), filters.end(), same)) filters.push_back(entry);
      }
    }
  };
  for (const MergekitSlice& slice : config.slices) {
    for (const MergekitSource& source : slice.sources) add(source.parameters);
    add(slice.parameters);
  }
  add(config.parameters);
  return filters;
}

}  // namespace merganser
