#include "worker/engine/generation_run.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "worker/engine/shared_prefix.h"

namespace merganser {
namespace {

// The runner's own argmax is enough for plain greedy decoding.
bool NeedsLogits(const GenerationRequest& request) {
  return request.beams.count > 1 || request.log_probs > 0 || request.sampling.temperature > 0 ||
         request.sampling.repetition_penalty != 1;
}

}  // namespace

GenerationRun::GenerationRun(ModelRunner& runner, const EngineOptions& options, int64_t vocab_size, int64_t hidden_size,
                             absl::Span<const GenerationRequest> requests,
                             GenerationTimings& timings)
    : runner_(runner),
      options_(options),
      vocab_size_(vocab_size),
      hidden_size_(hidden_size),
      requests_(requests),
      timings_(timings),
      running_(requests.size()),
      generations_(requests.size()),
      sampler_(vocab_size) {
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
  std::vector<const std::vector<int32_t>*> prompts;
  int length_max = std::numeric_limits<int>::max();
  for (const GenerationRequest& request : requests_) {
    prompts.push_back(&request.prompt);
    // Where an image stands the tokens are equal and the embeddings are not.
    if (!request.embeddings.empty()) length_max = std::min(length_max, request.embeddings.front().position);
  }
  MG_ASSIGN_OR_RETURN(shared_prefix_, PrefillSharedPrefix(runner_, options_, prompts, length_max, timings_));
  return absl::OkStatus();
}

absl::Status GenerationRun::Admit(int budget) {
  for (const Sequence& sequence : active_) {
    budget -=
        std::max(0, static_cast<int>(requests_[sequence.request].prompt.size()) - sequence.cached);
  }
  while (budget > 0 && !waiting_.empty()) {
    const int index = waiting_.back();
    const GenerationRequest& request = requests_[index];
    if (free_slots_.size() < static_cast<size_t>(request.beams.count)) break;
    Sequence sequence{index, 0, free_slots_.back(), 0};
    free_slots_.pop_back();
    if (request.beams.count > 1) {
      Running& running = running_[index];
      BeamSearch::HasStop has_stop;
      if (!request.stop.empty()) {
        has_stop = [this, &request](absl::Span<const int32_t> tokens) {
          return HasStopString(request, tokens);
        };
      }
      running.search = std::make_unique<BeamSearch>(request.beams, request.max_new_tokens,
                                                    options_.eos_token_ids, std::move(has_stop));
      for (int i = 1; i < request.beams.count; ++i) {
        running.spare_slots.push_back(free_slots_.back());
        free_slots_.pop_back();
      }
    }
    if (shared_prefix_ > 0) {
      MG_RETURN_IF_ERROR(
          runner_.CopyPositions(options_.max_sequences, sequence.slot, 0, shared_prefix_));
      sequence.cached = shared_prefix_;
    }
    budget -= static_cast<int>(request.prompt.size()) - sequence.cached;
    waiting_.pop_back();
    active_.push_back(sequence);
  }
  return absl::OkStatus();
}

void GenerationRun::BuildBatch() {
  batch_.tokens.clear();
  batch_.segments.clear();
  batch_.embeddings.clear();
  prompt_rows_ = 0;
  for (Sequence& sequence : active_) {
    const std::vector<int32_t>& prompt = requests_[sequence.request].prompt;
    const int left = static_cast<int>(prompt.size()) - sequence.cached;
    if (left <= 0) {
      const BeamSearch* search = running_[sequence.request].search.get();
      sequence.wanted = 1;
      batch_.tokens.push_back(search == nullptr ? generations_[sequence.request].tokens.back()
                                                : search->beams()[sequence.beam].tokens.back());
      batch_.segments.push_back({sequence.slot, sequence.cached, 1, 1});
      continue;
    }
    const int piece = std::min(left, options_.max_batch_tokens - prompt_rows_);
    sequence.wanted = piece == left ? 1 : 0;
    if (piece == 0) continue;
    prompt_rows_ += piece;
    batch_.tokens.insert(batch_.tokens.end(), prompt.begin() + sequence.cached,
                         prompt.begin() + sequence.cached + piece);
    AddEmbeddings(requests_[sequence.request], sequence.cached, piece);
    batch_.segments.push_back(
        {sequence.slot, sequence.cached, piece, sequence.wanted, static_cast<int>(prompt.size())});
  }
}

void GenerationRun::AddEmbeddings(const GenerationRequest& request, int begin, int count) {
  const size_t first = batch_.tokens.size() - count;
  for (const PromptEmbeddings& e : request.embeddings) {
    for (int p = std::max(begin, e.position); p < std::min(begin + count, e.position + e.rows); ++p) {
      batch_.embeddings.resize(batch_.tokens.size(), nullptr);
      batch_.embeddings[first + p - begin] = e.values + static_cast<int64_t>(p - e.position) * hidden_size_;
    }
  }
}

absl::Status GenerationRun::RunBatch() {
  if (!batch_.embeddings.empty()) batch_.embeddings.resize(batch_.tokens.size(), nullptr);
  size_t wanted = 0;
  bool logits = false;
  for (const Sequence& sequence : active_) {
    wanted += sequence.wanted;
    logits = logits || (sequence.wanted > 0 && NeedsLogits(requests_[sequence.request]));
  }
  results_.resize(wanted);
  logits_.resize(logits ? wanted * vocab_size_ : 0);
  const absl::Duration start = options_.clock->Monotonic();
  MG_RETURN_IF_ERROR(
      runner_.Step(batch_, {absl::MakeSpan(results_), {}, logits ? logits_.data() : nullptr}));
  AddStepTime(absl::ToDoubleSeconds(options_.clock->Monotonic() - start), prompt_rows_,
              static_cast<int64_t>(batch_.tokens.size()) - prompt_rows_, timings_);
  return absl::OkStatus();
}

absl::Status GenerationRun::Step() {
  MG_RETURN_IF_ERROR(Admit(options_.max_batch_tokens));
  BuildBatch();
  MG_RETURN_IF_ERROR(RunBatch());
  size_t segment = 0;
  for (Sequence& sequence : active_) {
    // A sequence that found no room in this step has no segment.
    if (segment < batch_.segments.size() && batch_.segments[segment].slot == sequence.slot) {
      sequence.cached += batch_.segments[segment++].length;
    }
  }
  size_t result = 0;
  next_active_.clear();
  for (size_t i = 0; i < active_.size();) {
    const Sequence& sequence = active_[i];
    if (sequence.wanted == 0) {
      next_active_.push_back(sequence);
      ++i;
      continue;
    }
    if (running_[sequence.request].search != nullptr) {
      const size_t beams = running_[sequence.request].search->beams().size();
      MG_RETURN_IF_ERROR(AdvanceBeams(absl::MakeSpan(active_).subspan(i, beams), result));
      result += beams;
      i += beams;
      continue;
    }
    MG_ASSIGN_OR_RETURN(const bool ended, Take(sequence, result++));
    if (ended) {
      free_slots_.push_back(sequence.slot);
      ++finished_;
    } else {
      next_active_.push_back(sequence);
    }
    ++i;
  }
  active_.swap(next_active_);
  return absl::OkStatus();
}

absl::Span<float> GenerationRun::LogitsOf(size_t result) {
  return absl::MakeSpan(logits_).subspan(result * vocab_size_, vocab_size_);
}

absl::StatusOr<int32_t> GenerationRun::Choose(const Sequence& sequence, size_t result) {
  const GenerationRequest& request = requests_[sequence.request];
  if (!NeedsLogits(request)) return results_[result].argmax;
  Generation& generation = generations_[sequence.request];
  const absl::Span<float> logits = LogitsOf(result);
  std::vector<float> log_probs;
  if (request.log_probs > 0) {
    log_probs.assign(logits.begin(), logits.end());
    LogSoftmax(absl::MakeSpan(log_probs));
  }
  const Sampling& sampling = request.sampling;
  if (sampling.repetition_penalty != 1) {
    sampler_.Penalize(request.prompt, generation.tokens, sampling.repetition_penalty, logits);
  }
  const int32_t token =
      sampling.temperature > 0
          ? sampler_.Draw(sampling, static_cast<uint64_t>(generation.tokens.size()), logits)
          : ArgMax(logits);
  if (request.log_probs > 0) {
    generation.log_probs.push_back({log_probs[token], MostLikely(log_probs, request.log_probs)});
  }
  return token;
}

absl::StatusOr<bool> GenerationRun::Take(const Sequence& sequence, size_t result) {
  const GenerationRequest& request = requests_[sequence.request];
  Generation& generation = generations_[sequence.request];
  MG_ASSIGN_OR_RETURN(const int32_t token, Choose(sequence, result));
  ++timings_.generated_tokens;
  if (std::find(options_.eos_token_ids.begin(), options_.eos_token_ids.end(), token) !=
      options_.eos_token_ids.end()) {
    generation.reason = FinishReason::kEos;
    if (!generation.log_probs.empty())
      generation.log_probs.pop_back();  // it is not among the tokens
    return true;
  }
  generation.tokens.push_back(token);
  if (request.on_token) request.on_token(token);
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

absl::Status GenerationRun::AdvanceBeams(absl::Span<const Sequence> beams, size_t result) {
  const int index = beams[0].request;
  const GenerationRequest& request = requests_[index];
  Running& running = running_[index];
  BeamSearch& search = *running.search;
  for (size_t i = 0; i < beams.size(); ++i) {
    const absl::Span<float> row = LogitsOf(result + i);
    LogSoftmax(row);
    if (request.sampling.repetition_penalty != 1) {
      sampler_.Penalize(request.prompt, search.beams()[i].tokens,
                        request.sampling.repetition_penalty, row);
    }
  }
  timings_.generated_tokens += static_cast<int64_t>(beams.size());
  const absl::Span<const float> log_probs =
      absl::MakeConstSpan(logits_).subspan(result * vocab_size_, beams.size() * vocab_size_);
  MG_ASSIGN_OR_RETURN(const bool over, search.Advance(log_probs, vocab_size_));
  if (over) {
    generations_[index] = search.Result();
    for (const Sequence& beam : beams) free_slots_.push_back(beam.slot);
    free_slots_.insert(free_slots_.end(), running.spare_slots.begin(), running.spare_slots.end());
    running = {};
    ++finished_;
    return absl::OkStatus();
  }
  // The first child of a beam goes on in its slot; the others copy it to slots of beams that have
  // no child. All slots hold the same prompt once they were used, so only what follows it is
  // copied.
  std::vector<int> children(beams.size(), 0);
  for (const BeamSearch::Beam& beam : search.beams()) ++children[beam.parent];
  std::vector<int> stale;  // slots that hold the prompt
  for (size_t i = 0; i < beams.size(); ++i) {
    if (children[i] == 0) stale.push_back(beams[i].slot);
  }
  std::vector<bool> kept(beams.size(), false);
  const int cached = beams[0].cached;
  for (size_t i = 0; i < search.beams().size(); ++i) {
    const int parent = search.beams()[i].parent;
    int slot = beams[parent].slot;
    if (kept[parent]) {
      const bool fresh = stale.empty();
      std::vector<int>& from = fresh ? running.spare_slots : stale;
      slot = from.back();
      from.pop_back();
      const int begin = fresh ? 0 : static_cast<int>(request.prompt.size());
      MG_RETURN_IF_ERROR(runner_.CopyPositions(beams[parent].slot, slot, begin, cached));
    }
    kept[parent] = true;
    next_active_.push_back({index, static_cast<int>(i), slot, cached, 0});
  }
  running.spare_slots.insert(running.spare_slots.end(), stale.begin(), stale.end());
  return absl::OkStatus();
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
