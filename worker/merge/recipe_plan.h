// A whole recipe, resolved tensor by tensor against the headers of its models, and how to compute it a
// batch of tensors at a time.
#ifndef MERGANSER_WORKER_MERGE_RECIPE_PLAN_H_
#define MERGANSER_WORKER_MERGE_RECIPE_PLAN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/dtype.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_memory.h"
#include "worker/merge/run_sink.h"
#include "worker/merge/tensor_source.h"

namespace merganser {

using SourceMap = std::map<std::string, std::shared_ptr<const TensorSource>>;  // by model name

// What becomes of a finished tensor: value * scale + shift, in fp32 before it is rounded.
struct Rescale {
  float scale = 1;
  float shift = 0;
  bool operator==(const Rescale&) const = default;
};

struct PlannedTensor {
  TensorHeader header;       // as it is written
  int stack = 0;             // index in Recipe::stacks
  std::string stack_tensor;  // its name there: the layer's number may differ
  Rescale rescale;
  std::string copied_from;  // the one source that has it, where the others are parts of a model (ModelRef::rename)
  int64_t read_bytes = 0;   // of all models
};

struct RecipePlanOptions {
  int threads = 1;
  // Tensors of one stack are computed together up to this many bytes of results (a larger tensor by
  // itself): enough to keep all threads busy, little enough to bound the memory.
  int64_t batch_bytes = int64_t{64} << 20;
  // A path's layers as they are, each stack's layer once, whatever the hops: for exports that store
  // layers and path apart. Scales are then not applied.
  bool distinct_layers = false;
  // Only what is no part of a language model: the vision tower and the projector.
  bool vision_only = false;
};

// Immutable; any thread.
class RecipePlan {
 public:
  // Resolves everything: models, methods, groups and their parameters, shapes, the path, nested
  // stacks. Reads no byte of weights. `models` has an entry for each of recipe.models, adapted already
  // to one vocabulary and one kind of head; `mlp_output` are the tensors of a layer that a hop's scale
  // is folded into (Architecture::mlp_output), `norm_plus_one` says that those are norms which apply
  // 1 + w.
  //
  // What lies outside of the parts of a model (ModelRef::rename) is merged of a stack's other sources alone, by their
  // settings, or copied where there is one.
  //
  // InvalidArgument, naming what and where: the errors of MergePlan::Build, an unknown stack, a source
  // that is neither a model nor an earlier stack, a tensor that one of a stack's models lacks or has in
  // another shape, or that lies outside of its base although several others have it, a hop to a layer that its stack does
  // not have, a group's filter of no tensor, a scale that cannot be folded, integers that are to be merged by a method with
  // `scale`. Unimplemented: a scale on a head that is tied (untie it).
  static absl::StatusOr<std::unique_ptr<const RecipePlan>> Build(const Recipe& recipe, const SourceMap& models,
                                                                 const RecipePlanOptions& options,
                                                                 const std::vector<std::string>& mlp_output = {},
                                                                 bool norm_plus_one = false);

  // In the order in which they are written: embedding, layers, norm, head, the rest by name.
  const std::vector<PlannedTensor>& tensors() const { return tensors_; }
  const Recipe& recipe() const { return recipe_; }
  // RecipePlanOptions::threads.
  int threads() const { return options_.threads; }
  // RecipePlanOptions::batch_bytes.
  int64_t batch_bytes() const { return options_.batch_bytes; }
  // Layers of the result.
  int layers() const { return layers_; }
  // Of `path` as resolved (the default one written out): stack and layer of each hop, and the number of
  // that layer in the result.
  struct PlacedHop {
    int stack;
    int layer;
    int out;
    double scale;
  };
  const std::vector<PlacedHop>& hops() const { return hops_; }

  // "ties of ja, en onto base", "copy of ja".
  std::string Describe(const PlannedTensor& tensor) const;

  // Consecutive tensors that are computed together.
  struct Batch {
    int first;
    int end;
  };
  const std::vector<Batch>& batches() const { return batches_; }
  // Bytes of memory (page cache apart) that a merge by a MergeStream holds at most: what is under way to the consumer, what
  // each thread works in, and what the greediest batch needs beside that.
  int64_t MemoryBytes() const;
  // How long Compute takes for all batches together, from a sample of made-up numbers for each stack's
  // method (milliseconds). Files in the page cache are assumed.
  absl::StatusOr<double> EstimateSeconds() const;

  // The finished tensors of one batch. `bytes[i]` belongs to tensor first + i, and lives as long as owners[i].
  struct Result {
    std::vector<absl::Span<const std::byte>> bytes;
    std::vector<std::shared_ptr<const void>> owners;
  };
  // InvalidArgument: a value that is not finite, or integers that differ between models (names the
  // tensor). Cancelled: `stop` was requested. `memory` is for one call at a time.
  absl::StatusOr<Result> Compute(const Batch& batch, MergeMemory& memory, std::stop_token stop) const;

  // How many runs (kRunElements of one tensor) Stream gives of the batch; nullopt where only Compute will do: copies,
  // integers, rescaled or repeated tensors, mergekit's own arithmetic.
  std::optional<int64_t> RunsOf(const Batch& batch) const;
  // Compute, to `sink` run by run, so that results need not be in memory together. The same bytes; errors as Compute's, and
  // Cancelled if the sink wants no more. REQUIRES: RunsOf(batch).
  absl::Status Stream(const Batch& batch, MergeMemory& memory, RunSink& sink, std::stop_token stop) const;

 private:
  // One stack's sources under the names that the stack uses for them.
  struct StackSources {
    std::vector<std::string> names;  // sources, then the base if there is one
    SourceMap by_name;
    TensorRoles roles;
    int layers = 0;
  };

  RecipePlan() = default;

  MaterializerOptions OneShot(ThreadPool* pool) const;
  // Where the embedding's stack is of parts of a model only (ModelRef::rename): the model that the others are part of, as a
  // stack.
  void AddWholeModel();
  absl::Status ResolveStacks(const SourceMap& models);
  absl::Status PlacePath();
  absl::Status PlanTensors(const std::vector<std::string>& mlp_output, bool norm_plus_one);
  absl::Status AddTensor(int stack, const std::string& stack_tensor, const std::string& name, Rescale rescale);
  // `stack` without those of its sources that are not among `holders`, several, of a tensor outside of the others. Made
  // once.
  absl::StatusOr<int> StackOfWholes(int stack, const std::string& tensor, const std::vector<std::string>& holders);
  absl::Status CheckStacks() const;
  // True if the stack draws masks from mergekit's stream.
  bool DrawsLikeMergekit(int stack) const;
  absl::Status PlaceDraws();
  // Of MemoryBytes, the part of one batch.
  int64_t MemoryOf(const Batch& batch) const;
  // Streams that stand where PlaceDraws says, one for each tensor that draws. Cancelled: `stop` was requested.
  absl::Status FillStreams(MergeMemory& memory, const std::stop_token& stop) const;
  void MakeBatches();
  std::vector<std::string> TensorNames(int stack) const;
  absl::StatusOr<int> StackNamed(const std::string& name, const std::string& field) const;
  // True if everything that the stack is made of is a part of a model.
  bool OfParts(int stack) const;
  // True if the source is a part of a model that this tensor lies outside of.
  bool LiesOutside(const std::string& source, const std::string& tensor) const;
  // The name that source `source` of the stack has for the stack's tensor.
  std::string SourceTensor(int stack, const std::string& source, const std::string& tensor) const;
  // A merge of tensors of floating-point type of one stack, results of type `dtype`; uses memory.pool while it lives.
  struct TensorMerge {
    std::vector<LoadedTensor> loaded;
    std::unique_ptr<Materializer> materializer;
    std::optional<MergePlan> plan;
  };
  absl::StatusOr<TensorMerge> PrepareTensors(int stack, const std::vector<std::string>& tensors, DType dtype,
                                             MergeMemory& memory) const;
  // The same, merged into memory. `places`: in tensors(), where the stack draws like mergekit.
  absl::StatusOr<Result> MergeTensors(int stack, const std::vector<std::string>& tensors, const std::vector<int>& places,
                                      DType dtype, MergeMemory& memory, std::stop_token stop) const;
  absl::StatusOr<LoadedTensor> LoadInteger(int stack, const std::string& tensor) const;
  // What `stack` gives as a source of a later stack: its tensors in fp32, merged when they are loaded.
  std::shared_ptr<const TensorSource> NestedSource(int stack) const;

  Recipe recipe_;
  RecipePlanOptions options_;
  std::vector<StackSources> stacks_;
  int whole_model_ = -1;  // a stack; -1: the embedding's own
  std::vector<PlacedHop> hops_;
  int layers_ = 0;
  std::vector<PlannedTensor> tensors_;
  // mergekit's one random stream through all tensors of the result: how many numbers each draws, in its order, and which of
  // these is tensors_[t]; -1: none. A tensor that stands in several places draws once.
  std::vector<int64_t> draws_;
  std::vector<int> draw_of_;
  std::vector<Batch> batches_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RECIPE_PLAN_H_
