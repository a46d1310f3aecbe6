#include "coordinator/http/dashboard_json.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/recipe_codec.h"
#include "common/config/yaml_message.h"
#include "common/domain/scored_items.h"
#include "common/draw/recipe_picture.h"

namespace merganser {
namespace {

using Json = DashboardJson;

constexpr size_t kFrontMax = 500;
constexpr size_t kFailuresMax = 20;

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// To seven digits: of thousands of points a chart shows no more, and they are half as long.
Json RoundedNumber(double value) { return std::strtod(absl::StrFormat("%.7g", value).c_str(), nullptr); }

Json Numbers(const std::vector<double>& values) {
  Json json = Json::array();
  for (const double value : values) json.push_back(Number(value));
  return json;
}

Json TimeJson(absl::Time time) {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return nullptr;
  return absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

Json MetricsJson(const MetricTable& metrics) {
  Json json = Json::object();
  for (const auto& [benchmark, values] : metrics) {
    for (const auto& [metric, value] : values) json[benchmark][metric] = Number(value);
  }
  return json;
}

Json TimingsJson(const PhaseTimings& t) {
  return {{"materialize", t.materialize}, {"tokenize", t.tokenize}, {"prefill", t.prefill},
          {"decode", t.decode},           {"score", t.score},       {"record", t.record}};
}

constexpr char kStandardError[] = "_stderr";

// The 95 % interval of `metric` over `n` samples: 1.96 standard errors to each side where `metrics` has NAME_stderr, as an
// evaluation gives it for all that are no shares; else Wilson's (1927). None of an error of one sample, and of an average
// without one.
Json IntervalJson(const std::map<std::string, double>& metrics, const std::string& metric, int64_t n) {
  constexpr double z = 1.959963984540054;
  const double value = metrics.at(metric);
  if (const auto error = metrics.find(absl::StrCat(metric, kStandardError)); error != metrics.end()) {
    if (n == 1) return nullptr;
    return Json::array({Number(value - z * error->second), Number(value + z * error->second)});
  }
  if (n <= 0 || !(value >= 0 && value <= 1) || metrics.count("average") != 0) return nullptr;
  const double count = static_cast<double>(n), z2 = z * z;
  const double middle = (value + z2 / (2 * count)) / (1 + z2 / count);
  const double half = z / (1 + z2 / count) * std::sqrt(value * (1 - value) / count + z2 / (4 * count * count));
  return Json::array({std::max(0.0, middle - half), std::min(1.0, middle + half)});
}

Json HeldOutJson(const JobSummary& job, const JobIndex& index) {
  Json lines = Json::array();
  std::map<std::string, int64_t> newest;  // a job that went on may have another winner than before
  const std::vector<CandidateRow> rows = index.Rows({CandidateKind::kHeldOut});
  for (const CandidateRow& row : rows) {
    if (row.state == CandidateState::kSucceeded) newest[row.label] = row.number;
  }
  for (const CandidateRow& row : rows) {
    if (newest[row.label] != row.number) continue;
    for (const auto& [benchmark, metrics] : row.metrics) {
      const int64_t n = job.facts.has_value() ? ScoredItems(job.spec, *job.facts, benchmark) : 0;
      for (const auto& [metric, value] : metrics) {
        if (absl::EndsWith(metric, kStandardError)) continue;  // is in the interval
        lines.push_back({{"benchmark", benchmark},
                         {"model", row.label},
                         {"metric", metric},
                         {"value", Number(value)},
                         {"interval", IntervalJson(metrics, metric, n)},
                         {"samples", n > 0 ? Json(n) : Json()},
                         {"candidate", row.number}});
      }
    }
  }
  return lines;
}

// Of the benchmark's samples.
int64_t NumberOf(const BenchmarkResult& result, size_t i) {
  return i < result.numbers.size() ? result.numbers[i] : static_cast<int64_t>(i);
}

Json OutcomeJson(const SampleOutcome* sample) {
  if (sample == nullptr) return nullptr;
  return {{"completion", sample->completion}, {"prediction", sample->prediction}, {"correct", sample->correct}};
}

}  // namespace

std::string Dump(const DashboardJson& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

DashboardJson JobJson(const JobSummary& job, double rate, absl::Time now) {
  Json objectives = Json::array(), models = Json::array();
  for (const Objective& o : job.spec.objectives) objectives.push_back(absl::StrCat(o.benchmark, ".", o.metric));
  for (const ModelRef& model : job.spec.models) models.push_back(model.name);
  const double elapsed = absl::ToDoubleSeconds(now - job.create_time);
  if (rate <= 0 && elapsed > 0) rate = static_cast<double>(job.search_finished) / elapsed;
  Json left = nullptr;
  if (!IsTerminal(job.phase) && job.search_total > job.search_finished && rate > 0) {
    left = static_cast<double>(job.search_total - job.search_finished) / rate;
  }
  return {{"id", job.id},
          {"name", job.spec.name},
          {"state", std::string(ToString(job.phase))},
          {"over", IsTerminal(job.phase)},
          {"paused", job.paused},
          {"waiting", job.waiting},
          {"message", job.message},
          {"optimizer", job.spec.optimizer.name},
          {"objectives", std::move(objectives)},
          {"models", std::move(models)},
          {"dimension", job.dimension},
          {"population", job.population},
          {"generation", job.generation},
          {"queued", job.queued},
          {"running", job.running},
          {"succeeded", job.succeeded},
          {"failed", job.failed},
          {"cancelled", job.cancelled},
          {"search_finished", job.search_finished},
          {"search_total", job.search_total},
          {"best_candidate", job.best_candidate.has_value() ? Json(*job.best_candidate) : Json(nullptr)},
          {"best_fitness", Numbers(job.best_fitness)},
          {"create_time", TimeJson(job.create_time)},
          {"end_time", TimeJson(job.end_time)},
          {"candidates_per_second", IsTerminal(job.phase) ? Json(nullptr) : Json(rate)},
          {"left_seconds", std::move(left)},
          {"timings", TimingsJson(job.timings)},
          {"seq", job.seq}};
}

DashboardJson JobDetailsJson(const JobSummary& job, const JobIndex& index, size_t generations_max) {
  Json baselines = Json::array();
  for (const CandidateRow& row : index.Rows({CandidateKind::kSource, CandidateKind::kAverage})) {
    baselines.push_back({{"label", row.label}, {"number", row.number}, {"fitness", Numbers(row.fitness)}});
  }
  Json generations = Json::array();
  for (size_t objective = 0; objective < std::max<size_t>(1, job.spec.objectives.size()); ++objective) {
    const std::vector<GenerationLine> all = index.Generations(objective);
    const size_t step = std::max<size_t>(1, (all.size() + generations_max - 1) / generations_max);
    Json lines = Json::array();
    for (size_t i = 0; i < all.size(); i += step) {
      lines.push_back(
          {{"generation", all[i].generation}, {"count", all[i].count}, {"best", all[i].best}, {"mean", all[i].mean}});
    }
    generations.push_back(std::move(lines));
  }
  Json front = Json::array();
  if (job.spec.objectives.size() > 1) {
    for (const int64_t number : index.front()) {
      if (front.size() == kFrontMax) break;
      front.push_back(RowJson(*index.Find(number)));
    }
  }
  Json failures = Json::array();
  for (const auto& [reason, count] : index.Failures()) {
    if (failures.size() == kFailuresMax) break;
    failures.push_back({{"reason", reason}, {"count", count}});
  }
  Json facts = nullptr;
  if (job.facts.has_value()) {
    facts = {{"architecture", job.facts->architecture},
             {"layers", job.facts->num_layers},
             {"parameters", job.facts->parameters},
             {"resident_bytes", job.facts->resident_bytes},
             {"samples", job.facts->samples}};
  }
  const std::optional<CandidateRow> best = job.best_candidate.has_value() ? index.Find(*job.best_candidate) : std::nullopt;
  const bool by_finalists = best.has_value() && best->kind == CandidateKind::kFinalist;
  return {{"settings", WriteYaml(ToProto(job.spec))},
          {"best_by", by_finalists ? job.spec.finalists.benchmark : ""},
          {"facts", std::move(facts)},
          {"baselines", std::move(baselines)},
          {"held_out", HeldOutJson(job, index)},
          {"generations", std::move(generations)},
          {"front", std::move(front)},
          {"front_size", job.spec.objectives.size() > 1 ? index.front().size() : 0},
          {"failures", std::move(failures)}};
}

DashboardJson FitnessJson(const JobIndex& index, size_t objective, size_t count) {
  Json number = Json::array(), generation = Json::array(), fitness = Json::array();
  for (const FitnessPoint& point : index.Thinned(objective, count)) {
    number.push_back(point.number);
    generation.push_back(point.generation);
    fitness.push_back(RoundedNumber(point.fitness));
  }
  return {{"number", std::move(number)}, {"generation", std::move(generation)}, {"fitness", std::move(fitness)}};
}

DashboardJson RowJson(const CandidateRow& row) {
  Json seconds = nullptr;
  if (row.start_time != absl::InfiniteFuture() && row.end_time != absl::InfiniteFuture()) {
    seconds = absl::ToDoubleSeconds(row.end_time - row.start_time);
  }
  return {{"number", row.number},
          {"kind", std::string(ToString(row.kind))},
          {"label", row.label},
          {"generation", row.kind == CandidateKind::kSearch ? Json(row.generation) : Json(nullptr)},
          {"state", std::string(ToString(row.state))},
          {"fitness", Numbers(row.fitness)},
          {"attempts", row.attempts},
          {"worker", row.worker},
          {"message", row.message},
          {"seconds", std::move(seconds)},
          {"end_time", TimeJson(row.end_time)}};
}

DashboardJson EventsJson(const std::vector<const EventLine*>& lines) {
  Json json = Json::array();
  for (const EventLine* line : lines) {
    json.push_back({{"seq", line->seq},
                    {"time", TimeJson(line->time)},
                    {"kind", std::string(line->kind)},
                    {"candidate", line->candidate.has_value() ? Json(*line->candidate) : Json(nullptr)},
                    {"text", line->text}});
  }
  return json;
}

DashboardJson CandidateJson(const JobSummary& job, const Candidate& candidate) {
  Json attempts = Json::array();
  for (const Attempt& attempt : candidate.attempts) {
    attempts.push_back(
        {{"number", attempt.number},
         {"worker", attempt.worker},
         {"start_time", TimeJson(attempt.start_time)},
         {"ended", attempt.ended},
         {"failure", attempt.failure.has_value() ? Json(std::string(ToString(*attempt.failure))) : Json(nullptr)},
         {"message", attempt.message}});
  }
  const bool has_recipe = !candidate.recipe.stacks.empty();
  return {{"number", candidate.number},
          {"kind", std::string(ToString(candidate.kind))},
          {"label", candidate.label},
          {"generation", candidate.kind == CandidateKind::kSearch ? Json(candidate.generation) : Json(nullptr)},
          {"state", std::string(ToString(candidate.state))},
          {"message", candidate.message},
          {"fitness", Numbers(candidate.fitness)},
          {"metrics", MetricsJson(candidate.metrics)},
          {"benchmarks", candidate.benchmarks},
          {"timings", TimingsJson(candidate.timings)},
          {"create_time", TimeJson(candidate.create_time)},
          {"end_time", TimeJson(candidate.end_time)},
          {"attempts", std::move(attempts)},
          {"has_samples", !candidate.record_key.empty() && candidate.kind != CandidateKind::kPrepare},
          {"recipe", has_recipe ? WriteYaml(ToProto(candidate.recipe)) : ""},
          {"pictures", has_recipe ? RecipePictures(candidate.recipe, job.spec.parameter.bounds) : ""},
          {"tables", has_recipe ? RecipeTables(candidate.recipe) : ""}};
}

DashboardJson WorkersJson(const std::vector<WorkerStatus>& workers) {
  Json list = Json::array();
  for (const WorkerStatus& worker : workers) {
    Json running = Json::array();
    for (const RunningAttempt& attempt : worker.running) {
      running.push_back({{"job", attempt.id.job_id}, {"candidate", attempt.id.candidate}, {"phase", attempt.phase}});
    }
    list.push_back({{"id", worker.info.id},
                    {"name", worker.info.name},
                    {"state", worker.state},
                    {"quarantine", worker.quarantine},
                    {"device", worker.info.device},
                    {"version", worker.info.version},
                    {"slots", worker.info.slots},
                    {"running", std::move(running)},
                    {"finished", worker.finished},
                    {"failed", worker.failed},
                    {"connect_time", TimeJson(worker.connect_time)},
                    {"last_heartbeat_time", TimeJson(worker.last_heartbeat_time)}});
  }
  return list;
}

DashboardJson SamplesJson(const BenchmarkResult& result, size_t offset, size_t limit) {
  Json samples = Json::array();
  for (size_t i = offset; i < result.samples.size() && i < offset + limit; ++i) {
    const SampleOutcome& sample = result.samples[i];
    Json json = OutcomeJson(&sample);
    json["index"] = NumberOf(result, i);
    json["question"] = sample.question;
    json["answer"] = sample.answer;
    samples.push_back(std::move(json));
  }
  return samples;
}

Comparison Compare(const BenchmarkResult& a, const BenchmarkResult& b, const std::string& show, size_t offset,
                   size_t limit) {
  Comparison comparison;
  std::map<int64_t, std::pair<const SampleOutcome*, const SampleOutcome*>> samples;
  for (size_t i = 0; i < a.samples.size(); ++i) samples[NumberOf(a, i)].first = &a.samples[i];
  for (size_t i = 0; i < b.samples.size(); ++i) samples[NumberOf(b, i)].second = &b.samples[i];
  const bool drawn = !a.numbers.empty() || !b.numbers.empty();
  for (const auto& [number, outcomes] : samples) {
    const auto [left, right] = outcomes;
    if (drawn && (left == nullptr || right == nullptr)) continue;
    const bool a_right = left != nullptr && left->correct, b_right = right != nullptr && right->correct;
    ++(a_right ? (b_right ? comparison.both : comparison.only_a) : (b_right ? comparison.only_b : comparison.neither));
    const bool shown = show == "differ"  ? a_right != b_right
                       : show == "a"     ? a_right && !b_right
                       : show == "b"     ? b_right && !a_right
                       : show == "wrong" ? !a_right && !b_right
                       : show == "right" ? a_right && b_right
                                         : true;
    if (!shown) continue;
    const auto at = static_cast<size_t>(comparison.total++);
    if (at < offset || at >= offset + limit) continue;
    const SampleOutcome& either = left != nullptr ? *left : *right;
    comparison.pairs.push_back({{"index", number},
                                {"question", either.question},
                                {"answer", either.answer},
                                {"a", OutcomeJson(left)},
                                {"b", OutcomeJson(right)}});
  }
  return comparison;
}

}  // namespace merganser
