#include "tests/coordinator/job/world.h"

#include <algorithm>
#include <cmath>

#include "common/base/rng.h"
#include "common/base/sample_draw.h"
#include "common/base/sha256.h"
#include "coordinator/job/known_samples.h"
#include "gtest/gtest.h"

namespace merganser {

void FakeWorker::Drop(const AttemptId& attempt) {
  held.erase(std::remove_if(held.begin(), held.end(), [&](const Assignment& a) { return a.id == attempt; }), held.end());
}

std::vector<RunningAttempt> FakeWorker::running() const {
  std::vector<RunningAttempt> running;
  for (const Assignment& a : held) running.push_back({a.id, a.token, "evaluate"});
  return running;
}

World::World() { NewLoop(); }

void World::NewLoop() {
  loop = std::make_unique<JobLoop>(&store, &ProtoJobCodec(), &clock, observer, options);
  // The predecessor's leader lease runs out.
  if (!loop->Start().ok()) {
    clock.Advance(options.leader_lease);
    const absl::Status started = loop->Start();
    ASSERT_TRUE(started.ok()) << started;
  }
}

std::shared_ptr<FakeWorker> World::AddWorker(const std::string& id, int slots) {
  auto worker = std::make_shared<FakeWorker>(id);
  workers[id] = worker;
  const absl::Status connected = Connect(worker, slots);
  EXPECT_TRUE(connected.ok()) << connected;
  return worker;
}

absl::Status World::Connect(const std::shared_ptr<FakeWorker>& worker, int slots) {
  return loop->WorkerConnected({.id = worker->id, .name = worker->id, .slots = slots}, worker->running(), worker);
}

namespace {

double LossOf(const Recipe& recipe) {
  double loss = 0;
  for (const Stack& stack : recipe.stacks) {
    for (const GroupSettings& settings : stack.settings) {
      for (const auto& parameters : settings.source_parameters) {
        const double d = parameters.at("weight") - 0.7;
        loss += d * d;
      }
    }
  }
  return loss;
}

BenchmarkResult SampledResult(const Assignment& assignment, const std::string& requested, const std::string& metric) {
  const BenchmarkRequest request = ParseBenchmarkRequest(requested);
  const JobSpec& spec = *assignment.spec;
  BenchmarkResult result{request.benchmark, {}, {}};
  result.numbers = RequestedSamples(request, spec.seed, spec.samples.per_generation, kWorldSamples);
  double sum = 0;
  for (const int64_t sample : result.numbers) {
    const double outcome = HonestOutcome(assignment.recipe, sample);
    SampleOutcome& one = result.samples.emplace_back();
    one.correct = outcome == 1;
    one.values[metric] = outcome;
    sum += outcome;
  }
  result.metrics[metric] = sum / static_cast<double>(result.numbers.size());
  if (static_cast<int64_t>(result.numbers.size()) == kWorldSamples) result.numbers.clear();
  return result;
}

}  // namespace

double HonestOutcome(const Recipe& recipe, int64_t sample) {
  const double hard = Rng(StableHash64("sample"), static_cast<uint64_t>(sample)).Uniform();
  const bool known = std::exp(-LossOf(recipe)) > hard;
  Rng odd(HashOfRecipe(recipe), static_cast<uint64_t>(sample));
  return known != (odd.Uniform() < 0.125) ? 1 : 0;
}

std::string HonestRecord(const Assignment& assignment, const std::string& metric) {
  v1::ResultRecord record;
  record.set_job_id(assignment.id.job_id);
  record.set_candidate(assignment.id.candidate);
  record.set_attempt(assignment.id.attempt);
  record.set_token(assignment.token);
  if (assignment.kind == CandidateKind::kPrepare) {
    JobFacts facts;
    facts.num_layers = 2;
    const bool samples = assignment.spec != nullptr && assignment.spec->samples != SamplePolicy{};
    for (const std::string& benchmark : assignment.benchmarks) {
      if (samples) facts.samples[benchmark] = kWorldSamples;
    }
    *record.mutable_facts() = ToProto(facts);
    return SerializeDeterministic(record);
  }
  Evaluation evaluation;
  for (const std::string& benchmark : assignment.benchmarks) {
    if (assignment.spec != nullptr && assignment.spec->samples != SamplePolicy{}) {
      evaluation.results.push_back(SampledResult(assignment, benchmark, metric));
    } else {
      evaluation.results.push_back({benchmark, {{metric, 1 - LossOf(assignment.recipe)}}, {}});
    }
  }
  evaluation.timings.decode = 0.5;
  *record.mutable_evaluation() = ToProto(evaluation);
  return SerializeDeterministic(record);
}

std::string World::Record(const Assignment& assignment) const {
  std::string bytes = HonestRecord(assignment, metric);
  if (!tamper) return bytes;
  v1::ResultRecord record;
  record.ParseFromString(bytes);
  tamper(&record);
  return SerializeDeterministic(record);
}

absl::StatusOr<AttemptReport> World::Evaluate(const FakeWorker& worker, const Assignment& assignment) {
  AttemptReport report{.id = assignment.id, .token = assignment.token, .worker_id = worker.id};
  if (const std::optional<Failure> failure = fail(assignment); failure.has_value()) {
    report.failure = failure->first;
    report.message = failure->second;
    return report;
  }
  ++evaluated[{assignment.id.job_id, assignment.id.candidate}];
  const std::string record = Record(assignment);
  if (absl::Status put = store.PutRecord(assignment.record_key, record); !put.ok()) return put;
  report.record_key = assignment.record_key;
  report.record_sha256 = Sha256Hex(record);
  return report;
}

absl::StatusOr<Disposition> World::Work(FakeWorker& worker) {
  if (worker.held.empty()) return absl::NotFoundError("nothing to do");
  const Assignment assignment = worker.held.front();
  absl::StatusOr<AttemptReport> report = Evaluate(worker, assignment);
  if (!report.ok()) return report.status();
  absl::StatusOr<Disposition> disposition = loop->ReportAttempt(*report);
  if (disposition.ok()) worker.Drop(assignment.id);
  return disposition;
}

JobSummary World::Run(const std::string& job_id) {
  for (int second = 0; second < 3600; ++second) {
    loop->Tick();
    for (auto& [id, worker] : workers) {
      (void)Work(*worker);
      loop->WorkerHeartbeat(id, worker->running(), worker->draining);
    }
    loop->Tick();
    const JobState* state = loop->StateOf(job_id);
    if (state != nullptr && state->over()) break;
    clock.Advance(absl::Seconds(1));
  }
  return Summary(job_id);
}

JobSummary World::Submit(const JobSpec& spec, const std::string& request_id) {
  absl::StatusOr<JobSummary> job = loop->CreateJob(request_id, spec);
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : JobSummary{};
}

JobSpec SphereSpec(const std::string& name) {
  JobSpec spec;
  spec.name = name;
  spec.seed = 7;
  spec.models = {{"base", "m/base"}, {"ja", "m/ja"}, {"math", "m/math"}};
  spec.parameter.method = "task_arithmetic";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds = {{"weight", {0, 2}}};
  spec.optimizer.numbers = {{"population", 6}};
  spec.objectives = {{"sphere", "acc"}};
  spec.benchmarks = {{.name = "sphere", .use = "mgsm_ja", .data = "train.jsonl"}};
  spec.held_out = {{.name = "sphere_test", .use = "mgsm_ja", .data = "test.jsonl"}};
  spec.budget.candidates = 14;
  return spec;
}

JobSpec SampledSpec(int64_t per_generation) {
  JobSpec spec = SphereSpec("sampled");
  spec.samples.per_generation = per_generation;
  spec.budget.candidates = 60;
  spec.optimizer.numbers = {{"population", 10}};
  if (per_generation == 0) return spec;
  spec.benchmarks.push_back({.name = "sphere_all", .use = "sphere"});
  spec.finalists = {.count = 2, .benchmark = "sphere_all"};
  return spec;
}

JobSpec StagedSpec() {
  JobSpec spec = SphereSpec("staged");
  SearchStage paths;
  paths.data_flow = DataFlowSpace{.sources = {"winner", "ja"}, .ends = DataFlowSpace::Ends::kSearch};
  paths.optimizer.numbers = {{"population", 5}};
  paths.budget.candidates = 8;
  spec.then = {paths};
  spec.benchmarks.push_back({.name = "validation", .use = "mgsm_ja", .data = "validation.jsonl"});
  spec.finalists = {.count = 3, .benchmark = "validation"};
  return spec;
}

}  // namespace merganser
