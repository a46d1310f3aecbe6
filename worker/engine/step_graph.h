// A step of fixed work on fixed memory, recorded once and then run again at the cost of one launch.
//
// What may be recorded: work that reads and writes memory which stays where it is, that never looks at what a tensor holds
// and never waits for the device, and that gives the same when it runs twice. On CUDA a recorded step keeps addresses and
// host numbers as they were; the twin for the CPU keeps the tensors themselves, so that it reads what was there at the
// recording as well, and whatever a graph would miss, the twin misses too.
#ifndef MERGANSER_WORKER_ENGINE_STEP_GRAPH_H_
#define MERGANSER_WORKER_ENGINE_STEP_GRAPH_H_

#include <functional>
#include <memory>

namespace merganser {

// Thread-compatible.
class StepGraph {
 public:
  virtual ~StepGraph() = default;
  // Runs the step on the calling thread's current stream. Throws what torch throws.
  virtual void Replay() = 0;
};

// Thread-compatible; outlives its graphs.
class StepRecorder {
 public:
  virtual ~StepRecorder() = default;
  // Runs `step` at least once, and records it. Memory that it allocates is shared by all graphs of this recorder: a step
  // leaves its results in memory of the caller's, and graphs run one after the other. Throws what torch and the step throw;
  // the device can be used as before then.
  virtual std::unique_ptr<StepGraph> Record(const std::function<void()>& step) = 0;
};

// The twin for the CPU: a recorded step is the function itself.
class RepeatingRecorder : public StepRecorder {
 public:
  std::unique_ptr<StepGraph> Record(const std::function<void()>& step) override {
    step();
    return std::make_unique<Repeated>(step);
  }

 private:
  class Repeated : public StepGraph {
   public:
    explicit Repeated(std::function<void()> step) : step_(std::move(step)) {}
    void Replay() override { step_(); }

   private:
    const std::function<void()> step_;
  };
};

// The entry of libmerganser-cuda.so: a recorder of CUDA graphs for one device. Throws what torch throws.
extern "C" StepRecorder* merganser_cuda_step_recorder(int device);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_STEP_GRAPH_H_
