// Beam search over one prompt, in the order of operations of transformers (generation/utils.py,
// `_beam_search`). Knows log-probabilities and tokens, no model.
#ifndef MERGANSER_WORKER_ENGINE_BEAM_SEARCH_H_
#define MERGANSER_WORKER_ENGINE_BEAM_SEARCH_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/generator.h"

namespace merganser {

// Thread-compatible.
class BeamSearch {
 public:
  // A live beam: the tokens after the prompt.
  struct Beam {
    std::vector<int32_t> tokens;
    float score = 0;  // sum of (processed) log-probabilities
    int parent = 0;   // index among the beams before the last Advance
  };
  // Whether the text of these new tokens contains a stop string.
  using HasStop = std::function<absl::StatusOr<bool>(absl::Span<const int32_t> tokens)>;

  // `eos_token_ids` and `has_stop` (may be null) end a beam, as does max_new_tokens.
  BeamSearch(const Beams& options, int max_new_tokens, std::vector<int32_t> eos_token_ids, HasStop has_stop);

  // The live beams; one without tokens at the start, options.count after the first Advance.
  const std::vector<Beam>& beams() const { return beams_; }

  // `log_probs`: one row of `vocab` processed log-probabilities for each live beam. Extends,
  // finishes and drops beams; then beams()[i].parent says whose cache beam i goes on with. Returns
  // true when the search is over. Errors of HasStop.
  absl::StatusOr<bool> Advance(absl::Span<const float> log_probs, int64_t vocab);

  // The best finished beam. REQUIRES: Advance returned true.
  Generation Result() const;

 private:
  struct Finished {
    std::vector<int32_t> tokens;  // with the end-of-sequence token
    float score;
    FinishReason reason;
    bool real;  // false: a placeholder
  };
  struct Candidate {
    int parent;
    int32_t token;
    float score;
    bool hit = false;
    FinishReason reason = FinishReason::kLength;
  };
  absl::Status FindHits(std::vector<Candidate>& candidates) const;
  void UpdateFinished(const std::vector<Candidate>& candidates);

  const Beams options_;
  const int max_new_tokens_;
  const std::vector<int32_t> eos_token_ids_;
  const HasStop has_stop_;
  std::vector<Beam> beams_;
  std::vector<Finished> finished_;  // options_.count, best first
  int length_ = 0;                  // new tokens of a live beam
  bool can_improve_ = true;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_BEAM_SEARCH_H_
