#include "client/job_input.h"

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"
#include "worker/benchmark/lm_eval_index.h"
#include "worker/benchmark/yaml_map.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

// Tasks by name. Folders are read when the first is asked for.
class TaskSearch {
 public:
  explicit TaskSearch(const JobInput& input) {
    std::error_code error;
    if (input.task_search_path.empty()) folders_ = {fs::absolute(input.file, error).parent_path().string()};
    for (const std::string& folder : input.task_search_path) {
      folders_.push_back(fs::absolute(folder, error).lexically_normal().string());
    }
    is_default_ = input.task_search_path.empty();
  }

  absl::StatusOr<EvolveTask> Find(const std::string& name) {
    while (indexes_.size() < folders_.size()) {
      MG_ASSIGN_OR_RETURN(LmEvalIndex index, LmEvalIndex::Build(folders_[indexes_.size()]));
      indexes_.push_back(std::move(index));
    }
    for (const LmEvalIndex& index : indexes_) {
      const LmEvalIndex::Entry* entry = index.Find(name);
      if (entry == nullptr) continue;
      if (entry->kind == LmEvalIndex::Entry::Kind::kTag) {
        return absl::InvalidArgumentError(absl::StrCat(
            "'", name, "' is a tag, which has no score of its own; name its tasks: ", absl::StrJoin(entry->tasks, ", ")));
      }
      MG_ASSIGN_OR_RETURN(YamlMap map, YamlMap::ReadFile(entry->file));
      EvolveTask task{.file = entry->file, .num_fewshot = map.Integer("num_fewshot")};
      const std::string dataset = map.Text("dataset_path").value_or("");
      if (dataset != "json" && dataset != "csv") task.hub_dataset = dataset;
      return task;
    }
    return absl::NotFoundError(Missing(name));
  }

 private:
  std::string Missing(const std::string& name) const {
    std::vector<std::string> known;
    for (const LmEvalIndex& index : indexes_) {
      for (std::string& other : index.Names()) known.push_back(std::move(other));
    }
    const std::string near = ClosestName(name, known);
    return absl::StrCat(
        "no .yaml file below ", absl::StrJoin(folders_, " or "), " says `task: ", name, "`",
        near.empty() ? "" : absl::StrCat("; did you mean '", near, "'?"),
        is_default_ ? "; name the folder of the tasks (that of lm_eval's own, too) by --task-search-path" : "");
  }

  std::vector<std::string> folders_;
  bool is_default_ = false;
  std::vector<LmEvalIndex> indexes_;
};

}  // namespace

void AddJobInput(CLI::App* verb, JobInput* input, const std::string& more) {
  verb->add_option("JOB.yaml", input->file, "The job, or a configuration of mergekit-evolve" + more)->required();
  verb->add_option("--task-search-path", input->task_search_path,
                   "Of mergekit-evolve's: a folder of lm_eval task files, may be repeated; default: the file's own")
      ->type_name("DIR")
      ->allow_extra_args(false);
  verb->add_option("--max-fevals", input->max_fevals, "Of mergekit-evolve's: candidates of the search; default: 100")
      ->check(PositiveNumber());
}

absl::StatusOr<JobFile> ReadJobInput(const JobInput& input, PathsAre paths) {
  for (const std::string& folder : input.task_search_path) {
    std::error_code error;
    if (fs::is_directory(folder, error)) continue;
    return absl::NotFoundError(absl::StrCat("--task-search-path: no folder '", folder, "'"));
  }
  TaskSearch search(input);
  EvolveOptions evolve;
  evolve.find_task = [&search](const std::string& name) { return search.Find(name); };
  if (input.max_fevals) evolve.max_fevals = *input.max_fevals;
  MG_ASSIGN_OR_RETURN(JobFile file, ReadJobFile(input.file, paths, evolve));
  if (!file.evolve && input.max_fevals) {
    return absl::InvalidArgumentError(absl::StrCat("--max-fevals: ", input.file, " is a job, which has a `budget`"));
  }
  if (!file.evolve && !input.task_search_path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--task-search-path: ", input.file,
                                                   " is a job, whose `benchmarks` name their files (`use: tasks/x.yaml`)"));
  }
  for (const std::string& note : file.notes) std::fputs(absl::StrCat("note: ", note, "\n").c_str(), stderr);
  return file;
}

}  // namespace merganser
