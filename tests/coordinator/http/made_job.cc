#include "tests/coordinator/http/made_job.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/sha256.h"
#include "common/codec/job_codec.h"
#include "common/codec/time_codec.h"
#include "common/store/results_store.h"

namespace merganser {
namespace {

constexpr absl::Duration kPerCandidate = absl::Seconds(2);

JobSpec SpecOf(const MadeJobOptions& options) {
  JobSpec spec;
  spec.name = options.name;
  spec.seed = 7;
  spec.models = {{"base", "/models/base"}, {"ja", "/models/ja"}, {"math", "org/math"}};
  spec.parameter.method = "dare_ties";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds = {{"weight", {0, 2}}, {"density", {0.1, 1}}};
  spec.objectives = {{"task", "acc_ja"}};
  if (options.objectives > 1) spec.objectives.push_back({"english", "acc"});
  for (const char* name : {"task", "english", "test"}) {
    BenchmarkSpec benchmark;
    benchmark.name = name;
    benchmark.use = "mgsm_ja";
    benchmark.data = absl::StrCat("/data/", name, ".jsonl");
    (benchmark.name == "test" ? spec.held_out : spec.benchmarks).push_back(benchmark);
  }
  spec.budget.candidates = options.candidates;
  return spec;
}

Recipe Merge(const JobSpec& spec, int layers, double drift, Rng* rng) {
  Recipe recipe;
  recipe.models = spec.models;
  recipe.tokenizer_from = "base";
  Stack stack;
  stack.name = "merged";
  stack.method = "dare_ties";
  stack.base = "base";
  stack.sources = {"ja", "math"};
  const auto add = [&](const std::string& name, ModelPart part, int layer) {
    GroupSettings settings;
    settings.group = {name, {part}, layer, layer + 1, ""};
    for (int s = 0; s < 2; ++s) {
      const double wave = std::sin(0.7 * (layer + 1) + 2.0 * s);
      settings.source_parameters.push_back({{"weight", std::clamp(1 + drift * wave + 0.2 * rng->Normal(), 0.0, 2.0)},
                                            {"density", std::clamp(0.55 + 0.3 * wave * drift, 0.1, 1.0)}});
    }
    settings.parameters["lambda"] = 1;
    stack.settings.push_back(std::move(settings));
  };
  add("embed", ModelPart::kEmbedding, 0);
  for (int i = 0; i < layers; ++i) add(absl::StrCat("layer.", i), ModelPart::kLayers, i);
  add("out", ModelPart::kHead, 0);
  recipe.stacks = {stack};
  return recipe;
}

Recipe Path(const JobSpec& spec, int layers, Rng* rng) {
  Recipe recipe;
  recipe.models = spec.models;
  recipe.tokenizer_from = "ja";
  for (const char* name : {"ja", "math"}) {
    Stack stack;
    stack.name = name;
    stack.sources = {name};
    recipe.stacks.push_back(stack);
  }
  for (int i = 0; i < layers; ++i) {
    recipe.path.push_back({0, i, 1 + 0.2 * rng->Normal()});
    if (i % 2 == 1) recipe.path.push_back({1, i, 1 + 0.2 * rng->Normal()});
  }
  return recipe;
}

BenchmarkResult Samples(const std::string& benchmark, double share, int count, Rng* rng) {
  BenchmarkResult result;
  result.benchmark = benchmark;
  for (int i = 0; i < count; ++i) {
    SampleOutcome sample;
    sample.question = absl::StrCat("ボブは卵を", i + 2, "個、ユキは卵を3個持っています。合わせて何個ですか。");
    sample.answer = absl::StrCat(i + 5);
    sample.correct = rng->Uniform() < share;
    sample.prediction = sample.correct ? sample.answer : rng->Uniform() < 0.5 ? "" : absl::StrCat(i + 4);
    sample.completion = sample.correct ? absl::StrCat(i + 2, "+3=", i + 5, "\n答えは", i + 5, "個です。")
                                       : absl::StrCat("The answer <b>is</b> ", sample.prediction, ".");
    result.samples.push_back(std::move(sample));
  }
  return result;
}

// Adds events with a clock that goes on with each.
class Maker {
 public:
  Maker(std::string job_id, const MadeJobOptions& options)
      : job_id_(std::move(job_id)), options_(options), rng_(StableHash64(options.name), 1) {
    job_.spec = SpecOf(options);
  }

  MadeJob Make() {
    Phase(JobPhase::kPreparing);
    Candidate prepare;
    prepare.kind = CandidateKind::kPrepare;
    Propose({prepare});
    JobFacts facts;
    facts.num_layers = options_.layers;
    facts.parameters = 1'148'544;
    facts.samples = {{"task", 200}, {"english", 200}, {"test", 250}};
    facts.architecture = "MistralForCausalLM";
    Finish(0, {}, {}, /*record=*/false, facts);
    Baselines(CandidateKind::kSource, JobPhase::kBaselines);
    Search();
    Baselines(CandidateKind::kHeldOut, JobPhase::kHeldOut);
    Phase(JobPhase::kSucceeded);
    return std::move(job_);
  }

 private:
  template <typename Body>
  void Add(Body body) {
    job_.events.push_back({now_, std::move(body)});
  }
  void Phase(JobPhase phase) { Add(PhaseStarted{phase, ""}); }

  void Propose(std::vector<Candidate> candidates) {
    for (Candidate& c : candidates) c.number = next_++;
    Add(CandidatesProposed{std::move(candidates)});
  }

  std::string Start(int64_t candidate, int attempt) {
    const std::string token = Sha256Hex(absl::StrCat(job_id_, candidate, "/", attempt)).substr(0, 32);
    Add(AttemptStarted{candidate, attempt, token, absl::StrCat("worker-", candidate % 3 + 1)});
    now_ += kPerCandidate * (0.5 + rng_.Uniform());
    return token;
  }

  void Finish(int64_t candidate, std::vector<double> fitness, MetricTable metrics, bool record,
              std::optional<JobFacts> facts = {}) {
    int attempt = 1;
    if (candidate % 37 == 36) {
      Start(candidate, attempt);
      Add(AttemptEnded{candidate, attempt++, FailureClass::kWorkerLost, "no heartbeat for 30 s"});
    }
    CandidateFinished finished;
    finished.candidate = candidate;
    const std::string token = Start(candidate, attempt);
    finished.attempt = attempt;
    finished.fitness = std::move(fitness);
    finished.metrics = std::move(metrics);
    finished.timings.decode = 1.2;
    finished.timings.materialize = 0.3;
    finished.facts = std::move(facts);
    finished.record_key = RecordKey(job_id_, candidate, attempt, token);
    if (record) Record(candidate, attempt, token, finished);
    Add(std::move(finished));
  }

  void Record(int64_t candidate, int attempt, const std::string& token, const CandidateFinished& finished) {
    Evaluation evaluation;
    for (const auto& [benchmark, metrics] : finished.metrics) {
      evaluation.results.push_back(Samples(benchmark, metrics.begin()->second, options_.samples, &rng_));
      evaluation.results.back().metrics = metrics;
    }
    v1::ResultRecord record;
    record.set_job_id(job_id_);
    record.set_candidate(candidate);
    record.set_attempt(attempt);
    record.set_token(token);
    *record.mutable_end_time() = ToProto(now_);
    *record.mutable_evaluation() = ToProto(evaluation);
    job_.records[finished.record_key] = record.SerializeAsString();
  }

  void Fail(int64_t candidate) {
    CandidateFinished finished;
    finished.candidate = candidate;
    finished.state = CandidateState::kFailed;
    Start(candidate, 1);
    finished.attempt = 0;
    finished.message = candidate / 10 % 2 == 0 ? "layer 3 has <NaN> weights" : "the merge has infinite weights in layer 1";
    Add(AttemptEnded{candidate, 1, FailureClass::kInfeasible, finished.message});
    Add(std::move(finished));
  }

  static MetricTable Metrics(double task, double english) {
    return {{"task", {{"acc", task + 0.02}, {"acc_ja", task}}}, {"english", {{"acc", english}}}};
  }
  std::vector<double> Fitness(double task, double english) const {
    return options_.objectives > 1 ? std::vector<double>{task, english} : std::vector<double>{task};
  }

  void Baselines(CandidateKind kind, JobPhase phase) {
    Phase(phase);
    std::vector<Candidate> candidates;
    std::vector<std::string> labels = {"base", "ja", "math", "average"};
    const bool held_out = kind == CandidateKind::kHeldOut;
    if (held_out) labels.push_back("winner");
    for (const std::string& label : labels) {
      Candidate c;
      c.kind = label == "average" && !held_out ? CandidateKind::kAverage : kind;
      c.label = label;
      c.benchmarks = held_out ? std::vector<std::string>{"test"} : std::vector<std::string>{"task", "english"};
      c.recipe = Merge(job_.spec, options_.layers, 0, &rng_);
      candidates.push_back(std::move(c));
    }
    const int64_t first = next_;
    Propose(candidates);
    const std::vector<double> values = {0.02, 0.06, 0.31, 0.22, best_ - 0.03};
    for (size_t i = 0; i < labels.size(); ++i) {
      const int64_t number = first + static_cast<int64_t>(i);
      if (held_out) {
        Finish(number, {}, {{"test", {{"acc_ja", values[i]}}}}, /*record=*/true);
      } else {
        Finish(number, Fitness(values[i], 0.9 - values[i]), Metrics(values[i], 0.9 - values[i]), /*record=*/true);
      }
    }
  }

  void Search() {
    Phase(JobPhase::kSearch);
    const int64_t population = options_.candidates >= 1000 ? 100 : 10;
    const int64_t generations = std::max<int64_t>(1, options_.candidates / population);
    for (int64_t g = 0; g < generations; ++g) {
      const double progress = static_cast<double>(g) / static_cast<double>(std::max<int64_t>(1, generations - 1));
      std::vector<Candidate> candidates(static_cast<size_t>(population));
      const int64_t first = next_;
      for (int64_t i = 0; i < population; ++i) {
        Candidate& c = candidates[static_cast<size_t>(i)];
        c.generation = g;
        c.proposal = g * population + i;
        c.genome = {0.5, progress};
        c.benchmarks = {"task", "english"};
        c.recipe =
            options_.path ? Path(job_.spec, options_.layers, &rng_) : Merge(job_.spec, options_.layers, progress, &rng_);
      }
      Propose(std::move(candidates));
      for (int64_t i = 0; i < population; ++i) {
        if (i == 3) {
          Fail(first + i);
          continue;
        }
        const double mean = 0.1 + 0.6 * (1 - std::exp(-3 * progress));
        const double task = std::clamp(mean + 0.06 * rng_.Normal(), 0.0, 0.99);
        const double english = std::clamp(0.9 - 0.5 * task + 0.08 * rng_.Normal(), 0.0, 0.99);
        best_ = std::max(best_, task);
        Finish(first + i, Fitness(task, english), Metrics(task, english),
               /*record=*/options_.candidates < 1000 || i < 2 || task == best_);
      }
    }
  }

  const std::string job_id_;
  const MadeJobOptions options_;
  MadeJob job_;
  Rng rng_;
  absl::Time now_ = absl::FromUnixSeconds(1'770'000'000);
  int64_t next_ = 0;
  double best_ = 0;
};

}  // namespace

MadeJob MakeJob(const std::string& job_id, const MadeJobOptions& options) { return Maker(job_id, options).Make(); }

}  // namespace merganser
