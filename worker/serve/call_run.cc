#include "worker/serve/call_run.h"

#include <atomic>
#include <utility>

#include "common/base/status_macros.h"

namespace merganser {

class CallRun::Choice : public ServedRequest {
 public:
  Choice(size_t index, GenerationRequest request, std::vector<std::shared_ptr<const SeenPicture>> pictures,
         std::shared_ptr<Events> events)
      : index_(index), request_(std::move(request)), pictures_(std::move(pictures)), events_(std::move(events)) {}

  void Abandon() { abandoned_ = true; }

  const GenerationRequest& request() const override { return request_; }
  bool abandoned() const override { return abandoned_; }
  void OnPrompt(std::vector<Generation::Position> prompt_log_probs) override {
    events_->Push({.choice = index_, .kind = Event::kPrompt, .prompt = std::move(prompt_log_probs)});
  }
  void OnToken(int32_t token, bool end_of_sequence, const Generation::Position* position) override {
    Event event{.choice = index_, .kind = Event::kToken, .token = token, .end_of_sequence = end_of_sequence};
    if (position != nullptr) event.position = *position;
    events_->Push(std::move(event));
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    events_->Push({.choice = index_, .kind = Event::kEnd, .reason = std::move(reason)});
  }

 private:
  const size_t index_;
  const GenerationRequest request_;
  const std::vector<std::shared_ptr<const SeenPicture>> pictures_;  // that request_ points into
  const std::shared_ptr<Events> events_;
  std::atomic<bool> abandoned_ = false;
};

void CallRun::Events::Push(Event event) {
  absl::MutexLock lock(&mutex);
  events.push_back(std::move(event));
}

CallRun::Event CallRun::Events::Pop() {
  absl::MutexLock lock(&mutex);
  const auto any = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return !events.empty(); };
  mutex.Await(absl::Condition(&any));
  Event event = std::move(events.front());
  events.pop_front();
  return event;
}

CallRun::CallRun(ApiCall call, const Tokenizer* tokenizer)
    : call_(std::move(call)), events_(std::make_shared<Events>()), left_(call_.prompts.size() * call_.choices) {
  for (size_t i = 0; i < left_; ++i) {
    GenerationRequest request = call_.Request(i / call_.choices, static_cast<int>(i % call_.choices));
    choices_.push_back(std::make_shared<Choice>(i, std::move(request), call_.pictures, events_));
    texts_.emplace_back(tokenizer, call_.stop);
  }
  ended_.resize(left_, false);
}

CallRun::~CallRun() {
  for (const std::shared_ptr<Choice>& choice : choices_) choice->Abandon();
}

absl::StatusOr<std::unique_ptr<CallRun>> CallRun::Submit(ApiCall call, const Tokenizer* tokenizer, RequestQueue& queue) {
  std::unique_ptr<CallRun> run(new CallRun(std::move(call), tokenizer));
  if (run->call_.echo && !run->call_.log_probs) {
    for (size_t i = 0; i < run->left_; ++i) run->ready_.push_back(run->EchoOf(i));
  }
  MG_RETURN_IF_ERROR(queue.Submit({run->choices_.begin(), run->choices_.end()}));
  return run;
}

int64_t CallRun::prompt_tokens() const {
  int64_t total = 0;
  for (const std::vector<int32_t>& prompt : call_.prompts) total += static_cast<int64_t>(prompt.size());
  return total;
}

ChoiceDelta CallRun::EchoOf(size_t choice) { return {.choice = choice, .text = call_.prompt_texts[choice / call_.choices]}; }

absl::StatusOr<std::optional<ChoiceDelta>> CallRun::Next() {
  while (left_ > 0 || !ready_.empty()) {
    if (!ready_.empty()) {
      ChoiceDelta delta = std::move(ready_.front());
      ready_.pop_front();
      return delta;
    }
    MG_ASSIGN_OR_RETURN(std::optional<ChoiceDelta> delta, Take(events_->Pop()));
    if (delta.has_value()) return delta;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<ChoiceDelta>> CallRun::Take(const Event& event) {
  ChoiceDelta delta{.choice = event.choice};
  if (ended_[event.choice]) return std::nullopt;  // what the engine did before it saw the stop string
  StopText& text = texts_[event.choice];
  switch (event.kind) {
    case Event::kPrompt: {
      if (!call_.echo || !call_.log_probs) return std::nullopt;
      delta = EchoOf(event.choice);
      const std::vector<int32_t>& prompt = call_.prompts[event.choice / call_.choices];
      delta.shown.push_back({prompt[0], std::nullopt});
      for (size_t i = 0; i < event.prompt.size(); ++i) delta.shown.push_back({prompt[i + 1], event.prompt[i]});
      return delta;
    }
    case Event::kToken: {
      ++completion_tokens_;
      if (!event.end_of_sequence) {
        MG_ASSIGN_OR_RETURN(delta.text, text.Append(event.token));
      }
      // The chat form has the message's tokens only; lm-evaluation-harness counts on one entry per token of the other.
      if (call_.log_probs && !(call_.chat && event.end_of_sequence)) delta.shown.push_back({event.token, event.position});
      if (text.stopped()) {
        choices_[event.choice]->Abandon();
        ended_[event.choice] = true;
        --left_;
        delta.finish_reason = "stop";
        return delta;
      }
      if (delta.text.empty() && delta.shown.empty()) return std::nullopt;
      return delta;
    }
    case Event::kEnd:
      break;
  }
  MG_RETURN_IF_ERROR(event.reason.status());
  MG_ASSIGN_OR_RETURN(delta.text, text.Finish());
  ended_[event.choice] = true;
  --left_;
  delta.finish_reason = *event.reason == FinishReason::kLength && !text.stopped() ? "length" : "stop";
  return delta;
}

}  // namespace merganser
