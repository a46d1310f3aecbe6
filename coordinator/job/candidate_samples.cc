#include "coordinator/job/candidate_samples.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sample_draw.h"

namespace merganser {
namespace {

const BenchmarkSpec* FindBenchmark(const JobSpec& spec, const std::string& name) {
  const auto found =
      std::find_if(spec.benchmarks.begin(), spec.benchmarks.end(), [&](const BenchmarkSpec& b) { return b.name == name; });
  return found == spec.benchmarks.end() ? nullptr : &*found;
}

template <typename T>
void Inherit(const std::optional<T>& base, std::optional<T>* value) {
  if (!value->has_value()) *value = base;
}

// What the benchmark is once those of the job that it extends are taken in; without its name and limit.
BenchmarkSpec Resolved(const JobSpec& spec, BenchmarkSpec b) {
  const BenchmarkSpec plain;
  for (size_t depth = 0; depth < spec.benchmarks.size(); ++depth) {
    const BenchmarkSpec* base = b.use == b.name ? nullptr : FindBenchmark(spec, b.use);
    if (base == nullptr) break;
    b.use = base->use;
    if (b.data.empty()) b.data = base->data;
    Inherit(base->prompt, &b.prompt);
    Inherit(base->max_new_tokens, &b.max_new_tokens);
    Inherit(base->stop, &b.stop);
    Inherit(base->extract, &b.extract);
    Inherit(base->language, &b.language);
    if (b.question_field == plain.question_field) b.question_field = base->question_field;
    if (b.answer_field == plain.answer_field) b.answer_field = base->answer_field;
  }
  b.name.clear();
  b.limit.reset();
  return b;
}

}  // namespace

bool KeepsScores(const JobSpec& spec) {
  if (spec.samples.per_generation == 0 && !spec.samples.racing) return false;
  const auto tokens = [](const auto& of) { return of.benchmark == kCostBenchmark && of.metric == kTokensMetric; };
  return std::none_of(spec.objectives.begin(), spec.objectives.end(), tokens) &&
         std::none_of(spec.constraints.begin(), spec.constraints.end(), tokens);
}

bool SharesScores(CandidateKind kind) { return kind != CandidateKind::kPrepare && kind != CandidateKind::kHeldOut; }

int64_t SamplesPerCandidate(const JobSpec& spec, const JobFacts& facts) {
  int64_t samples = 0;
  for (const std::string& name : SearchBenchmarks(spec)) {
    const auto all = facts.samples.find(name);
    if (all == facts.samples.end()) continue;
    const int64_t drawn = spec.samples.per_generation;
    samples += drawn > 0 ? std::min(drawn, all->second) : all->second;
  }
  return samples;
}

std::vector<int64_t> SamplesOf(const JobSpec& spec, const JobFacts& facts, const std::string& requested) {
  const BenchmarkRequest request = ParseBenchmarkRequest(requested);
  const auto total = facts.samples.find(request.benchmark);
  if (total == facts.samples.end()) return {};
  return RequestedSamples(request, spec.seed, spec.samples.per_generation, total->second);
}

std::vector<int64_t> SamplesDue(const JobSpec& spec, const JobFacts& facts, const Candidate& candidate,
                                const std::string& requested) {
  std::vector<int64_t> samples = SamplesOf(spec, facts, requested);
  if (candidate.blocks == 0 || !spec.samples.racing) return samples;
  const auto due = static_cast<size_t>(candidate.blocks * spec.samples.racing->block);
  if (due >= samples.size()) return samples;
  samples = ShuffledSamples(std::move(samples), spec.seed, ParseBenchmarkRequest(requested).benchmark, candidate.generation);
  samples.resize(due);
  std::sort(samples.begin(), samples.end());
  return samples;
}

int64_t BlocksOf(const JobSpec& spec, const JobFacts& facts, const Candidate& candidate) {
  if (candidate.blocks == 0 || !spec.samples.racing) return 0;
  const int64_t block = spec.samples.racing->block;
  int64_t blocks = 1;
  for (const std::string& requested : candidate.benchmarks) {
    const auto samples = static_cast<int64_t>(SamplesOf(spec, facts, requested).size());
    blocks = std::max(blocks, (samples + block - 1) / block);
  }
  return blocks;
}

std::string SharedName(const JobSpec& spec, const std::string& benchmark) {
  const BenchmarkSpec* own = FindBenchmark(spec, benchmark);
  if (own == nullptr) return benchmark;
  const BenchmarkSpec resolved = Resolved(spec, *own);
  for (const BenchmarkSpec& other : spec.benchmarks) {
    if (Resolved(spec, other) == resolved) return other.name;
  }
  return benchmark;
}

const SampleScores* KnownScores(const JobState& state, const Candidate& candidate, const std::string& benchmark) {
  const auto recipe_of = [&state](int64_t number) { return state.RecipeOf(number); };
  const std::string& shared = state.shared_name(benchmark);
  // One that is over is in the state without its recipe.
  if (IsTerminal(candidate.state)) return state.known_samples().Find(recipe_of, recipe_of(candidate.number), shared);
  return state.known_samples().Find(recipe_of, candidate.recipe, shared);
}

std::vector<std::string> BenchmarksToRun(const JobState& state, const Candidate& candidate) {
  const JobSpec& spec = state.spec();
  if (!KeepsScores(spec) || !SharesScores(candidate.kind) || !state.facts().has_value()) return candidate.benchmarks;
  std::vector<std::string> run;
  for (const std::string& requested : candidate.benchmarks) {
    const std::string name = ParseBenchmarkRequest(requested).benchmark;
    const SampleScores* known = KnownScores(state, candidate, name);
    if (known == nullptr && candidate.blocks == 0) {  // nearly always, and asked of every queued candidate: nothing is drawn
      run.push_back(requested);
      continue;
    }
    std::vector<int64_t> samples = SamplesDue(spec, *state.facts(), candidate, requested);
    const size_t due = samples.size();
    if (known != nullptr) std::erase_if(samples, [&](int64_t i) { return known->scored.Has(i); });
    if (due > 0 && samples.empty()) continue;
    const bool whole = samples.size() == SamplesOf(spec, *state.facts(), requested).size();
    run.push_back(whole ? requested : ListedBenchmark(name, samples));
  }
  return run;
}

absl::Status CheckScores(const JobState& state) {
  const JobSpec& spec = state.spec();
  const bool information = spec.samples.choose == kChooseInformation;
  if (!spec.samples.racing && !information) return absl::OkStatus();
  const std::string field = spec.samples.racing ? "samples.racing" : "samples.choose";
  for (const Candidate& candidate : state.candidates()) {
    const bool baseline = candidate.kind == CandidateKind::kSource || candidate.kind == CandidateKind::kAverage;
    if (!baseline || candidate.state != CandidateState::kSucceeded) continue;
    for (const Objective& objective : spec.objectives) {
      if (objective.benchmark == kCostBenchmark) continue;
      const std::string name = absl::StrCat(objective.benchmark, ".", objective.metric);
      const SampleScores* known = KnownScores(state, candidate, objective.benchmark);
      if (known == nullptr || !known->Has(objective.metric)) {
        return absl::InvalidArgumentError(
            absl::StrCat(field, ": ", name, " is no mean over samples, so candidates cannot be compared sample by sample"));
      }
      const std::vector<double>& values = known->metrics.at(objective.metric).values;
      const auto is_share = [](double value) { return value >= 0 && value <= 1; };
      if (information && !std::all_of(values.begin(), values.end(), is_share)) {
        return absl::InvalidArgumentError(
            absl::StrCat("samples.choose: ", name, " has samples outside [0, 1], and the item response model is of shares"));
      }
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace merganser
