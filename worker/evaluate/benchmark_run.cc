#include "worker/evaluate/benchmark_run.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_forms.h"
#include "worker/benchmark/text_lines.h"
#include "worker/evaluate/stopwatch.h"
#include "worker/text/tokenized_texts.h"
#include "worker/vision/image_prompt.h"

namespace merganser {
namespace {

// Features that requests of one call may take, bytes; with more, there are several calls.
constexpr int64_t kCallBytes = int64_t{1} << 30;

bool HasImages(const Benchmark& benchmark) {
  return std::any_of(benchmark.images().begin(), benchmark.images().end(),
                     [](const auto& images) { return !images.empty(); });
}

// The tokens of the texts between a prompt's pictures, text by text.
absl::StatusOr<std::vector<std::vector<int32_t>>> TextTokens(const Tokenizer& tokenizer, const std::string& prompt) {
  std::vector<std::vector<int32_t>> tokens;
  for (const absl::string_view text : absl::StrSplit(prompt, kImageMark)) {
    MG_ASSIGN_OR_RETURN(tokens.emplace_back(), tokenizer.Encode(text, /*add_special_tokens=*/false));
  }
  return tokens;
}

// The completion ends before the first stop string.
void CutAtStop(const std::vector<std::string>& stops, std::string* text) {
  size_t cut = text->size();
  for (const std::string& stop : stops) cut = std::min(cut, text->find(stop));
  if (cut < text->size()) text->resize(cut);
}

// The texts whose tokens a scoring request is made of.
struct ScoringPieces {
  std::string prompt;
  std::string behind;  // the continuation; if `whole`, prompt and continuation
  bool whole = false;
  bool special = false;  // with special tokens
};

// With JP-LMEH (`apart`) context and continuation each as its own tokens. Else as lm-evaluation-harness splits them: white
// space at the context's end belongs to the continuation, and the continuation's tokens are those of the whole text behind as
// many as the context has by itself; the context keeps its own, even where the whole text would join a token across the seam.
ScoringPieces PiecesOf(const ScoringText& text, bool apart) {
  if (apart || text.context.empty()) return {text.context, text.continuation};
  return {std::string(StripTrailingWhitespace(text.context)), text.context + text.continuation, true, true};
}

// `prefix_token` stands for an empty prompt.
absl::StatusOr<ScoringRequest> RequestOf(const ScoringPieces& pieces, const TokenizedTexts& texts, int32_t prefix_token) {
  ScoringRequest request;
  if (pieces.prompt.empty() && !pieces.whole) {
    request.prompt = {prefix_token};
  } else {
    MG_ASSIGN_OR_RETURN(request.prompt, texts.Encode(pieces.prompt, pieces.special));
  }
  MG_ASSIGN_OR_RETURN(request.continuation, texts.Encode(pieces.behind, pieces.special));
  if (!pieces.whole) return request;
  if (request.continuation.size() <= request.prompt.size()) {
    return absl::InvalidArgumentError("the continuation has no tokens of its own behind the prompt");
  }
  request.continuation.erase(request.continuation.begin(),
                             request.continuation.begin() + static_cast<int64_t>(request.prompt.size()));
  return request;
}

// Drops the beginning of `tokens` so that at most `count` are left, at least `kept`.
void KeepLast(int64_t count, int64_t kept, std::vector<int32_t>* tokens) {
  const int64_t dropped = static_cast<int64_t>(tokens->size()) - std::max(count, kept);
  if (dropped > 0) tokens->erase(tokens->begin(), tokens->begin() + dropped);
}

// A text of any length as requests that fit: each token is scored once, with as much context as there is room for.
std::vector<ScoringRequest> Windows(const std::vector<int32_t>& tokens, int32_t prefix_token, int64_t max_context) {
  std::vector<ScoringRequest> requests;
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t room = std::max<int64_t>(1, max_context - 1);  // beside one token of context
  for (int64_t done = 0; done < count;) {
    const int64_t end = std::min(done + room, count);
    ScoringRequest request;
    if (done == 0) {
      request.prompt = {prefix_token};
    } else {
      request.prompt.assign(tokens.begin() + std::max<int64_t>(0, end - room - 1), tokens.begin() + done);
    }
    request.continuation.assign(tokens.begin() + done, tokens.begin() + end);
    requests.push_back(std::move(request));
    done = end;
  }
  return requests;
}

}  // namespace

absl::Status BenchmarkRun::AddGenerations(const Tokenizer& tokenizer, int64_t max_context, Part* part) const {
  const BenchmarkDefinition& d = part->benchmark->definition();
  const std::vector<std::string>& prompts = part->benchmark->prompts();
  TokenizedTexts texts(tokenizer);
  size_t known = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (i == known) {
      while (known < prompts.size() && !texts.full()) texts.Add(prompts[known++], /*add_special_tokens=*/!d.jp_lmeh);
      texts.Tokenize();
    }
    GenerationRequest request;
    auto prompt = texts.Encode(prompts[i], /*add_special_tokens=*/!d.jp_lmeh);
    if (!prompt.ok()) return Annotate(prompt.status(), absl::StrCat("benchmark '", d.name, "', sample ", i + 1));
    request.prompt = *std::move(prompt);
    request.max_new_tokens = d.max_new_tokens;
    if (d.answer_tokens) {
      const Sample& sample = part->benchmark->samples()[i];
      int longest = 1;
      for (const std::string& reference : sample.references) {
        MG_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, tokenizer.Encode(reference, /*add_special_tokens=*/false));
        longest = std::max(longest, static_cast<int>(tokens.size()));
      }
      request.max_new_tokens = std::min(d.max_new_tokens, longest + *d.answer_tokens);
    }
    if (d.jp_lmeh) KeepLast(max_context - request.max_new_tokens, 1, &request.prompt);
    request.stop = d.stop;
    request.sampling.temperature = d.sampling.temperature;
    request.sampling.top_k = d.sampling.top_k;
    request.sampling.top_p = d.sampling.top_p;
    request.sampling.repetition_penalty = d.sampling.repetition_penalty;
    request.sampling.seed = d.sampling.seed;
    request.sampling.sample = i;
    request.beams.count = d.sampling.beams;
    part->generations.push_back(std::move(request));
  }
  return absl::OkStatus();
}

absl::Status BenchmarkRun::AddImages(Part* part) const {
  const Benchmark& benchmark = *part->benchmark;
  part->positions.resize(part->generations.size());
  for (size_t i = 0; i < benchmark.images().size(); ++i) {
    if (benchmark.images()[i].empty()) continue;
    const auto add = [&]() -> absl::Status {
      if (images_ == nullptr) return absl::InvalidArgumentError("its prompt has a picture, and the model does not see");
      std::vector<int> rows;
      for (const std::string& path : benchmark.images()[i]) {
        MG_ASSIGN_OR_RETURN(rows.emplace_back(), images_->Rows(path));
      }
      GenerationRequest& request = part->generations[i];
      MG_ASSIGN_OR_RETURN(ImagePrompt prompt, ExpandImageTokens(request.prompt, images_->image_token(), rows));
      request.prompt = std::move(prompt.tokens);
      part->positions[i] = std::move(prompt.positions);
      return absl::OkStatus();
    };
    const absl::Status added = add();
    if (!added.ok()) {
      return Annotate(added, absl::StrCat("benchmark '", benchmark.definition().name, "', sample ", i + 1, " (line ",
                                          benchmark.samples()[i].line, ")"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Generation>> BenchmarkRun::GenerateSeeing(const Part& part, const std::vector<int64_t>& samples,
                                                                     Generator& generator, PhaseTimings* timings,
                                                                     std::stop_token stop) const {
  std::vector<Generation> all;
  for (size_t next = 0; next < samples.size();) {
    std::map<std::string, std::shared_ptr<const ImageFeatures>> features;  // of this call
    std::vector<GenerationRequest> requests;
    int64_t bytes = 0;
    {
      Stopwatch watch(&timings->tokenize);
      for (; next < samples.size() && (requests.empty() || bytes < kCallBytes); ++next) {
        const auto sample = static_cast<size_t>(samples[next]);
        GenerationRequest& request = requests.emplace_back(part.generations[sample]);
        const std::vector<std::string>& paths = part.benchmark->images()[sample];
        for (size_t i = 0; i < paths.size(); ++i) {
          std::shared_ptr<const ImageFeatures>& own = features[paths[i]];
          if (own == nullptr) {
            MG_ASSIGN_OR_RETURN(own, images_->Get(paths[i]));
            bytes += static_cast<int64_t>(own->values.size() * sizeof(float));
          }
          request.embeddings.push_back({part.positions[sample][i], own->rows, own->values.data()});
        }
      }
    }
    MG_ASSIGN_OR_RETURN(std::vector<Generation> some, generator.Generate(requests, stop, nullptr));
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

absl::Status BenchmarkRun::AddScorings(const Tokenizer& tokenizer, int64_t max_context, Part* part) const {
  const Benchmark& benchmark = *part->benchmark;
  const auto& continuations = benchmark.continuations();
  const bool rolling = benchmark.definition().output == BenchmarkOutput::kRollingLogLikelihood;
  const bool apart = benchmark.definition().jp_lmeh.has_value();
  const std::optional<int32_t> prefix = tokenizer.bos_id() && !apart ? tokenizer.bos_id() : tokenizer.eos_id();
  TokenizedTexts texts(tokenizer);
  size_t known = 0;
  for (size_t s = 0; s < continuations.size(); ++s) {
    if (s == known) {
      while (known < continuations.size() && !texts.full()) {
        for (const ScoringText& text : continuations[known++]) {
          const ScoringPieces pieces = PiecesOf(text, apart);
          if (pieces.whole || !pieces.prompt.empty()) texts.Add(pieces.prompt, pieces.special);
          texts.Add(pieces.behind, pieces.special);
        }
      }
      texts.Tokenize();
    }
    for (size_t c = 0; c < continuations[s].size(); ++c) {
      const ScoringText& text = continuations[s][c];
      const auto where = [&](const absl::Status& status) {
        return Annotate(status, absl::StrCat("benchmark '", benchmark.definition().name, "', sample ", s + 1));
      };
      if (text.context.empty() && !prefix) {
        return where(absl::InvalidArgumentError(
            absl::StrCat("an empty prompt needs a tokenizer with ", apart ? "an eos token" : "a bos or eos token")));
      }
      std::vector<ScoringRequest> requests;
      auto request = RequestOf(PiecesOf(text, apart), texts, prefix.value_or(0));
      if (!request.ok()) return where(request.status());
      if (rolling) {
        requests = Windows(request->continuation, *prefix, max_context);
      } else {
        if (apart) {  // the last token is scored and never read
          KeepLast(max_context + 1 - static_cast<int64_t>(request->continuation.size()), 1, &request->prompt);
        }
        requests.push_back(*std::move(request));
      }
      for (ScoringRequest& one : requests) {
        part->owners.push_back({s, c});
        part->scorings.push_back(std::move(one));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchmarkRun::Part> BenchmarkRun::Tokenized(const Benchmark& benchmark, const Tokenizer& tokenizer,
                                                           int64_t max_context) const {
  Part part;
  part.benchmark = &benchmark;
  MG_RETURN_IF_ERROR(AddGenerations(tokenizer, max_context, &part));
  MG_RETURN_IF_ERROR(AddScorings(tokenizer, max_context, &part));
  return part;
}

absl::StatusOr<std::unique_ptr<BenchmarkRun>> BenchmarkRun::Create(std::unique_ptr<BenchmarkGroup> group,
                                                                   const Tokenizer& tokenizer, int64_t max_context,
                                                                   ImageFeatureCache* images) {
  std::unique_ptr<BenchmarkRun> run(new BenchmarkRun(std::move(group), tokenizer, images));
  run->max_context_ = max_context;
  for (const auto& benchmark : run->group_->parts()) {
    MG_ASSIGN_OR_RETURN(Part part, run->Tokenized(*benchmark, tokenizer, max_context));
    MG_RETURN_IF_ERROR(run->AddImages(&part));
    const auto add = [&](size_t sample, int64_t prompt, int64_t length, absl::string_view what) {
      run->prompt_tokens_ += prompt;
      run->max_length_ = std::max(run->max_length_, length);
      if (length <= max_context) return absl::OkStatus();
      const BenchmarkDefinition& definition = benchmark->definition();
      return absl::InvalidArgumentError(absl::StrCat(
          LineName(definition.data, benchmark->samples()[sample].line), ": prompt and ", what, " of benchmark '",
          definition.name, "' are ", length, " tokens; the model allows ", max_context, " (max_position_embeddings)"));
    };
    for (size_t i = 0; i < part.generations.size(); ++i) {
      const auto prompt = static_cast<int64_t>(part.generations[i].prompt.size());
      run->new_tokens_ += part.generations[i].max_new_tokens;
      MG_RETURN_IF_ERROR(add(i, prompt, prompt + part.generations[i].max_new_tokens, "new tokens"));
    }
    for (size_t i = 0; i < part.scorings.size(); ++i) {
      const auto length = static_cast<int64_t>(part.scorings[i].prompt.size() + part.scorings[i].continuation.size()) -
                          (benchmark->definition().jp_lmeh ? 1 : 0);
      MG_RETURN_IF_ERROR(add(part.owners[i].sample, length, length, "continuation"));
    }
    run->samples_ += static_cast<int64_t>(benchmark->samples().size());
    run->parts_.push_back(std::move(part));
  }
  return run;
}

absl::Status BenchmarkRun::CheckSameTokens(const Tokenizer& other) const {
  for (const Part& part : parts_) {
    MG_ASSIGN_OR_RETURN(const Part read, Tokenized(*part.benchmark, other, max_context_));
    const auto differs = [&](size_t sample) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", sample + 1, " of benchmark '", part.benchmark->definition().name, "'"));
    };
    for (size_t i = 0; i < part.generations.size(); ++i) {
      if (!part.benchmark->images()[i].empty()) {
        // Only a model that sees has a token for pictures.
        const std::string& prompt = part.benchmark->prompts()[i];
        MG_ASSIGN_OR_RETURN(const auto own, TextTokens(tokenizer_, prompt));
        MG_ASSIGN_OR_RETURN(const auto others, TextTokens(other, prompt));
        if (own != others) return differs(i);
      } else if (read.generations[i].prompt != part.generations[i].prompt) {
        return differs(i);
      }
    }
    if (read.scorings.size() != part.scorings.size()) return differs(0);
    for (size_t i = 0; i < part.scorings.size(); ++i) {
      if (read.scorings[i].prompt != part.scorings[i].prompt ||
          read.scorings[i].continuation != part.scorings[i].continuation) {
        return differs(part.owners[i].sample);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchmarkResult> BenchmarkRun::RunPart(const Part& part, const std::vector<int64_t>& samples,
                                                      Generator& generator, PhaseTimings* timings,
                                                      std::stop_token stop) const {
  const bool all = samples.size() == part.benchmark->samples().size();
  if (!part.scorings.empty()) {
    std::vector<int64_t> place(part.benchmark->samples().size(), -1);  // of a sample among `samples`
    for (size_t i = 0; i < samples.size(); ++i) place[static_cast<size_t>(samples[i])] = static_cast<int64_t>(i);
    std::vector<ScoringRequest> requests;
    std::vector<Owner> owners;
    for (size_t i = 0; i < part.scorings.size(); ++i) {
      if (place[part.owners[i].sample] < 0) continue;
      owners.push_back(part.owners[i]);
      if (!all) requests.push_back(part.scorings[i]);
    }
    MG_ASSIGN_OR_RETURN(const std::vector<Score> found,
                        generator.LogLikelihood(all ? part.scorings : requests, stop, nullptr));
    Stopwatch watch(&timings->score);
    std::vector<std::vector<ContinuationScore>> scores;
    for (const int64_t sample : samples) {
      scores.emplace_back(part.benchmark->continuations()[static_cast<size_t>(sample)].size(), ContinuationScore{0, true});
    }
    for (size_t i = 0; i < found.size(); ++i) {
      ContinuationScore& score = scores[static_cast<size_t>(place[owners[i].sample])][owners[i].continuation];
      score.log_likelihood += found[i].log_likelihood;
      score.is_greedy = score.is_greedy && found[i].is_greedy;
    }
    return part.benchmark->Score(scores, samples);
  }
  std::vector<Generation> generations;
  if (HasImages(*part.benchmark)) {
    MG_ASSIGN_OR_RETURN(generations, GenerateSeeing(part, samples, generator, timings, stop));
  } else {
    std::vector<GenerationRequest> some;
    if (!all) {
      for (const int64_t sample : samples) some.push_back(part.generations[static_cast<size_t>(sample)]);
    }
    MG_ASSIGN_OR_RETURN(generations, generator.Generate(all ? part.generations : some, stop, nullptr));
  }
  std::vector<std::string> completions;
  completions.reserve(generations.size());
  {
    Stopwatch watch(&timings->tokenize);
    for (const Generation& generation : generations) {
      MG_ASSIGN_OR_RETURN(std::string text, tokenizer_.Decode(generation.tokens, /*skip_special_tokens=*/true));
      CutAtStop(part.benchmark->definition().stop, &text);
      completions.push_back(std::move(text));
    }
  }
  Stopwatch watch(&timings->score);
  return part.benchmark->Score(completions, samples);
}

absl::StatusOr<BenchmarkResult> BenchmarkRun::Run(Generator& generator, const std::vector<int64_t>& samples,
                                                  PhaseTimings* timings, std::stop_token stop) const {
  std::vector<BenchmarkResult> results;
  int64_t first = 0;  // of the part's samples
  for (const Part& part : parts_) {
    const auto count = static_cast<int64_t>(part.benchmark->samples().size());
    std::vector<int64_t> drawn;
    for (const int64_t sample : samples) {
      if (sample >= first && sample < first + count) drawn.push_back(sample - first);
    }
    first += count;
    if (drawn.empty()) {
      results.emplace_back();
      continue;
    }
    absl::StatusOr<BenchmarkResult> result = RunPart(part, drawn, generator, timings, stop);
    if (!result.ok()) {
      return Annotate(result.status(), absl::StrCat("benchmark '", part.benchmark->definition().name, "'"));
    }
    results.push_back(*std::move(result));
  }
  return group_->Combine(std::move(results));
}

}  // namespace merganser
