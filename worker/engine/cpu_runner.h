// The decoder in fp32 on CPU, with our own kernels. Weights that came as bf16 stay bf16 in memory and
// are widened where they are used, which changes no bit of a result. Results are bit for bit the
// same whatever runs beside them (see cpu_kernels.h).
#ifndef MERGANSER_WORKER_ENGINE_CPU_RUNNER_H_
#define MERGANSER_WORKER_ENGINE_CPU_RUNNER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/cpu_weights.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/rope_table.h"

namespace merganser {

// Work is cut into tiles: some rows (whole sequences, or a piece of a long one) that one thread
// takes through all layers, so the threads meet once per step. With fewer tiles than threads, and
// where a model's weights do not stay in the caches and few rows share the reading of them, the
// threads share each operation instead.
class CpuRunner : public ModelRunner {
 public:
  // `slots` slots of `max_length` positions for paths of up to `max_hops` layers. `bf16_products`: matrices are
  // WeightType::kBf16Pairs. Unimplemented: an activation that the kernels lack. ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CpuRunner>> Create(const ModelConfig& config, int slots, int64_t max_length,
                                                           int max_hops, int threads, const CpuKernels& kernels,
                                                           bool bf16_products = false);

  // Bytes of key-value cache for one slot.
  static int64_t SlotBytes(const ModelConfig& config, int64_t max_length, int max_hops);

  absl::Status LoadWeights(const ModelWeights& weights) override;
  absl::Status Step(const StepBatch& batch, const StepResults& results) override;
  absl::Status CopyPositions(int from, int to, int begin, int end) override;
  absl::Status RunMatrices(int rows, int head_rows) override;
  int64_t branch_rows() const override { return positions_; }

 private:
  // Of the output matrix at a time: 1024 logits a row, which stay in the cache.
  static constexpr int kVocabPanels = 32;

  // A Segment, or a part of one, within a tile.
  struct Piece {
    int slot;
    int past;
    int rows;
    int outputs;
    int context;
    int token;                               // index of its first token in the batch
    int result;                              // index of its first result
    int row;                                 // of the slot, where its first token lies
    const std::vector<PositionSpan>* spans;  // null: positions are rows
  };
  struct Tile {
    std::vector<Piece> pieces;
    int rows = 0;
    bool follows = false;  // goes on in the slot of the tile before it, and so must run after it
  };
  // The rows of one tile; owned per thread.
  struct Workspace {
    ZeroedMemory memory;
    float *x, *h, *qkv, *attention, *inner, *logits, *linear, *rope, *scores;
  };
  // One hop of the path.
  struct HopWeights {
    const CpuWeights::Layer* layer;
    float scale;
    int window;  // positions that a query sees
    const RopeTable* rope;
  };
  struct Running;  // a Step's arguments and what its tiles share

  CpuRunner(const ModelConfig& config, Activation activation, const CpuKernels& kernels, int threads, bool bf16_products);
  absl::Status Allocate(int slots, int64_t max_length, int max_hops);

  std::vector<Tile> MakeTiles(const StepBatch& batch) const;
  // Calls run(tile, workspace, shared) for all tiles: on a thread each, or, if they are too few, one
  // after the other with `shared`.
  template <typename Run>
  void ForTiles(const std::vector<Tile>& tiles, const Run& run);
  // c = a W^T and the like for all panels, by `kernel`.
  template <typename Kernel>
  void Multiply(const PackedLinear& w, const float* a, int64_t lda, int rows, float* c, int64_t ldc, Workspace& work,
                bool shared, const Kernel& kernel);
  void RunTile(Running& run, const Tile& tile, Workspace& work, bool shared);
  void Embed(const StepBatch& batch, const Tile& tile, Workspace& work) const;
  void RotateAndStore(const Piece& piece, int hop, int begin, int end, float* qkv, float* scratch);
  // Keeps only the rows whose results are wanted; returns how many.
  int KeepOutputs(const Tile& tile, Workspace& work) const;
  void Attend(const Tile& tile, int hop, bool outputs_only, Workspace& work, bool shared);
  void Predict(Running& run, const Tile& tile, int rows, Workspace& work, bool shared);
  // Runs body(begin, end, workspace) over pieces of [0, count): all at once on `work`, or, if
  // `shared`, on all threads in pieces of at least `grain`.
  template <typename Body>
  void Over(int count, int grain, bool shared, Workspace& work, const Body& body);

  float* Keys(int hop, int slot, int kv_head) const;
  float* Values(int hop, int slot, int kv_head) const;

  const ModelConfig config_;
  const CpuGeometry g_;
  const Activation activation_;
  const CpuKernels& kernels_;
  const bool bf16_products_;
  RopeTable rope_, sliding_rope_;
  int tile_rows_;
  int slots_ = 0;
  int64_t positions_ = 0;  // max_length rounded up to kLane

  std::vector<std::unique_ptr<CpuWeights>> stacks_;
  std::vector<HopWeights> path_;
  const CpuWeights* embedding_ = nullptr;
  const CpuWeights* head_ = nullptr;
  bool large_ = false;  // the path's weights are larger than the caches
  ZeroedMemory cache_;  // [hop][slot][kv head][keys, values]
  std::vector<Workspace> workspaces_;
  ThreadTeam team_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_CPU_RUNNER_H_
