// The engine as a server uses it: requests come while others run.
#ifndef MERGANSER_WORKER_ENGINE_SERVING_ENGINE_H_
#define MERGANSER_WORKER_ENGINE_SERVING_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/engine/generator.h"

namespace merganser {

// A request and who waits for it. All but request() and abandoned() are called on the thread that runs Serve, and must be
// quick.
class ServedRequest {
 public:
  virtual ~ServedRequest() = default;

  // Stays the same. Its on_token is not called; no beams.
  virtual const GenerationRequest& request() const = 0;
  // Nobody wants the rest: it leaves the engine before the next step, with OnEnd(Cancelled).
  virtual bool abandoned() const = 0;

  // Once, with score_prompt: Generation::prompt_log_probs.
  virtual void OnPrompt(std::vector<Generation::Position> prompt_log_probs) = 0;
  // Each token as it is chosen, the end-of-sequence token included. `position` is null without log_probs.
  virtual void OnToken(int32_t token, bool end_of_sequence, const Generation::Position* position) = 0;
  // Once, and last. Errors of Generator::Generate.
  virtual void OnEnd(absl::StatusOr<FinishReason> reason) = 0;
};

// Where Serve takes requests from.
class RequestFeed {
 public:
  virtual ~RequestFeed() = default;
  // At most `room` requests, the oldest first; may be none. With `wait` nothing runs: returns when there is one, or when
  // `stop` was requested. Called on the thread that runs Serve.
  virtual std::vector<std::shared_ptr<ServedRequest>> Take(size_t room, bool wait, std::stop_token stop) = 0;
};

class ServingEngine {
 public:
  virtual ~ServingEngine() = default;

  // Runs what `feed` gives, all together, until `stop` is requested; then every request that is still there ends with
  // Cancelled. A request may join at every step. What a slot of the cache holds of an earlier request is used again where a
  // later one begins with the same tokens, up to its first embedding. An error of one step ends the requests that are there,
  // not the serving. FailedPrecondition: no weights loaded.
  virtual absl::Status Serve(RequestFeed& feed, std::stop_token stop) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SERVING_ENGINE_H_
