#include "worker/engine/generation_run.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// A shorter common prefix is not worth a step of its own and a copy per sequence.
constexpr int kSharedPrefixMin = 32;

int CommonPrefix(absl::Span<const GenerationRequest> requests) {
  const std::vector<int32_t>& first = requests[0].prompt;
  size_t common = first.size();
  for (const GenerationRequest& request : requests) {
    common = std::min(
        common, request.prompt.size() - 1);  // each sequence has to compute at least its last token
    common = std::mismatch(first.begin(), first.begin() + common, request.prompt.begin()).first -
             first.begin();
  }
  return static_cast<int>(common);
}

}  // namespace

void AddStepTime(double seconds, int64_t prompt_tokens, int64_t generated_tokens,
                 GenerationTimings& timings) {
  const double share =
      static_cast<double>(prompt_tokens) / static_cast<double>(prompt_tokens + generated_tokens);
  timings.prefill_seconds += seconds * share;
  timings.decode_seconds += seconds * (1.0 - share);
  timings.prompt_tokens += prompt_tokens;
}

GenerationRun::GenerationRun(ModelRunner& runner, const EngineOptions& options,
                             absl::Span<const GenerationRequest> requests,
                             GenerationTimings& timings)
    : runner_(runner),
      options_(options),
      requests_(requests),
      timings_(timings),
      generations_(requests.size()) {
  // The longest first, so that a memory limit shows at once and the tail of the run is short.
  waiting_.resize(requests.size());
  std::iota(waiting_.begin(), waiting_.end(), 0);
  std::stable_sort(waiting_.begin(), waiting_.end(), [&](int a, int b) {
    return requests[a].prompt.size() > requests[b].prompt.size();
  });
  std::reverse(waiting_.begin(), waiting_.end());
  for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

absl::Status GenerationRun::ComputeSharedPrefix() {
  if (requests_.size() < 2) return absl::OkStatus();
  const int length = CommonPrefix(requests_);
  if (length < kSharedPrefixMin) return absl::OkStatus();
  const absl::Duration start = options_.clock->Monotonic();
  for (int done = 0; done < length;) {
    const int piece = std::min(length - done, options_.max_batch_tokens);
    const int32_t* tokens = requests_[0].prompt.data() + done;
    batch_.tokens.assign(tokens, tokens + piece);
    batch_.segments = {{options_.max_sequences, done, piece, 0}};
    MG_RETURN_IF_ERROR(runner_.Step(batch_, {}, nullptr));
    done += piece;
  }
  AddStepTime(absl::ToDoubleSeconds(options_.clock->Monotonic() - start), length, 0, timings_);
  shared_prefix_ = length;
  return absl::OkStatus();
}

absl::Status GenerationRun::Admit(int budget) {
  for (const Sequence& sequence : active_) {
    budget -=
        std::max(0, static_cast<int>(requests_[sequence.request].prompt.size()) - sequence.cached);
  }
  while (budget > 0 && !waiting_.empty() && !free_slots_.empty()) {
    Sequence sequence{waiting_.back(), free_slots_.back(), 0};
    if (shared_prefix_ > 0) {
      MG_RETURN_IF_ERROR(runner_.CopyPrefix(options_.max_sequences, sequence.slot, shared_prefix_));
      sequence.cached = shared_prefix_;
    }
    budget -= static_cast<int>(requests_[sequence.request].prompt.size()) - sequence.cached;
    waiting_.pop_back();
    free_slots_.pop_back();
    active_.push_back(sequence);
  }
  return absl::OkStatus();
}

void GenerationRun::BuildBatch() {
  batch_.tokens.clear();
  batch_.segments.clear();
  prompt_rows_ = 0;
  for (Sequence& sequence : active_) {
    const std::vector<int32_t>& prompt = requests_[sequence.request].prompt;
    const int left = static_cast<int>(prompt.size()) - sequence.cached;
    if (left <= 0) {
      sequence.wanted = 1;
      batch_.tokens.push_back(generations_[sequence.request].tokens.back());
      batch_.segments.push_back({sequence.slot, sequence.cached, 1, 1});
      continue;
    }
    const int piece = std::min(left, options_.max_batch_tokens - prompt_rows_);
    sequence.wanted = piece == left ? 1 : 0;
    if (piece == 0) continue;
    prompt_rows_ += piece;
    batch_.tokens.insert(batch_.tokens.end(), prompt.begin() + sequence.cached,
                         prompt.begin() + sequence.cached + piece);
    batch_.segments.push_back({sequence.slot, sequence.cached, piece, sequence.wanted});
  }
}

absl::Status GenerationRun::Step() {
  MG_RETURN_IF_ERROR(Admit(options_.max_batch_tokens));
  BuildBatch();
  size_t wanted = 0;
  for (const Sequence& sequence : active_) wanted += sequence.wanted;
  results_.resize(wanted);
  const absl::Duration start = options_.clock->Monotonic();
  MG_RETURN_IF_ERROR(runner_.Step(batch_, absl::MakeSpan(results_), nullptr));
  AddStepTime(absl::ToDoubleSeconds(options_.clock->Monotonic() - start), prompt_rows_,
              static_cast<int64_t>(batch_.tokens.size()) - prompt_rows_, timings_);

  size_t segment = 0;
  size_t result = 0;
  size_t kept = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    Sequence sequence = active_[i];
    // A sequence that found no room in this step has no segment.
    if (segment < batch_.segments.size() && batch_.segments[segment].slot == sequence.slot) {
      sequence.cached += batch_.segments[segment++].length;
    }
    bool ended = false;
    if (sequence.wanted > 0) {
      MG_ASSIGN_OR_RETURN(ended, Take(sequence, results_[result++].argmax));
    }
    if (ended) {
      free_slots_.push_back(sequence.slot);
      ++finished_;
    } else {
      active_[kept++] = sequence;
    }
  }
  active_.resize(kept);
  return absl::OkStatus();
}

absl::StatusOr<bool> GenerationRun::Take(const Sequence& sequence, int32_t token) {
  const GenerationRequest& request = requests_[sequence.request];
  Generation& generation = generations_[sequence.request];
  ++timings_.generated_tokens;
  if (std::find(options_.eos_token_ids.begin(), options_.eos_token_ids.end(), token) !=
      options_.eos_token_ids.end()) {
    generation.reason = FinishReason::kEos;
    return true;
  }
  generation.tokens.push_back(token);
  if (!request.stop.empty()) {
    MG_ASSIGN_OR_RETURN(const bool stopped, HasStopString(request, generation.tokens));
    if (stopped) {
      generation.reason = FinishReason::kStop;
      return true;
    }
  }
  generation.reason = FinishReason::kLength;
  return static_cast<int>(generation.tokens.size()) >= request.max_new_tokens;
}

absl::StatusOr<bool> GenerationRun::HasStopString(const GenerationRequest& request,
                                                  absl::Span<const int32_t> tokens) const {
  size_t longest = 0;
  for (const std::string& stop : request.stop) longest = std::max(longest, stop.size());
  // A string that appears now ends in the last token. A token is at least a byte, so it begins
  // within `longest` tokens; a few more keep away from the tail's start, where decoders trim blanks
  // and broken characters.
  const size_t tail = std::min(tokens.size(), longest + 8);
  MG_ASSIGN_OR_RETURN(const std::string text,
                      options_.decode(tokens.subspan(tokens.size() - tail)));
  return std::any_of(request.stop.begin(), request.stop.end(),
                     [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
}

absl::StatusOr<std::vector<Generation>> GenerationRun::Run(std::stop_token stop,
                                                           const GenerationProgress& progress) {
  if (requests_.empty()) return generations_;
  MG_RETURN_IF_ERROR(ComputeSharedPrefix());
  while (finished_ < requests_.size()) {
    if (stop.stop_requested()) return absl::CancelledError("generation was cancelled");
    MG_RETURN_IF_ERROR(Step());
    if (progress) progress(finished_, requests_.size());
  }
  return std::move(generations_);
}

}  // namespace merganser
