// One merge from directories to a directory, as a process of its own: what tests/bench/merge/run.py times beside mergekit.
//   merge_once METHOD OUT_DIR BASE_DIR SOURCE_DIR... [-- NAME=VALUE...]
// BASE_DIR is "-" for methods without a base. weight and density are given to every source, other parameters to the method.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/domain/merge_method_spec.h"
#include "worker/checkpoint/architecture_tensors.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/checkpoint_writer.h"
#include "worker/merge/materializer.h"

namespace merganser {
namespace {

struct Request {
  std::string method, out_dir, base_dir;
  std::vector<std::string> source_dirs;
  std::map<std::string, double> parameters;
};

class Stopwatch {
 public:
  void Lap(const char* what) {
    const auto now = std::chrono::steady_clock::now();
    std::printf("%s %.3f s\n", what, std::chrono::duration<double>(now - last_).count());
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

absl::Status MergeOnce(const Request& request) {
  Stopwatch watch;
  const MethodSpec* spec = FindMethodSpec(request.method);
  if (spec == nullptr) return absl::InvalidArgumentError("unknown method");
  std::map<std::string, std::shared_ptr<const Checkpoint>> checkpoints;
  Recipe recipe;
  Stack stack{"merged", request.method, request.base_dir == "-" ? "" : "base", {}, {{{"all"}, {}, {}}}};
  if (!stack.base.empty()) {
    MG_ASSIGN_OR_RETURN(checkpoints["base"], Checkpoint::Open(request.base_dir));
  }
  std::map<std::string, double> own;
  for (const auto& [name, value] : request.parameters) {
    const MethodParameter* parameter = spec->Find(name);
    if (parameter == nullptr) return absl::InvalidArgumentError("unknown parameter " + name);
    (parameter->scope == MethodParameter::Scope::kSource ? own : stack.settings[0].parameters)[name] = value;
  }
  for (size_t s = 0; s < request.source_dirs.size(); ++s) {
    const std::string name(1, static_cast<char>('a' + s));
    MG_ASSIGN_OR_RETURN(checkpoints[name], Checkpoint::Open(request.source_dirs[s]));
    stack.sources.push_back(name);
    stack.settings[0].source_parameters.push_back(own);
  }
  recipe.stacks = {stack};
  const Checkpoint& donor = *checkpoints.begin()->second;
  std::vector<ArenaTensor> tensors;
  for (const ExpectedTensor& tensor : ArchitectureTensors(donor.config())) tensors.push_back({tensor.name, tensor.shape});
  MG_ASSIGN_OR_RETURN(const ArenaLayout layout, ArenaLayout::Create(std::move(tensors)));
  MG_ASSIGN_OR_RETURN(const auto sources, MergeSources::Create(checkpoints, layout));
  MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(recipe, recipe.stacks[0], sources));
  watch.Lap("open");
  MaterializerOptions options;
  options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  options.order_bytes_max = 0;  // one candidate: an order would cost more than it saves
  MG_ASSIGN_OR_RETURN(const auto materializer, Materializer::Create(sources, options));
  watch.Lap("check");
  MG_ASSIGN_OR_RETURN(const auto arena, Arena::Create(layout));
  materializer->Prepare(plan);
  watch.Lap("prepare");
  MG_RETURN_IF_ERROR(materializer->Run(plan, *arena));
  watch.Lap("merge");
  std::vector<TensorHeader> headers;
  for (const ArenaTensor& tensor : layout.tensors()) headers.push_back({tensor.name, tensor.dtype, tensor.shape});
  CheckpointWriterOptions writer;
  writer.out_dir = request.out_dir;
  writer.donor_dir = donor.dir();
  writer.dtype = DType::kBF16;
  writer.overwrite = true;
  const absl::Status written = CheckpointWriter(std::move(writer)).Write(
      headers, [&](const TensorHeader& tensor, const CheckpointWriter::Append& append) {
        return append({arena->Find(tensor.name).data, static_cast<size_t>(tensor.NumBytes())});
      });
  watch.Lap("write");
  return written;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 4) {
    std::fprintf(stderr, "merge_once METHOD OUT_DIR BASE_DIR SOURCE_DIR... [-- NAME=VALUE...]\n");
    return 2;
  }
  merganser::Request request{words[0], words[1], words[2], {}, {}};
  size_t i = 3;
  for (; i < words.size() && words[i] != "--"; ++i) request.source_dirs.push_back(words[i]);
  for (++i; i < words.size(); ++i) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    if (!absl::SimpleAtod(parts.second, &request.parameters[parts.first])) return 2;
  }
  const absl::Status status = merganser::MergeOnce(request);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("peak %.2f GB resident, mapped files included\n", static_cast<double>(usage.ru_maxrss) * 1024 / 1e9);
}
