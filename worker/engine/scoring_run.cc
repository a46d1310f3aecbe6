#include "worker/engine/scoring_run.h"

#include <algorithm>
#include <limits>
#include <map>

#include "common/base/status_macros.h"
#include "worker/engine/shared_prefix.h"

namespace merganser {

ScoringRun::ScoringRun(ModelRunner& runner, const EngineOptions& options, absl::Span<const ScoringRequest> requests,
                       bool branches, GenerationTimings& timings)
    : runner_(runner),
      options_(options),
      requests_(requests),
      branch_rows_(branches ? runner.branch_rows() : 0),
      timings_(timings),
      scores_(requests.size()) {
  const auto shorter = [](const std::vector<int32_t>* a, const std::vector<int32_t>* b) {
    return a->size() != b->size() ? a->size() > b->size() : *a < *b;
  };
  std::map<const std::vector<int32_t>*, Group, decltype(shorter)> by_prompt(shorter);
  for (size_t i = 0; i < requests.size(); ++i) {
    by_prompt[&requests[i].prompt].requests.push_back(static_cast<int>(i));
    scores_[i].is_greedy = true;
    scores_[i].tokens = static_cast<int>(requests[i].continuation.size());
    scores_[i].scores.resize(requests[i].continuation.size());
  }
  for (auto& [prompt, group] : by_prompt) {
    // A single continuation runs with its context.
    if (group.requests.size() > 1) group.trees = MakeScoringTrees(requests, group.requests, branch_rows_);
    groups_.push_back(std::move(group));
  }
}

ScoringRun::Stream ScoringRun::Context(const Group& group, int slot) const {
  const std::vector<int32_t>& prompt = requests_[group.requests[0]].prompt;
  Stream stream{slot, shared_prefix_, {prompt.begin() + shared_prefix_, prompt.end()}, 0, {}};
  stream.first_output = static_cast<int>(stream.tokens.size()) - 1;
  if (group.requests.size() > 1) {
    stream.wanted.emplace_back();
    for (const int request : group.requests) stream.wanted[0].push_back({request, 0});
    return stream;
  }
  // The last token of a continuation is only a target and never an input.
  const std::vector<int32_t>& continuation = requests_[group.requests[0]].continuation;
  stream.tokens.insert(stream.tokens.end(), continuation.begin(), continuation.end() - 1);
  for (size_t i = 0; i < continuation.size(); ++i) {
    stream.wanted.push_back({{group.requests[0], static_cast<int>(i)}});
  }
  return stream;
}

void ScoringRun::AddTree(const ScoringTree& tree, int slot, std::vector<Stream>* streams) {
  for (const ScoringTree::Node& node : tree.nodes) {
    streams->push_back({slot, node.position, node.tokens, 0, node.wanted, node.spans});
  }
}

absl::Status ScoringRun::RunStreams(std::vector<Stream> streams, std::stop_token stop) {
  size_t first = 0;  // before it all are done
  while (first < streams.size()) {
    if (stop.stop_requested()) return absl::CancelledError("scoring was cancelled");
    MG_RETURN_IF_ERROR(RunStep(streams, first));
    while (first < streams.size() && streams[first].done == static_cast<int>(streams[first].tokens.size())) {
      ++first;
    }
  }
  return absl::OkStatus();
}

absl::Status ScoringRun::RunStep(std::vector<Stream>& streams, size_t first) {
  StepBatch batch;
  std::vector<Wanted> wanted;  // of the targets
  int rows = 0;
  for (size_t i = first; i < streams.size(); ++i) {
    Stream& stream = streams[i];
    const int left = static_cast<int>(stream.tokens.size()) - stream.done;
    const int piece = std::min(left, options_.max_batch_tokens - static_cast<int>(batch.tokens.size()));
    if (piece == 0) break;
    const int end = stream.done + piece;
    const int outputs = std::clamp(end - stream.first_output, 0, piece);
    for (int t = end - outputs; t < end; ++t, ++rows) {
      for (const Wanted& w : stream.wanted[t - stream.first_output]) {
        batch.targets.push_back({rows, requests_[w.request].continuation[w.index]});
        wanted.push_back(w);
      }
    }
    batch.tokens.insert(batch.tokens.end(), stream.tokens.begin() + stream.done, stream.tokens.begin() + end);
    batch.segments.push_back(
        {stream.slot, stream.past + stream.done, piece, outputs, stream.past + static_cast<int>(stream.tokens.size())});
    if (stream.spans.size() > 1) {
      batch.segments.back().branch = static_cast<int>(batch.branches.size());
      batch.branches.push_back(stream.spans);
    }
    stream.done = end;
  }
  std::vector<RowResult> results(rows);
  std::vector<double> log_probs(batch.targets.size());
  const absl::Duration start = options_.clock->Monotonic();
  MG_RETURN_IF_ERROR(runner_.Step(batch, {absl::MakeSpan(results), absl::MakeSpan(log_probs)}));
  AddStepTime(absl::ToDoubleSeconds(options_.clock->Monotonic() - start), static_cast<int64_t>(batch.tokens.size()), 0,
              timings_);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const RowResult& row = results[batch.targets[i].result];
    Score& score = scores_[wanted[i].request];
    score.scores[wanted[i].index] = {log_probs[i], row.argmax, row.max - row.log_sum};
    score.is_greedy = score.is_greedy && row.argmax == batch.targets[i].token;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Score>> ScoringRun::Run(std::stop_token stop, const GenerationProgress& progress) {
  std::vector<const std::vector<int32_t>*> prompts;
  for (const Group& group : groups_) prompts.push_back(&requests_[group.requests[0]].prompt);
  MG_ASSIGN_OR_RETURN(shared_prefix_,
                      PrefillSharedPrefix(runner_, options_, prompts, std::numeric_limits<int>::max(), timings_));

  size_t finished = 0;
  for (size_t begin = 0; begin < groups_.size(); begin += options_.max_sequences) {
    const size_t end = std::min(groups_.size(), begin + options_.max_sequences);
    std::vector<Stream> streams;
    size_t rounds = 0;
    // Behind their contexts in the same step, or, where a slot takes one segment of it, from the next one on.
    const size_t with_context = branch_rows_ > 0 ? 1 : 0;
    for (size_t g = begin; g < end; ++g) {
      const int slot = static_cast<int>(g - begin);
      if (shared_prefix_ > 0) {
        MG_RETURN_IF_ERROR(runner_.CopyPositions(options_.max_sequences, slot, 0, shared_prefix_));
      }
      const Group& group = groups_[g];
      streams.push_back(Context(group, slot));
      if (with_context > 0 && !group.trees.empty()) AddTree(group.trees[0], slot, &streams);
      rounds = std::max(rounds, group.trees.size());
      finished += group.requests.size();
    }
    MG_RETURN_IF_ERROR(RunStreams(std::move(streams), stop));
    for (size_t round = with_context; round < rounds; ++round) {
      streams.clear();
      for (size_t g = begin; g < end; ++g) {
        if (round < groups_[g].trees.size()) AddTree(groups_[g].trees[round], static_cast<int>(g - begin), &streams);
      }
      MG_RETURN_IF_ERROR(RunStreams(std::move(streams), stop));
    }
    if (progress) progress(finished, requests_.size());
  }
  // In the continuation's order, whatever the steps' was: the sum rounds the same everywhere.
  for (Score& score : scores_) {
    for (const TokenScore& token : score.scores) score.log_likelihood += token.log_prob;
  }
  return std::move(scores_);
}

}  // namespace merganser
