#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/recipe_codec.h"
#include "common/codec/time_codec.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace merganser {
namespace {

template <typename E>
absl::StatusOr<E> ParseWord(absl::string_view word, absl::string_view what, std::initializer_list<E> all) {
  std::vector<std::string> known;
  for (E e : all) {
    if (ToString(e) == word) return e;
    known.emplace_back(ToString(e));
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown ", what, " '", word, "'", DidYouMean(word, known)));
}

template <typename ProtoMap>
void SetMetrics(const MetricTable& metrics, ProtoMap* map) {
  for (const auto& [benchmark, values] : metrics) {
    auto& entry = *(*map)[benchmark].mutable_values();
    for (const auto& [metric, value] : values) entry[metric] = value;
  }
}

template <typename ProtoMap>
MetricTable GetMetrics(const ProtoMap& map) {
  MetricTable metrics;
  for (const auto& [benchmark, values] : map) metrics[benchmark] = {values.values().begin(), values.values().end()};
  return metrics;
}

void SetEnd(absl::Time time, google::protobuf::Timestamp* (*mutable_time)(v1::Candidate*), v1::Candidate* proto) {
  if (time != absl::InfiniteFuture()) *mutable_time(proto) = ToProto(time);
}

}  // namespace

absl::StatusOr<CandidateKind> ParseCandidateKind(absl::string_view word) {
  using K = CandidateKind;
  return ParseWord<K>(word, "kind", {K::kPrepare, K::kSource, K::kAverage, K::kSearch, K::kFinalist, K::kHeldOut});
}
absl::StatusOr<CandidateState> ParseCandidateState(absl::string_view word) {
  using S = CandidateState;
  return ParseWord<S>(word, "state", {S::kQueued, S::kRunning, S::kSucceeded, S::kFailed, S::kCancelled});
}
absl::StatusOr<FailureClass> ParseFailureClass(absl::string_view word) {
  using F = FailureClass;
  return ParseWord<F>(word, "failure",
                      {F::kWorkerLost, F::kReleased, F::kTransient, F::kInfeasible, F::kCrashed, F::kTimedOut,
                       F::kOutOfMemory, F::kUnavailable});
}
absl::StatusOr<ActionKind> ParseActionKind(absl::string_view word) {
  using A = ActionKind;
  return ParseWord<A>(word, "action",
                      {A::kSubmitted, A::kPaused, A::kResumed, A::kUpdated, A::kCancelled, A::kWorkerDrained,
                       A::kWorkerQuarantined, A::kWorkerReleased});
}
absl::StatusOr<JobPhase> ParseJobPhase(absl::string_view word) {
  using P = JobPhase;
  return ParseWord<P>(word, "state",
                      {P::kPreparing, P::kBaselines, P::kSearch, P::kFinalists, P::kHeldOut, P::kSucceeded, P::kFailed,
                       P::kCancelled, P::kDamaged});
}

v1::PhaseTimings ToProto(const PhaseTimings& t) {
  v1::PhaseTimings proto;
  proto.set_materialize(t.materialize);
  proto.set_tokenize(t.tokenize);
  proto.set_prefill(t.prefill);
  proto.set_decode(t.decode);
  proto.set_score(t.score);
  proto.set_record(t.record);
  return proto;
}

PhaseTimings FromProto(const v1::PhaseTimings& p) {
  return {p.materialize(), p.tokenize(), p.prefill(), p.decode(), p.score(), p.record()};
}

v1::JobFacts ToProto(const JobFacts& facts) {
  v1::JobFacts proto;
  proto.set_num_layers(facts.num_layers);
  proto.set_parameters(facts.parameters);
  proto.set_resident_bytes(facts.resident_bytes);
  proto.set_candidate_bytes(facts.candidate_bytes);
  for (const auto& [name, n] : facts.samples) (*proto.mutable_samples())[name] = n;
  for (const auto& [name, n] : facts.prompt_tokens) (*proto.mutable_prompt_tokens())[name] = n;
  proto.set_architecture(facts.architecture);
  for (const auto& [name, n] : facts.problems) (*proto.mutable_problems())[name] = n;
  for (const auto& [name, content] : facts.contents) (*proto.mutable_contents())[name] = content;
  for (const auto& [name, n] : facts.new_tokens) (*proto.mutable_new_tokens())[name] = n;
  return proto;
}

JobFacts FromProto(const v1::JobFacts& p) {
  JobFacts facts;
  facts.num_layers = p.num_layers();
  facts.parameters = p.parameters();
  facts.resident_bytes = p.resident_bytes();
  facts.candidate_bytes = p.candidate_bytes();
  facts.samples = {p.samples().begin(), p.samples().end()};
  facts.prompt_tokens = {p.prompt_tokens().begin(), p.prompt_tokens().end()};
  facts.architecture = p.architecture();
  facts.problems = {p.problems().begin(), p.problems().end()};
  facts.contents = {p.contents().begin(), p.contents().end()};
  facts.new_tokens = {p.new_tokens().begin(), p.new_tokens().end()};
  return facts;
}

v1::RaceStop ToProto(const RaceStop& stop) {
  v1::RaceStop proto;
  proto.set_reference(stop.reference);
  proto.set_samples(stop.samples);
  proto.set_of(stop.of);
  proto.set_worse(stop.worse);
  proto.set_better(stop.better);
  proto.set_difference(stop.difference);
  return proto;
}

RaceStop FromProto(const v1::RaceStop& p) {
  return {p.reference(), p.samples(), p.of(), p.worse(), p.better(), p.difference()};
}

v1::Candidate ToProto(const Candidate& c) {
  v1::Candidate proto;
  proto.set_number(c.number);
  proto.set_kind(std::string(ToString(c.kind)));
  proto.set_label(c.label);
  proto.set_stage(c.stage);
  proto.set_generation(c.generation);
  proto.set_proposal(c.proposal);
  for (double x : c.genome) proto.add_genome(x);
  if (!c.recipe.stacks.empty()) *proto.mutable_recipe() = ToProto(c.recipe);
  for (const std::string& b : c.benchmarks) proto.add_benchmarks(b);
  proto.set_state(std::string(ToString(c.state)));
  for (const Attempt& a : c.attempts) {
    v1::Attempt* attempt = proto.add_attempts();
    attempt->set_number(a.number);
    attempt->set_token(a.token);
    attempt->set_worker(a.worker);
    *attempt->mutable_start_time() = ToProto(a.start_time);
    attempt->set_ended(a.ended);
    if (a.failure) attempt->set_failure(std::string(ToString(*a.failure)));
    attempt->set_message(a.message);
    attempt->set_speculative(a.speculative);
    attempt->set_blocks(a.blocks);
    attempt->set_scored(a.scored);
    attempt->set_forgiven(a.forgiven);
  }
  proto.set_blocks(c.blocks);
  if (c.stop) *proto.mutable_stop() = ToProto(*c.stop);
  for (double f : c.fitness) proto.add_fitness(f);
  SetMetrics(c.metrics, proto.mutable_metrics());
  proto.set_record_key(c.record_key);
  proto.set_record_sha256(c.record_sha256);
  proto.set_message(c.message);
  *proto.mutable_timings() = ToProto(c.timings);
  *proto.mutable_create_time() = ToProto(c.create_time);
  SetEnd(
      c.end_time, [](v1::Candidate* p) { return p->mutable_end_time(); }, &proto);
  return proto;
}

absl::StatusOr<Candidate> FromProto(const v1::Candidate& p) {
  Candidate c;
  c.number = p.number();
  MG_ASSIGN_OR_RETURN(c.kind, ParseCandidateKind(p.kind()));
  c.label = p.label();
  c.stage = p.stage();
  c.generation = p.generation();
  c.proposal = p.proposal();
  c.genome = {p.genome().begin(), p.genome().end()};
  if (p.has_recipe()) {
    MG_ASSIGN_OR_RETURN(c.recipe, FromProto(p.recipe()));
  }
  c.benchmarks = {p.benchmarks().begin(), p.benchmarks().end()};
  MG_ASSIGN_OR_RETURN(c.state, ParseCandidateState(p.state()));
  for (const v1::Attempt& a : p.attempts()) {
    Attempt attempt{a.number(), a.token(),    a.worker(),  FromProto(a.start_time()),
                    a.ended(),  std::nullopt, a.message(), a.speculative(),
                    a.blocks(), a.scored(),   a.forgiven()};
    if (!a.failure().empty()) {
      MG_ASSIGN_OR_RETURN(attempt.failure, ParseFailureClass(a.failure()));
    }
    c.attempts.push_back(std::move(attempt));
  }
  c.blocks = p.blocks();
  if (p.has_stop()) c.stop = FromProto(p.stop());
  c.fitness = {p.fitness().begin(), p.fitness().end()};
  c.metrics = GetMetrics(p.metrics());
  c.record_key = p.record_key();
  c.record_sha256 = p.record_sha256();
  c.message = p.message();
  c.timings = FromProto(p.timings());
  c.create_time = FromProto(p.create_time());
  if (p.has_end_time()) c.end_time = FromProto(p.end_time());
  return c;
}

v1::Job ToProto(const JobSummary& job) {
  v1::Job proto;
  proto.set_id(job.id);
  *proto.mutable_spec() = ToProto(job.spec);
  proto.set_state(std::string(ToString(job.phase)));
  proto.set_message(job.message);
  if (job.facts) *proto.mutable_facts() = ToProto(*job.facts);
  proto.set_dimension(job.dimension);
  proto.set_population(job.population);
  proto.set_slots(job.slots);
  proto.set_generation(job.generation);
  proto.set_queued(job.queued);
  proto.set_running(job.running);
  proto.set_succeeded(job.succeeded);
  proto.set_failed(job.failed);
  proto.set_cancelled(job.cancelled);
  proto.set_search_finished(job.search_finished);
  proto.set_search_total(job.search_total);
  if (job.best_candidate) proto.set_best_candidate(*job.best_candidate);
  for (double f : job.best_fitness) proto.add_best_fitness(f);
  *proto.mutable_create_time() = ToProto(job.create_time);
  if (job.end_time != absl::InfiniteFuture()) *proto.mutable_end_time() = ToProto(job.end_time);
  proto.set_seq(job.seq);
  *proto.mutable_timings() = ToProto(job.timings);
  proto.set_paused(job.paused);
  proto.set_waiting(job.waiting);
  return proto;
}

absl::StatusOr<JobSummary> FromProto(const v1::Job& p) {
  JobSummary job;
  job.id = p.id();
  MG_ASSIGN_OR_RETURN(job.spec, FromProto(p.spec()));
  MG_ASSIGN_OR_RETURN(job.phase, ParseJobPhase(p.state()));
  job.message = p.message();
  if (p.has_facts()) job.facts = FromProto(p.facts());
  job.dimension = p.dimension();
  job.population = p.population();
  job.slots = p.slots();
  job.generation = p.generation();
  job.queued = p.queued();
  job.running = p.running();
  job.succeeded = p.succeeded();
  job.failed = p.failed();
  job.cancelled = p.cancelled();
  job.search_finished = p.search_finished();
  job.search_total = p.search_total();
  if (p.has_best_candidate()) job.best_candidate = p.best_candidate();
  job.best_fitness = {p.best_fitness().begin(), p.best_fitness().end()};
  job.create_time = FromProto(p.create_time());
  if (p.has_end_time()) job.end_time = FromProto(p.end_time());
  job.seq = p.seq();
  job.timings = FromProto(p.timings());
  job.paused = p.paused();
  job.waiting = p.waiting();
  return job;
}

v1::Evaluation ToProto(const Evaluation& e) {
  v1::Evaluation proto;
  for (const BenchmarkResult& r : e.results) {
    v1::BenchmarkResult* result = proto.add_results();
    result->set_benchmark(r.benchmark);
    for (const auto& [metric, value] : r.metrics) (*result->mutable_metrics())[metric] = value;
    for (const SampleOutcome& s : r.samples) {
      v1::SampleOutcome* sample = result->add_samples();
      sample->set_question(s.question);
      sample->set_answer(s.answer);
      sample->set_completion(s.completion);
      sample->set_prediction(s.prediction);
      sample->set_correct(s.correct);
      for (const auto& [key, value] : s.values) (*sample->mutable_values())[key] = value;
    }
    result->mutable_numbers()->Add(r.numbers.begin(), r.numbers.end());
  }
  *proto.mutable_timings() = ToProto(e.timings);
  proto.set_prompt_tokens(e.prompt_tokens);
  proto.set_generated_tokens(e.generated_tokens);
  proto.set_merged_bytes(e.merged_bytes);
  proto.set_weights_sha256(e.weights_sha256);
  return proto;
}

Evaluation FromProto(const v1::Evaluation& p) {
  Evaluation e;
  for (const v1::BenchmarkResult& r : p.results()) {
    BenchmarkResult result{r.benchmark(), {r.metrics().begin(), r.metrics().end()}, {}};
    for (const v1::SampleOutcome& s : r.samples()) {
      result.samples.push_back(
          {s.question(), s.answer(), s.completion(), s.prediction(), s.correct(), {s.values().begin(), s.values().end()}});
    }
    result.numbers = {r.numbers().begin(), r.numbers().end()};
    e.results.push_back(std::move(result));
  }
  e.timings = FromProto(p.timings());
  e.prompt_tokens = p.prompt_tokens();
  e.generated_tokens = p.generated_tokens();
  e.merged_bytes = p.merged_bytes();
  e.weights_sha256 = p.weights_sha256();
  return e;
}

MetricTable Metrics(const Evaluation& evaluation) {
  MetricTable metrics;
  for (const BenchmarkResult& result : evaluation.results) metrics[result.benchmark] = result.metrics;
  return metrics;
}

std::string SerializeDeterministic(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace merganser
