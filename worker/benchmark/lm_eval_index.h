// Which file below a folder is which task, group or tag of lm-evaluation-harness.
#ifndef MERGANSER_WORKER_BENCHMARK_LM_EVAL_INDEX_H_
#define MERGANSER_WORKER_BENCHMARK_LM_EVAL_INDEX_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace merganser {

// Immutable, thread-safe.
class LmEvalIndex {
 public:
  struct Entry {
    enum class Kind { kTask, kGroup, kTag };
    Kind kind = Kind::kTask;
    std::string file;             // "" of a tag
    std::set<std::string> tasks;  // of a tag, in their order
  };

  // Every .yaml file below `folder`; where two say the same name the first by path has it, as there. Only the names are read
  // (task, group, tag, class, their own or included), so that thousands of files take little time; a file that cannot be
  // read is left out. NotFound; InvalidArgument: more than 100,000 files.
  static absl::StatusOr<LmEvalIndex> Build(const std::string& folder);

  // The same, or what it gave in the last ten seconds: the groups of a job, and groups in groups, are read at one go. May be
  // called on any thread.
  static absl::StatusOr<std::shared_ptr<const LmEvalIndex>> Recent(const std::string& folder);

  // Where the names in a file of `folder` are looked for: the nearest folder above it, or itself, that is called "tasks", as
  // the harness's own is; else itself.
  static std::string RootOf(const std::string& folder);

  const std::string& folder() const { return folder_; }
  // nullptr if there is none.
  const Entry* Find(const std::string& name) const;
  // Of all of them, sorted.
  std::vector<std::string> Names() const;

 private:
  std::string folder_;
  std::map<std::string, Entry> entries_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_LM_EVAL_INDEX_H_
