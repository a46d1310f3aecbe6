// One call of Decoder::Generate or Decoder::Serve: which sequence does what in which step.
#ifndef MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
#define MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/beam_search.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/sampler.h"
#include "worker/engine/serving_engine.h"
#include "worker/engine/slot_memory.h"

namespace merganser {

// Used once, from one thread.
class GenerationRun {
 public:
  // `runner` has options.max_sequences slots and one more, for the shared prefix. All arguments outlive the run.
  GenerationRun(ModelRunner& runner, const EngineOptions& options, int64_t vocab_size, int64_t hidden_size,
                GenerationTimings& timings);

  // The requests are checked already. Errors of Generator::Generate. `reuse`: what a slot holds does not depend on the
  // length of the sequence that it was computed for; then prompts go on from what others computed of the same tokens.
  absl::StatusOr<std::vector<Generation>> Run(absl::Span<const GenerationRequest> requests, bool reuse, std::stop_token stop,
                                              const GenerationProgress& progress);

  // ServingEngine::Serve. `check`: why a request cannot run, if so. `reuse` as of Run.
  absl::Status Serve(RequestFeed& feed, const std::function<absl::Status(const GenerationRequest&)>& check, bool reuse,
                     std::stop_token stop);

 private:
  // A request and what it holds while it runs.
  struct Entry {
    const GenerationRequest* request = nullptr;
    std::shared_ptr<ServedRequest> served;  // null in Run
    std::unique_ptr<BeamSearch> search;     // null without beams
    std::vector<int> spare_slots;           // of beams that are not there yet
    Generation generation;
  };
  struct Sequence {
    int entry;
    int beam;  // of the request; 0 without beams
    int slot;
    int cached;         // positions in the cache
    int wanted = 0;     // results of this step
    bool next = false;  // the last of them gives the next token
  };

  absl::Status ComputeSharedPrefix();
  void TakeRequests(RequestFeed& feed, const std::function<absl::Status(const GenerationRequest&)>& check,
                    std::stop_token stop);
  void DropAbandoned();
  // Ends everything that runs or waits.
  void EndAll(const absl::Status& status);
  void End(int entry, absl::StatusOr<FinishReason> reason);

  // generation_admission.cc.
  absl::Status Admit(int budget);
  // Whether running prompts will soon have computed so much more than `held` positions of the request's prompt that it
  // should wait for that.
  bool ComesSoon(const GenerationRequest& request, int held) const;
  // A slot for a request, with what can be used of the cache: `match` of memory_, or the shared prefix.
  absl::StatusOr<Sequence> Place(int entry, const SlotMemory::Match& match);
  absl::StatusOr<Sequence> WithSharedPrefix(Sequence sequence);
  absl::Status StartBeams(int entry);
  // Whether a step that holds `sequence` needs the logits themselves.
  bool NeedsLogits(const Sequence& sequence) const;
  void BuildBatch();
  absl::Status RunBatch();
  absl::Status Step();
  void RememberStep();
  // Takes what is known of a prompt's tokens now; results from `result` on.
  void TakePromptScores(const Sequence& sequence, size_t result);
  // Takes the next token of a sequence; true if that ended it.
  absl::StatusOr<bool> Take(const Sequence& sequence, size_t result);
  absl::StatusOr<int32_t> Choose(const Sequence& sequence, size_t result);
  // Advances the search whose live beams are `beams`, and puts those that go on into next_active_.
  absl::Status AdvanceBeams(absl::Span<const Sequence> beams, size_t result);
  absl::Span<float> LogitsOf(size_t result);
  absl::StatusOr<bool> HasStopString(const GenerationRequest& request, absl::Span<const int32_t> tokens) const;
  const std::vector<int32_t>& Prompt(const Sequence& sequence) const { return entries_[sequence.entry].request->prompt; }

  ModelRunner& runner_;
  const EngineOptions& options_;
  const int64_t vocab_size_;
  const int64_t hidden_size_;
  GenerationTimings& timings_;

  std::vector<Entry> entries_;
  std::vector<int> free_entries_;  // of Serve
  std::deque<int> waiting_;        // entries, the next one last
  std::vector<int> free_slots_;    // the one that was freed last is last
  std::vector<Sequence> active_;   // the beams of one request are neighbours
  std::vector<Sequence> next_active_;
  size_t finished_ = 0;
  int shared_prefix_ = 0;  // tokens that are in the extra slot
  bool reuse_ = false;
  SlotMemory memory_;  // where reuse_
  StepBatch batch_;
  int prompt_rows_ = 0;  // of batch_
  std::vector<RowResult> results_;
  std::vector<double> target_log_probs_;  // of batch_.targets
  size_t next_target_ = 0;                // of those, the first that was not looked at
  std::vector<float> logits_;             // [results, vocab] where a request needs them, else empty
  Sampler sampler_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
