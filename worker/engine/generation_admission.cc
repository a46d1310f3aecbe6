// The part of GenerationRun that gives requests their slots, and what is in the cache already of their prompts.
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/engine/generation_run.h"
#include "worker/engine/prompt_embeddings.h"
#include "worker/engine/shared_prefix.h"

namespace merganser {
namespace {

// Fewer positions are computed sooner than copied, or waited for.
constexpr int kCopyMin = 4;

}  // namespace

absl::Status GenerationRun::ComputeSharedPrefix() {
  std::vector<const std::vector<int32_t>*> prompts;
  int length_max = std::numeric_limits<int>::max();
  for (const Entry& entry : entries_) {
    if (entry.request->score_prompt) return absl::OkStatus();  // all of its positions have results
    prompts.push_back(&entry.request->prompt);
    // Where an image stands the tokens are equal and the embeddings are not.
    if (!entry.request->embeddings.empty()) length_max = std::min(length_max, entry.request->embeddings.front().position);
  }
  MG_ASSIGN_OR_RETURN(shared_prefix_, PrefillSharedPrefix(runner_, options_, prompts, length_max, timings_));
  return absl::OkStatus();
}

absl::Status GenerationRun::StartBeams(int entry) {
  Entry& running = entries_[entry];
  const GenerationRequest& request = *running.request;
  BeamSearch::HasStop has_stop;
  if (!request.stop.empty()) {
    has_stop = [this, &request](absl::Span<const int32_t> tokens) { return HasStopString(request, tokens); };
  }
  running.search =
      std::make_unique<BeamSearch>(request.beams, request.max_new_tokens, options_.eos_token_ids, std::move(has_stop));
  for (int i = 1; i < request.beams.count; ++i) {
    running.spare_slots.push_back(free_slots_.back());
    free_slots_.pop_back();
  }
  return absl::OkStatus();
}

bool GenerationRun::ComesSoon(const GenerationRequest& request, int held) const {
  const absl::Span<const int32_t> prompt = ReusablePrompt(request);
  for (const Sequence& sequence : active_) {
    const absl::Span<const int32_t> other = ReusablePrompt(*entries_[sequence.entry].request);
    if (sequence.cached >= static_cast<int>(other.size())) continue;
    const size_t longest = std::min(other.size(), prompt.size() - 1);
    const size_t wanted = held + kCopyMin;
    // From the end on: it is the beginnings that are alike.
    if (longest >= wanted && std::equal(prompt.rend() - wanted, prompt.rend(), other.rend() - wanted)) return true;
  }
  return false;
}

absl::StatusOr<GenerationRun::Sequence> GenerationRun::Place(int entry, const SlotMemory::Match& match) {
  const GenerationRequest& request = *entries_[entry].request;
  const bool scored = request.score_prompt;
  const auto take = [&](std::vector<int>::iterator slot, int length) {
    Sequence sequence{entry, 0, *slot, length};
    free_slots_.erase(slot);
    // The score at the last position that is kept may be of a token that does not follow now.
    memory_.Truncate(sequence.slot, length, scored ? length : std::max(0, length - 1));
    return sequence;
  };
  const auto oldest = free_slots_.begin();
  if (match.length > 0 && match.length >= shared_prefix_) {
    const auto free = std::find(free_slots_.begin(), free_slots_.end(), match.slot);
    // In place, unless most of what the slot holds would be lost to the next request.
    if (free != free_slots_.end() && (free == oldest || 2 * match.length >= memory_.Length(match.slot))) {
      return take(free, match.length);
    }
    if (match.length >= kCopyMin) {
      MG_RETURN_IF_ERROR(runner_.CopyPositions(match.slot, *oldest, 0, match.length));
      memory_.Copy(match.slot, *oldest, match.length, match.length);
      return take(oldest, match.length);
    }
  }
  const Sequence sequence = take(reuse_ ? oldest : std::prev(free_slots_.end()), 0);
  return shared_prefix_ > 0 ? WithSharedPrefix(sequence) : sequence;
}

absl::StatusOr<GenerationRun::Sequence> GenerationRun::WithSharedPrefix(Sequence sequence) {
  MG_RETURN_IF_ERROR(runner_.CopyPositions(options_.max_sequences, sequence.slot, 0, shared_prefix_));
  sequence.cached = shared_prefix_;
  if (reuse_) memory_.Extend(sequence.slot, 0, absl::MakeConstSpan(Prompt(sequence)).first(shared_prefix_));
  return sequence;
}

absl::Status GenerationRun::Admit(int budget) {
  for (const Sequence& sequence : active_) {
    budget -= std::max(0, static_cast<int>(Prompt(sequence).size()) - sequence.cached);
  }
  std::vector<int> later;
  while (budget > 0 && !waiting_.empty()) {
    const int index = waiting_.back();
    const GenerationRequest& request = *entries_[index].request;
    if (free_slots_.size() < static_cast<size_t>(request.beams.count)) break;
    waiting_.pop_back();
    SlotMemory::Match match;
    if (reuse_) match = memory_.Best(ReusablePrompt(request), request.score_prompt, request.log_probs);
    if (reuse_ && !request.score_prompt && ComesSoon(request, match.length)) {
      later.push_back(index);
      continue;
    }
    MG_ASSIGN_OR_RETURN(const Sequence sequence, Place(index, match));
    if (request.beams.count > 1) MG_RETURN_IF_ERROR(StartBeams(index));
    budget -= static_cast<int>(request.prompt.size()) - sequence.cached;
    active_.push_back(sequence);
  }
  waiting_.insert(waiting_.end(), later.rbegin(), later.rend());
  return absl::OkStatus();
}

}  // namespace merganser
