// The decoder in fp32 on CPU, with our own kernels: for models whose weights stay in or near the
// caches, where ATen's cost per operation would dominate. Results are bit for bit the same whatever
// runs beside them (see cpu_kernels.h).
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
// takes through all layers, so the threads meet once per step. With fewer tiles than threads, the
// threads share each operation instead.
class CpuRunner : public ModelRunner {
 public:
  // `slots` slots of `max_length` positions for paths of up to `max_hops` layers. Unimplemented: an
  // activation other than silu, or a rope scaling that MakeRopeTable refuses. ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CpuRunner>> Create(const ModelConfig& config, int slots,
                                                           int64_t max_length, int max_hops,
                                                           int threads, const CpuKernels& kernels);

  // Bytes of key-value cache for one slot.
  static int64_t SlotBytes(const ModelConfig& config, int64_t max_length, int max_hops);

  absl::Status LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) override;
  absl::Status Step(const StepBatch& batch, const StepResults& results) override;
  absl::Status CopyPositions(int from, int to, int begin, int end) override;

 private:
  // A Segment, or a part of one, within a tile.
  struct Piece {
    int slot;
    int past;
    int rows;
    int outputs;
    int token;   // index of its first token in the batch
    int result;  // index of its first result
  };
  struct Tile {
    std::vector<Piece> pieces;
    int rows = 0;
    bool follows = false;  // continues the sequence of the tile before it, and so must run after it
  };
  // The rows of one tile; owned per thread.
  struct Workspace {
    ZeroedMemory memory;
    float *x, *h, *qkv, *attention, *inner, *logits, *scores;
  };
  struct Running;  // a Step's arguments and what its tiles share

  CpuRunner(const ModelConfig& config, const CpuKernels& kernels, int threads);
  absl::Status Allocate(int slots, int64_t max_length, int max_hops);

  std::vector<Tile> MakeTiles(const StepBatch& batch) const;
  void RunTile(Running& run, const Tile& tile, Workspace& work, bool shared);
  void Embed(const StepBatch& batch, const Tile& tile, Workspace& work) const;
  void RotateAndStore(const Piece& piece, int hop, float* qkv);
  // Keeps only the rows whose results are wanted; returns how many.
  int KeepOutputs(const Tile& tile, Workspace& work) const;
  void Attend(const Tile& tile, int hop, bool outputs_only, Workspace& work, bool shared);
  void Predict(Running& run, const Tile& tile, int rows, Workspace& work, bool shared);
  // Runs body(begin, end, member) over the panels of a matrix, on all threads if `shared`.
  template <typename Body>
  void OverPanels(int panels, bool shared, const Body& body);

  float* Keys(int hop, int slot, int kv_head) const;
  float* Values(int hop, int slot, int kv_head) const;

  const ModelConfig config_;
  const CpuGeometry g_;
  const CpuKernels& kernels_;
  RopeTable rope_;
  int window_;  // positions that a query sees
  int tile_rows_;
  int slots_ = 0;
  int64_t positions_ = 0;  // max_length rounded up to kLane

  CpuWeights weights_;
  std::vector<LayerHop> path_;
  ZeroedMemory cache_;  // [hop][slot][kv head][keys, values]
  std::vector<Workspace> workspaces_;
  ThreadTeam team_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_CPU_RUNNER_H_
