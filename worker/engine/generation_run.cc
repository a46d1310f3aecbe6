#include "worker/engine/generation_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "worker/engine/prompt_embeddings.h"
#include "worker/engine/shared_prefix.h"

namespace merganser {
namespace {

// Logits of the rows of one step: a prompt that is scored is taken in pieces that need no more.
constexpr int64_t kLogitsMax = int64_t{1} << 24;

// What the runner says of a row is enough for greedy decoding, and for the log-probability of the best token.
bool ChoosesByLogits(const GenerationRequest& request) {
  return request.beams.count > 1 || request.log_probs > 1 || request.sampling.temperature > 0 ||
         request.sampling.repetition_penalty != 1;
}

}  // namespace

GenerationRun::GenerationRun(ModelRunner& runner, const EngineOptions& options, int64_t vocab_size, int64_t hidden_size,
                             GenerationTimings& timings)
    : runner_(runner),
      options_(options),
      vocab_size_(vocab_size),
      hidden_size_(hidden_size),
      timings_(timings),
      memory_(options.max_sequences),
      sampler_(vocab_size) {
  for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

bool GenerationRun::NeedsLogits(const Sequence& sequence) const {
  return ChoosesByLogits(*entries_[sequence.entry].request);
}

void GenerationRun::BuildBatch() {
  batch_.tokens.clear();
  batch_.segments.clear();
  batch_.embeddings.clear();
  batch_.targets.clear();
  batch_.log_sums = false;
  prompt_rows_ = 0;
  const bool logits = std::any_of(active_.begin(), active_.end(), [&](const Sequence& s) { return NeedsLogits(s); });
  // Rows with results that prompts may have in this step.
  int64_t scored_rows = logits ? std::max<int64_t>(1, kLogitsMax / vocab_size_) : options_.max_batch_tokens;
  int results = 0;
  for (Sequence& sequence : active_) {
    const Entry& entry = entries_[sequence.entry];
    const GenerationRequest& request = *entry.request;
    const std::vector<int32_t>& prompt = request.prompt;
    const int left = static_cast<int>(prompt.size()) - sequence.cached;
    sequence.next = left <= 0;
    sequence.wanted = 0;
    batch_.log_sums = batch_.log_sums || request.log_probs == 1;
    if (left <= 0) {
      sequence.wanted = 1;
      ++results;
      batch_.tokens.push_back(entry.search == nullptr ? entry.generation.tokens.back()
                                                      : entry.search->beams()[sequence.beam].tokens.back());
      batch_.segments.push_back({sequence.slot, sequence.cached, 1, 1});
      continue;
    }
    int piece = std::min(left, options_.max_batch_tokens - prompt_rows_);
    if (request.score_prompt) piece = static_cast<int>(std::min<int64_t>(piece, scored_rows));
    if (piece <= 0) continue;
    sequence.next = piece == left;
    sequence.wanted = request.score_prompt ? piece : sequence.next ? 1 : 0;
    if (request.score_prompt) {
      scored_rows -= piece;
      const int end = std::min(sequence.cached + piece, static_cast<int>(prompt.size()) - 1);
      for (int t = sequence.cached; t < end; ++t) batch_.targets.push_back({results + t - sequence.cached, prompt[t + 1]});
    }
    results += sequence.wanted;
    prompt_rows_ += piece;
    batch_.tokens.insert(batch_.tokens.end(), prompt.begin() + sequence.cached, prompt.begin() + sequence.cached + piece);
    AddPromptEmbeddings(request.embeddings, sequence.cached, piece, hidden_size_, batch_);
    batch_.segments.push_back({sequence.slot, sequence.cached, piece, sequence.wanted, static_cast<int>(prompt.size())});
  }
}

absl::Status GenerationRun::RunBatch() {
  if (!batch_.embeddings.empty()) batch_.embeddings.resize(batch_.tokens.size(), nullptr);
  size_t wanted = 0;
  bool logits = false;
  for (const Sequence& sequence : active_) {
    wanted += sequence.wanted;
    logits = logits || (sequence.wanted > 0 && NeedsLogits(sequence));
  }
  results_.resize(wanted);
  target_log_probs_.resize(batch_.targets.size());
  next_target_ = 0;
  logits_.resize(logits ? wanted * vocab_size_ : 0);
  const absl::Duration start = options_.clock->Monotonic();
  MG_RETURN_IF_ERROR(runner_.Step(
      batch_, {absl::MakeSpan(results_), absl::MakeSpan(target_log_probs_), logits ? logits_.data() : nullptr}));
  AddStepTime(absl::ToDoubleSeconds(options_.clock->Monotonic() - start), prompt_rows_,
              static_cast<int64_t>(batch_.tokens.size()) - prompt_rows_, timings_);
  return absl::OkStatus();
}

void GenerationRun::RememberStep() {
  size_t begin = 0;
  ForgetEmbeddedTokens(batch_);
  for (const Segment& segment : batch_.segments) {
    memory_.Extend(segment.slot, segment.past, absl::MakeConstSpan(batch_.tokens).subspan(begin, segment.length));
    begin += segment.length;
  }
}

absl::Status GenerationRun::Step() {
  MG_RETURN_IF_ERROR(Admit(options_.max_batch_tokens));
  BuildBatch();
  MG_RETURN_IF_ERROR(RunBatch());
  if (reuse_) RememberStep();
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
    const Entry& entry = entries_[sequence.entry];
    if (entry.request->score_prompt && sequence.wanted > 0) TakePromptScores(sequence, result);
    if (!sequence.next) {
      result += sequence.wanted;
      next_active_.push_back(sequence);
      ++i;
      continue;
    }
    if (entry.search != nullptr) {
      const size_t beams = entry.search->beams().size();
      MG_RETURN_IF_ERROR(AdvanceBeams(absl::MakeSpan(active_).subspan(i, beams), result));
      result += beams;
      i += beams;
      continue;
    }
    result += sequence.wanted;
    MG_ASSIGN_OR_RETURN(const bool ended, Take(sequence, result - 1));
    if (ended) {
      free_slots_.push_back(sequence.slot);
      End(sequence.entry, entries_[sequence.entry].generation.reason);
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

void GenerationRun::TakePromptScores(const Sequence& sequence, size_t result) {
  Entry& entry = entries_[sequence.entry];
  const GenerationRequest& request = *entry.request;
  const int size = static_cast<int>(request.prompt.size());
  std::vector<Generation::Position>& scores = entry.generation.prompt_log_probs;
  const int first = sequence.cached - sequence.wanted;  // position of the first result; after the prompt there are none
  if (first >= size) return;
  if (static_cast<int>(scores.size()) < first) scores = memory_.Scores(sequence.slot, first, request.log_probs);
  std::vector<float> log_probs;
  for (int i = 0; i < sequence.wanted && first + i + 1 < size; ++i) {
    const int32_t token = request.prompt[first + i + 1];
    Generation::Position position{target_log_probs_[next_target_++], {}};
    if (request.log_probs > 1) {
      const absl::Span<const float> logits = LogitsOf(result + i);
      log_probs.assign(logits.begin(), logits.end());
      LogSoftmax(absl::MakeSpan(log_probs));
      position = {log_probs[token], MostLikely(log_probs, request.log_probs)};
    } else if (request.log_probs == 1) {
      const RowResult& row = results_[result + i];
      // The token's own number where it is the best: a client may compare them.
      position.best = {{row.argmax, row.argmax == token ? position.log_prob : row.max - row.log_sum}};
    }
    if (reuse_) memory_.AddScore(sequence.slot, position, request.log_probs);
    scores.push_back(std::move(position));
  }
  if (sequence.next && entry.served != nullptr) entry.served->OnPrompt(std::move(scores));
}

absl::StatusOr<int32_t> GenerationRun::Choose(const Sequence& sequence, size_t result) {
  Entry& entry = entries_[sequence.entry];
  const GenerationRequest& request = *entry.request;
  Generation& generation = entry.generation;
  if (!ChoosesByLogits(request)) {
    const RowResult& row = results_[result];
    if (request.log_probs == 1) {
      const double log_prob = row.max - row.log_sum;
      generation.log_probs.push_back({log_prob, {{row.argmax, log_prob}}});
    }
    return row.argmax;
  }
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
  const int32_t token = sampling.temperature > 0
                            ? sampler_.Draw(sampling, static_cast<uint64_t>(generation.tokens.size()), logits)
                            : ArgMax(logits);
  if (request.log_probs > 0) {
    generation.log_probs.push_back({log_probs[token], MostLikely(log_probs, request.log_probs)});
  }
  return token;
}

absl::StatusOr<bool> GenerationRun::Take(const Sequence& sequence, size_t result) {
  Entry& entry = entries_[sequence.entry];
  const GenerationRequest& request = *entry.request;
  Generation& generation = entry.generation;
  if (request.max_new_tokens == 0) return true;
  MG_ASSIGN_OR_RETURN(const int32_t token, Choose(sequence, result));
  ++timings_.generated_tokens;
  const bool eos =
      std::find(options_.eos_token_ids.begin(), options_.eos_token_ids.end(), token) != options_.eos_token_ids.end();
  if (entry.served != nullptr) {
    entry.served->OnToken(token, eos, request.log_probs > 0 ? &generation.log_probs.back() : nullptr);
  }
  if (eos) {
    generation.reason = FinishReason::kEos;
    if (!generation.log_probs.empty()) generation.log_probs.pop_back();  // it is not among the tokens
    return true;
  }
  generation.tokens.push_back(token);
  if (request.on_token && entry.served == nullptr) request.on_token(token);
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
  const int index = beams[0].entry;
  Entry& running = entries_[index];
  const GenerationRequest& request = *running.request;
  BeamSearch& search = *running.search;
  for (size_t i = 0; i < beams.size(); ++i) {
    const absl::Span<float> row = LogitsOf(result + i);
    LogSoftmax(row);
    if (request.sampling.repetition_penalty != 1) {
      sampler_.Penalize(request.prompt, search.beams()[i].tokens, request.sampling.repetition_penalty, row);
    }
  }
  timings_.generated_tokens += static_cast<int64_t>(beams.size());
  const absl::Span<const float> log_probs =
      absl::MakeConstSpan(logits_).subspan(result * vocab_size_, beams.size() * vocab_size_);
  MG_ASSIGN_OR_RETURN(const bool over, search.Advance(log_probs, vocab_size_));
  if (over) {
    running.generation = search.Result();
    for (const Sequence& beam : beams) free_slots_.push_back(beam.slot);
    free_slots_.insert(free_slots_.end(), running.spare_slots.begin(), running.spare_slots.end());
    running.search.reset();
    running.spare_slots.clear();
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
    next_active_.push_back({index, static_cast<int>(i), slot, cached});
  }
  running.spare_slots.insert(running.spare_slots.end(), stale.begin(), stale.end());
  return absl::OkStatus();
}

absl::StatusOr<bool> GenerationRun::HasStopString(const GenerationRequest& request, absl::Span<const int32_t> tokens) const {
  size_t longest = 0;
  for (const std::string& stop : request.stop) longest = std::max(longest, stop.size());
  // A string that appears now ends in the last token. A token is at least a byte, so it begins
  // within `longest` tokens; a few more keep away from the tail's start, where decoders trim blanks
  // and broken characters.
  const size_t tail = std::min(tokens.size(), longest + 8);
  MG_ASSIGN_OR_RETURN(const std::string text, options_.decode(tokens.subspan(tokens.size() - tail)));
  return std::any_of(request.stop.begin(), request.stop.end(),
                     [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
}

void GenerationRun::End(int entry, absl::StatusOr<FinishReason> reason) {
  ++finished_;
  Entry& ended = entries_[entry];
  if (ended.served == nullptr) return;
  ended.served->OnEnd(std::move(reason));
  ended = {};
  free_entries_.push_back(entry);
}

absl::StatusOr<std::vector<Generation>> GenerationRun::Run(absl::Span<const GenerationRequest> requests, bool reuse,
                                                           std::stop_token stop, const GenerationProgress& progress) {
  // Beams copy slots among themselves, and the scores of a prompt need all of its positions.
  reuse_ = reuse && std::none_of(requests.begin(), requests.end(), [](const GenerationRequest& request) {
             return request.beams.count > 1 || request.score_prompt;
           });
  entries_.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) entries_[i].request = &requests[i];
  std::vector<int> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  // The longest first, so that a memory limit shows at once and the tail of the run is short.
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return requests[a].prompt.size() > requests[b].prompt.size(); });
  waiting_.assign(order.rbegin(), order.rend());
  if (reuse && !requests.empty()) MG_RETURN_IF_ERROR(ComputeSharedPrefix());
  while (finished_ < requests.size()) {
    if (stop.stop_requested()) return absl::CancelledError("generation was cancelled");
    MG_RETURN_IF_ERROR(Step());
    if (progress) progress(finished_, requests.size());
  }
  std::vector<Generation> generations;
  generations.reserve(entries_.size());
  for (Entry& entry : entries_) generations.push_back(std::move(entry.generation));
  return generations;
}

void GenerationRun::TakeRequests(RequestFeed& feed, const std::function<absl::Status(const GenerationRequest&)>& check,
                                 std::stop_token stop) {
  const size_t busy = active_.size() + waiting_.size();
  const size_t room = options_.max_sequences - std::min<size_t>(options_.max_sequences, busy);
  if (room == 0) return;
  for (std::shared_ptr<ServedRequest>& served : feed.Take(room, /*wait=*/busy == 0, stop)) {
    if (const absl::Status status = check(served->request()); !status.ok()) {
      served->OnEnd(status);
      continue;
    }
    if (free_entries_.empty()) {
      free_entries_.push_back(static_cast<int>(entries_.size()));
      entries_.emplace_back();
    }
    const int index = free_entries_.back();
    free_entries_.pop_back();
    entries_[index].request = &served->request();
    entries_[index].served = std::move(served);
    waiting_.push_front(index);
  }
}

void GenerationRun::DropAbandoned() {
  // Asked once for each: the answer may change at any time.
  std::vector<int> ended;
  std::erase_if(waiting_, [&](int entry) {
    if (!entries_[entry].served->abandoned()) return false;
    ended.push_back(entry);
    return true;
  });
  std::erase_if(active_, [&](const Sequence& sequence) {
    if (!entries_[sequence.entry].served->abandoned()) return false;
    ended.push_back(sequence.entry);
    free_slots_.push_back(sequence.slot);
    return true;
  });
  for (const int entry : ended) End(entry, absl::CancelledError("the request was abandoned"));
}

void GenerationRun::EndAll(const absl::Status& status) {
  for (size_t entry = 0; entry < entries_.size(); ++entry) {
    if (entries_[entry].served != nullptr) End(static_cast<int>(entry), status);
  }
  waiting_.clear();
  active_.clear();
  free_slots_.clear();
  for (int slot = options_.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  memory_ = SlotMemory(options_.max_sequences);
}

absl::Status GenerationRun::Serve(RequestFeed& feed, const std::function<absl::Status(const GenerationRequest&)>& check,
                                  bool reuse, std::stop_token stop) {
  reuse_ = reuse;
  while (!stop.stop_requested()) {
    TakeRequests(feed, check, stop);
    DropAbandoned();
    if (active_.empty() && waiting_.empty()) continue;
    if (const absl::Status status = Step(); !status.ok()) EndAll(status);
  }
  EndAll(absl::CancelledError("the server is stopping"));
  return absl::OkStatus();
}

}  // namespace merganser
