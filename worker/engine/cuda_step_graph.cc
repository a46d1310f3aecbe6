// libmerganser-cuda.so: CUDA graphs. A library of its own because it is linked with libtorch_cuda, which is loaded only
// where a CUDA device is asked for.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <utility>

#include "worker/engine/step_graph.h"

namespace merganser {
namespace {

// The memory of all graphs of a recorder. An id must not be used again once its last graph is gone.
struct Pool {
  at::MempoolId_t id{0, 0};
  int graphs = 0;
};

class CudaStepGraph : public StepGraph {
 public:
  explicit CudaStepGraph(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {
    if (pool_->graphs++ == 0) pool_->id = at::cuda::graph_pool_handle();
  }
  ~CudaStepGraph() override { --pool_->graphs; }  // and graph_ is gone before the next one is made

  void Capture(const std::function<void()>& step) {
    bool ending = false;
    try {
      // Only this thread is held to what a capture allows: others may allocate meanwhile.
      graph_.capture_begin(pool_->id, cudaStreamCaptureModeThreadLocal);
      step();
      ending = true;
      graph_.capture_end();
    } catch (...) {
      // What was thrown first says why, so that nothing else is thrown. What has not begun, or has ended, cannot end.
      if (!ending) Try([&] { graph_.capture_end(); });
      // Where CUDA gave the capture up, the allocators would go on asking a graph that is gone whose memory they are to
      // give.
      Try([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(c10::cuda::current_device(), pool_->id); });
      Try([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(pool_->id); });
      throw;
    }
  }

  void Replay() override { graph_.replay(); }

 private:
  template <typename Action>
  static void Try(const Action& action) {
    try {
      action();
    } catch (...) {
    }
  }

  const std::shared_ptr<Pool> pool_;
  at::cuda::CUDAGraph graph_;
};

class CudaStepRecorder : public StepRecorder {
 public:
  explicit CudaStepRecorder(c10::DeviceIndex device)
      : device_(device), stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)) {}

  std::unique_ptr<StepGraph> Record(const std::function<void()>& step) override {
    const c10::cuda::CUDAGuard device(device_);
    c10::cuda::device_synchronize();
    const c10::cuda::CUDAStreamGuard stream(stream_);
    // cuBLAS takes its workspace and everybody loads kernels now, which a capture does not allow or would make a part of it.
    step();
    stream_.synchronize();
    auto graph = std::make_unique<CudaStepGraph>(pool_);
    graph->Capture(step);
    return graph;
  }

 private:
  const c10::DeviceIndex device_;
  const c10::cuda::CUDAStream stream_;
  const std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();
};

}  // namespace

extern "C" __attribute__((visibility("default"))) StepRecorder* merganser_cuda_step_recorder(int device) {
  return new CudaStepRecorder(static_cast<c10::DeviceIndex>(device));
}

}  // namespace merganser
