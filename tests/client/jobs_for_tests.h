// A finished job as the client sees it.
#ifndef MERGANSER_TESTS_CLIENT_JOBS_FOR_TESTS_H_
#define MERGANSER_TESTS_CLIENT_JOBS_FOR_TESTS_H_

#include <string>
#include <vector>

#include "common/domain/candidate.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

inline JobSpec SmallSpec() {
  JobSpec spec;
  spec.name = "small";
  spec.seed = 7;
  spec.models = {{"base", "/models/base"}, {"ja", "/models/ja"}, {"math", "org/math"}};
  spec.parameter.method = "task_arithmetic";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds["weight"] = {0, 2};
  spec.objectives = {{"task", "acc_ja"}};
  BenchmarkSpec task;
  task.name = "task";
  task.use = "mgsm_ja";
  task.data = "/data/task.jsonl";
  spec.benchmarks = {task};
  BenchmarkSpec test = task;
  test.name = "test";
  spec.held_out = {test};
  spec.budget.candidates = 20;
  return spec;
}

inline JobFacts SmallFacts() {
  JobFacts facts;
  facts.num_layers = 4;
  facts.parameters = 1'000'000;
  facts.samples = {{"task", 200}, {"test", 250}};
  facts.prompt_tokens = {{"task", 8000}, {"test", 10000}};
  facts.architecture = "MistralForCausalLM";
  return facts;
}

// Two sources and the average as baselines, two search candidates (the second failed), the winner
// and a source held out.
struct FinishedJob {
  JobSummary job;
  std::vector<Candidate> candidates;
};
inline FinishedJob SmallFinishedJob() {
  FinishedJob finished;
  JobSummary& job = finished.job;
  job.id = "job-3";
  job.spec = SmallSpec();
  job.facts = SmallFacts();
  job.phase = JobPhase::kSucceeded;
  job.succeeded = 6;
  job.failed = 1;
  job.search_finished = 2;
  job.search_total = 20;
  job.best_candidate = 4;
  job.best_fitness = {0.5};
  job.timings.decode = 1.5;
  const auto add = [&](CandidateKind kind, const std::string& label, const Recipe& recipe, MetricTable metrics) {
    Candidate c;
    c.number = static_cast<int64_t>(finished.candidates.size()) + 1;
    c.kind = kind;
    c.label = label;
    c.recipe = recipe;
    c.state = CandidateState::kSucceeded;
    c.metrics = std::move(metrics);
    finished.candidates.push_back(c);
  };
  const auto decoder = *ParameterSpaceDecoder::Create(job.spec, job.facts->num_layers);
  const Recipe middle = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
  add(CandidateKind::kSource, "ja", SourceRecipe(job.spec, "ja"), {{"task", {{"acc", 0.1}, {"acc_ja", 0.1}}}});
  add(CandidateKind::kSource, "math", SourceRecipe(job.spec, "math"), {{"task", {{"acc", 0.4}, {"acc_ja", 0.0}}}});
  add(CandidateKind::kAverage, "average", AverageRecipe(job.spec), {{"task", {{"acc", 0.2}, {"acc_ja", 0.2}}}});
  add(CandidateKind::kSearch, "", middle, {{"task", {{"acc", 0.5}, {"acc_ja", 0.5}}}});
  finished.candidates.back().generation = 0;
  finished.candidates.back().fitness = {0.5};
  add(CandidateKind::kSearch, "", middle, {});
  finished.candidates.back().generation = 0;
  finished.candidates.back().state = CandidateState::kFailed;
  finished.candidates.back().message = "layer 3 has <NaN> weights";
  add(CandidateKind::kHeldOut, "ja", SourceRecipe(job.spec, "ja"), {{"test", {{"acc", 0.08}, {"acc_ja", 0.08}}}});
  add(CandidateKind::kHeldOut, "winner", middle, {{"test", {{"acc", 0.48}, {"acc_ja", 0.44}}}});
  return finished;
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_CLIENT_JOBS_FOR_TESTS_H_
