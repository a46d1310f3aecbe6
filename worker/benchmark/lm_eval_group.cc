#include "worker/benchmark/lm_eval_group.h"

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/lm_eval_index.h"
#include "worker/benchmark/lm_eval_task.h"

namespace merganser {
namespace {

constexpr int kDepthMax = 16;  // groups in groups

const std::set<std::string>& GroupKeys() {
  static const auto* const keys =
      new std::set<std::string>{"group", "group_alias", "task", "aggregate_metric_list", "metadata"};
  return *keys;
}

// Lower layers first.
using Layers = std::vector<YamlEntry>;

Layers Over(Layers low, const Layers& high) {
  low.insert(low.end(), high.begin(), high.end());
  return low;
}

AverageMetric ReadAverageMetric(YamlMap& map) {
  AverageMetric metric;
  metric.metric = map.Text("metric").value_or("");
  if (metric.metric.empty()) map.Fail("metric", "is missing");
  metric.filters = map.Texts("filter_list");
  metric.by_size = map.Bool("weight_by_size").value_or(true);
  if (const std::string aggregation = map.Text("aggregation").value_or("mean"); aggregation != "mean") {
    map.Fail("aggregation", absl::StrCat("'", aggregation, "' is not mean, the only one of groups"));
  }
  return metric;
}

// The tasks of a group, leaf by leaf.
class GroupReader {
 public:
  explicit GroupReader(const LmEvalIndex& index) : index_(index) {}

  // Errors are `map`'s.
  void Read(YamlMap& map, const Layers& caller, int depth) {
    if (depth > kDepthMax) return map.Fail("task", absl::StrCat("groups in groups deeper than ", kDepthMax));
    const Layers over = Over(map.Entries(GroupKeys()), caller);
    for (YamlMap& member : map.Maps("task", "task")) {
      member.Has("group") ? ReadSubgroup(member, over, depth) : ReadMember(member, over, depth);
      map.Merge(member.Done());
      if (!map.status().ok()) return;
    }
  }

  std::vector<BenchmarkSettings> Take() { return std::move(members_); }

 private:
  void ReadSubgroup(YamlMap& member, const Layers& over, int depth) {
    const std::string name = member.Text("group").value_or("");
    for (const char* key : {"group_alias", "metadata", "aggregate_metric_list"}) member.Ignore(key);  // of its own number
    const LmEvalIndex::Entry* entry = index_.Find(name);
    if (entry == nullptr) return Read(member, over, depth + 1);
    if (entry->kind != LmEvalIndex::Entry::Kind::kGroup || member.Has("task")) {
      return member.Fail("group", absl::StrCat("'", name, "' is also the name of ", entry->file));
    }
    ReadGroupFile(member, "group", entry->file, Over(over, member.Entries(GroupKeys())), depth);
  }

  void ReadMember(YamlMap& member, const Layers& over, int depth) {
    const std::string name = member.Text("task").value_or("");
    if (!member.Has("task")) return member.Fail("task", "is missing: a member is a name, or a map with task or group");
    member.Ignore("task_alias");
    const Layers own = member.Entries({"task", "task_alias"});
    const LmEvalIndex::Entry* entry = index_.Find(name);
    if (entry == nullptr) {
      return member.Fail("task",
                         absl::StrCat("'", name, "' is no task, group or tag of the .yaml files in ", index_.folder()));
    }
    if (entry->kind == LmEvalIndex::Entry::Kind::kTask) return ReadTask(member, name, entry->file, Over(over, own));
    if (!own.empty()) {
      // There all of them get this one's name.
      return member.Fail("task", absl::StrCat("'", name, "' is a group or a tag, which has no settings of its own here"));
    }
    if (entry->kind == LmEvalIndex::Entry::Kind::kGroup) return ReadGroupFile(member, "task", entry->file, over, depth);
    for (const std::string& task : entry->tasks) {
      const LmEvalIndex::Entry* of_tag = index_.Find(task);
      ReadTask(member, task, of_tag->file, over);
    }
  }

  void ReadGroupFile(YamlMap& member, const std::string& key, const std::string& file, const Layers& over, int depth) {
    if (!open_.insert(file).second) return member.Fail(key, absl::StrCat("leads back to ", file));
    absl::StatusOr<YamlMap> map = YamlMap::ReadFile(file);
    if (map.ok()) {
      if (!map->IsList("task")) map->Fail("task", "must be a list");
      Read(*map, over, depth + 1);
      for (const std::string& known : GroupKeys()) map->Ignore(known);
      member.Merge(map->Done());
    }
    member.Merge(map.status());
    open_.erase(file);
  }

  void ReadTask(YamlMap& member, const std::string& name, const std::string& file, const Layers& over) {
    if (!names_.insert(name).second) return member.Fail("task", absl::StrCat("'", name, "' is in the group twice"));
    absl::StatusOr<YamlMap> map = YamlMap::ReadFile(file, over);
    if (!map.ok()) return member.Merge(map.status());
    absl::StatusOr<BenchmarkSettings> settings = ReadLmEvalTask(*map);
    if (!settings.ok()) return member.Merge(settings.status());
    settings->name = name;
    members_.push_back(*std::move(settings));
  }

  const LmEvalIndex& index_;
  std::vector<BenchmarkSettings> members_;
  std::set<std::string> names_, open_;
};

}  // namespace

bool IsLmEvalGroup(const YamlMap& map) { return map.Has("group") && map.IsList("task"); }

absl::StatusOr<BenchmarkSettings> ReadLmEvalGroup(YamlMap& map) {
  BenchmarkSettings settings;
  if (map.IsMap("aggregate_metric_list")) {
    if (auto only = map.Map("aggregate_metric_list")) {
      settings.average_metrics = std::vector<AverageMetric>{ReadAverageMetric(*only)};
      map.Merge(only->Done());
    }
  } else {
    for (YamlMap& entry : map.Maps("aggregate_metric_list")) {
      if (!settings.average_metrics) settings.average_metrics.emplace();
      settings.average_metrics->push_back(ReadAverageMetric(entry));
      map.Merge(entry.Done());
    }
  }
  for (const char* key : {"group", "group_alias", "metadata", "tag"}) map.Ignore(key);
  const std::filesystem::path folder = std::filesystem::path(PathIn(map.file(), "x")).parent_path();
  const auto index = LmEvalIndex::Recent(LmEvalIndex::RootOf(folder.string()));
  if (!index.ok()) map.Fail("task", index.status().message());
  MG_RETURN_IF_ERROR(map.status());
  GroupReader reader(**index);
  reader.Read(map, {}, 0);
  MG_RETURN_IF_ERROR(map.Done());
  settings.members = reader.Take();
  if (settings.members.empty()) map.Fail("task", "names no task");
  settings.average_of.emplace();
  for (const BenchmarkSettings& member : settings.members) settings.average_of->push_back(member.name);
  MG_RETURN_IF_ERROR(map.status());
  return settings;
}

}  // namespace merganser
