#include "worker/engine/beam_search.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr float kNever = -1.0e9f;  // what transformers adds to the score of what must not win

}  // namespace

BeamSearch::BeamSearch(const Beams& options, int max_new_tokens, std::vector<int32_t> eos_token_ids, HasStop has_stop)
    : options_(options),
      max_new_tokens_(max_new_tokens),
      eos_token_ids_(std::move(eos_token_ids)),
      has_stop_(std::move(has_stop)),
      beams_(1),
      finished_(options.count, Finished{{}, kNever, FinishReason::kLength, false}) {}

absl::Status BeamSearch::FindHits(std::vector<Candidate>& candidates) const {
  for (Candidate& c : candidates) {
    if (std::find(eos_token_ids_.begin(), eos_token_ids_.end(), c.token) != eos_token_ids_.end()) {
      c.hit = true;
      c.reason = FinishReason::kEos;
      continue;
    }
    if (has_stop_) {
      std::vector<int32_t> tokens = beams_[c.parent].tokens;
      tokens.push_back(c.token);
      MG_ASSIGN_OR_RETURN(c.hit, has_stop_(tokens));
      if (c.hit) c.reason = FinishReason::kStop;
    }
    c.hit = c.hit || length_ + 1 >= max_new_tokens_;
  }
  return absl::OkStatus();
}

void BeamSearch::UpdateFinished(const std::vector<Candidate>& candidates) {
  const bool full = std::all_of(finished_.begin(), finished_.end(), [](const Finished& f) { return f.real; });
  const float divisor = static_cast<float>(std::pow(length_ + 1.0, options_.length_penalty));
  // Only a candidate among the first `count` may finish; those behind are there so that enough
  // beams live on.
  const size_t first = std::min(candidates.size(), static_cast<size_t>(options_.count));
  for (size_t i = 0; i < first; ++i) {
    const Candidate& c = candidates[i];
    if (!c.hit || !can_improve_ || (full && options_.early_stopping)) continue;
    Finished finished{beams_[c.parent].tokens, c.score / divisor, c.reason, true};
    finished.tokens.push_back(c.token);
    finished_.push_back(std::move(finished));
  }
  std::stable_sort(finished_.begin(), finished_.end(),
                   [](const Finished& a, const Finished& b) { return a.score > b.score; });
  finished_.resize(options_.count);
}

absl::StatusOr<bool> BeamSearch::Advance(absl::Span<const float> log_probs, int64_t vocab) {
  // Enough candidates that `count` beams remain even if every end-of-sequence token is among them.
  const size_t keep = options_.count * std::max<size_t>(2, 1 + eos_token_ids_.size());
  std::vector<Candidate> candidates;
  const auto better = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
  // A heap of the best `keep`; its front is the worst of them. Ties go to what came first.
  for (size_t beam = 0; beam < beams_.size(); ++beam) {
    for (int64_t token = 0; token < vocab; ++token) {
      const float score = log_probs[beam * vocab + token] + beams_[beam].score;
      if (candidates.size() == keep) {
        if (score <= candidates.front().score) continue;
        std::pop_heap(candidates.begin(), candidates.end(), better);
        candidates.pop_back();
      }
      candidates.push_back({static_cast<int>(beam), static_cast<int32_t>(token), score});
      std::push_heap(candidates.begin(), candidates.end(), better);
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
  });
  MG_RETURN_IF_ERROR(FindHits(candidates));
  UpdateFinished(candidates);

  // Those that go on: the hit ones last, as if their score were lower by 1e9.
  std::vector<Candidate> live = candidates;
  const bool all_hit = std::all_of(live.begin(), live.end(), [](const Candidate& c) { return c.hit; });
  std::stable_partition(live.begin(), live.end(), [](const Candidate& c) { return !c.hit; });
  live.resize(std::min(live.size(), static_cast<size_t>(options_.count)));
  std::vector<Beam> next;
  for (const Candidate& c : live) {
    Beam beam{beams_[c.parent].tokens, c.hit ? c.score + kNever : c.score, c.parent};
    beam.tokens.push_back(c.token);
    next.push_back(std::move(beam));
  }
  beams_ = std::move(next);
  ++length_;

  const float best_possible = beams_[0].score / static_cast<float>(std::pow(length_, options_.length_penalty));
  const float worst = finished_.back().score;
  can_improve_ = can_improve_ && std::any_of(finished_.begin(), finished_.end(),
                                             [&](const Finished& f) { return best_possible > (f.real ? worst : kNever); });
  const bool full = std::all_of(finished_.begin(), finished_.end(), [](const Finished& f) { return f.real; });
  return !can_improve_ || (full && options_.early_stopping) || all_hit;
}

Generation BeamSearch::Result() const {
  const Finished& best = finished_.front();
  Generation generation;
  generation.tokens = best.tokens;
  generation.reason = best.reason;
  generation.beam_score = best.score;
  if (best.reason == FinishReason::kEos) generation.tokens.pop_back();
  return generation;
}

}  // namespace merganser
