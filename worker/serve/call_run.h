// One call while the engine works on it: its choices, and what the engine says of them.
#ifndef MERGANSER_WORKER_SERVE_CALL_RUN_H_
#define MERGANSER_WORKER_SERVE_CALL_RUN_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "worker/engine/serving_engine.h"
#include "worker/serve/api_call.h"
#include "worker/serve/request_queue.h"
#include "worker/serve/stop_text.h"

namespace merganser {

// A token of a choice, for its log-probabilities.
struct ShownToken {
  int32_t token = 0;
  std::optional<Generation::Position> position;  // none: the first token of a prompt
};

// What a choice got since the last time.
struct ChoiceDelta {
  size_t choice = 0;              // prompt * choices + choice of the prompt
  std::string text;               // to be handed out
  std::vector<ShownToken> shown;  // with log_probs: the tokens that came
  std::string finish_reason;      // "stop" or "length" with the last delta, else ""
};

// Submit, then Next until it gives nothing. Used from one thread; the engine's thread only adds events. If this is destroyed
// before, the engine drops the rest.
class CallRun {
 public:
  // Errors of RequestQueue::Submit. The tokenizer outlives the run.
  static absl::StatusOr<std::unique_ptr<CallRun>> Submit(ApiCall call, const Tokenizer* tokenizer, RequestQueue& queue);
  ~CallRun();

  // Waits for what comes next; nullopt after the last. With `echo` the prompt comes first. An error of a choice ends the
  // call.
  absl::StatusOr<std::optional<ChoiceDelta>> Next();

  const ApiCall& call() const { return call_; }
  int64_t prompt_tokens() const;
  int64_t completion_tokens() const { return completion_tokens_; }  // so far, ends of sequences included

 private:
  class Choice;
  struct Event {
    size_t choice = 0;
    enum { kPrompt, kToken, kEnd } kind = kEnd;
    std::vector<Generation::Position> prompt;
    int32_t token = 0;
    bool end_of_sequence = false;
    std::optional<Generation::Position> position;
    absl::StatusOr<FinishReason> reason = FinishReason::kLength;
  };
  // Outlives the run while the engine holds a choice.
  struct Events {
    absl::Mutex mutex;
    std::deque<Event> events ABSL_GUARDED_BY(mutex);
    void Push(Event event);
    Event Pop();
  };

  CallRun(ApiCall call, const Tokenizer* tokenizer);
  ChoiceDelta EchoOf(size_t choice);
  absl::StatusOr<std::optional<ChoiceDelta>> Take(const Event& event);

  const ApiCall call_;
  const std::shared_ptr<Events> events_;
  std::vector<std::shared_ptr<Choice>> choices_;
  std::vector<StopText> texts_;  // by choice
  std::vector<bool> ended_;
  std::deque<ChoiceDelta> ready_;  // to be given before any event
  size_t left_;                    // choices that have not ended
  int64_t completion_tokens_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_CALL_RUN_H_
