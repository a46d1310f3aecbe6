#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/time_codec.h"
#include "google/protobuf/arena.h"

namespace merganser {
namespace {

v1::JobSettings SettingsToProto(const JobSettings& settings) {
  v1::JobSettings p;
  for (const Budget& budget : settings.budgets) *p.add_budgets() = ToProto(budget);
  p.set_max_attempts(settings.max_attempts);
  if (settings.attempt_timeout != absl::InfiniteDuration()) {
    *p.mutable_attempt_timeout() = ToProto(settings.attempt_timeout);
  }
  p.set_priority(settings.priority);
  p.set_share(settings.share);
  return p;
}

template <typename ProtoMap>
void SetScores(const ScoresByBenchmark& table, ProtoMap* map) {
  for (const auto& [benchmark, scores] : table) {
    v1::SampleScores& p = (*map)[benchmark];
    p.set_scored(scores.scored.bytes());
    for (const auto& [name, metric] : scores.metrics) {
      v1::MetricScores& m = (*p.mutable_metrics())[name];
      m.set_right(metric.right.bytes());
      if (metric.values.empty()) continue;
      for (const int64_t sample : scores.scored.Numbers()) m.add_values(metric.Of(sample));
    }
  }
}

template <typename ProtoMap>
absl::StatusOr<ScoresByBenchmark> GetScores(const ProtoMap& map) {
  ScoresByBenchmark table;
  for (const auto& [benchmark, p] : map) {
    SampleScores& scores = table[benchmark];
    scores.scored = Bitmap(p.scored());
    const std::vector<int64_t> numbers = scores.scored.Numbers();
    for (const auto& [name, m] : p.metrics()) {
      if (m.values_size() == 0) {
        scores.metrics[name].right = Bitmap(m.right());
        continue;
      }
      if (m.values_size() != static_cast<int>(numbers.size())) {
        return absl::InvalidArgumentError(absl::StrCat("scores of ", benchmark, ".", name, ": ", m.values_size(),
                                                       " values of ", numbers.size(), " samples"));
      }
      std::vector<double>& values = scores.metrics[name].values;
      for (size_t i = 0; i < numbers.size(); ++i) {
        values.resize(static_cast<size_t>(numbers[i]) + 1, 0.0);
        values.back() = m.values(static_cast<int>(i));
      }
    }
  }
  return table;
}

class EventWriter {
 public:
  explicit EventWriter(v1::JobEvent* event) : proto(event) {}

  void operator()(const CandidatesProposed& e) const {
    proto->mutable_candidates_proposed();
    for (const Candidate& c : e.candidates) *proto->mutable_candidates_proposed()->add_candidates() = ToProto(c);
    proto->mutable_candidates_proposed()->set_population(e.population);
    proto->mutable_candidates_proposed()->set_slots(e.slots);
  }
  void operator()(const AttemptStarted& e) const {
    v1::AttemptStarted* p = proto->mutable_attempt_started();
    p->set_candidate(e.candidate);
    p->set_attempt(e.attempt);
    p->set_token(e.token);
    p->set_worker(e.worker);
    p->set_speculative(e.speculative);
  }
  void operator()(const AttemptEnded& e) const {
    v1::AttemptEnded* p = proto->mutable_attempt_ended();
    p->set_candidate(e.candidate);
    p->set_attempt(e.attempt);
    p->set_failure(std::string(ToString(e.failure)));
    p->set_message(e.message);
  }
  void operator()(const CandidateFinished& e) const {
    v1::CandidateFinished* p = proto->mutable_candidate_finished();
    p->set_candidate(e.candidate);
    p->set_state(std::string(ToString(e.state)));
    p->set_attempt(e.attempt);
    for (double f : e.fitness) p->add_fitness(f);
    for (const auto& [benchmark, values] : e.metrics) {
      auto& entry = *(*p->mutable_metrics())[benchmark].mutable_values();
      for (const auto& [metric, value] : values) entry[metric] = value;
    }
    p->set_record_key(e.record_key);
    p->set_record_sha256(e.record_sha256);
    p->set_message(e.message);
    *p->mutable_timings() = ToProto(e.timings);
    if (e.facts) *p->mutable_facts() = ToProto(*e.facts);
    SetScores(e.scores, p->mutable_scores());
    if (e.stop) *p->mutable_stop() = ToProto(*e.stop);
  }
  void operator()(const BlockScored& e) const {
    v1::BlockScored* p = proto->mutable_block_scored();
    p->set_candidate(e.candidate);
    p->set_attempt(e.attempt);
    SetScores(e.scores, p->mutable_scores());
    p->set_record_key(e.record_key);
    p->set_record_sha256(e.record_sha256);
    *p->mutable_timings() = ToProto(e.timings);
  }
  void operator()(const RaceAdvanced& e) const {
    v1::RaceAdvanced* p = proto->mutable_race_advanced();
    p->mutable_candidates()->Add(e.candidates.begin(), e.candidates.end());
    p->set_blocks(e.blocks);
  }
  void operator()(const PhaseStarted& e) const {
    proto->mutable_phase_started()->set_phase(std::string(ToString(e.phase)));
    proto->mutable_phase_started()->set_message(e.message);
  }
  void operator()(const ActionTaken& e) const {
    v1::ActionTaken* p = proto->mutable_action_taken();
    p->set_kind(std::string(ToString(e.kind)));
    p->set_by(e.by);
    p->set_message(e.message);
    if (e.settings) *p->mutable_settings() = SettingsToProto(*e.settings);
    p->set_reopens(e.reopens);
    p->set_worker(e.worker);
    if (e.until != absl::InfiniteFuture()) *p->mutable_until_time() = ToProto(e.until);
  }

 private:
  v1::JobEvent* const proto;
};

absl::StatusOr<JobSettings> SettingsFromProto(const v1::JobSettings& p) {
  JobSettings settings;
  for (const v1::Budget& budget : p.budgets()) {
    MG_ASSIGN_OR_RETURN(settings.budgets.emplace_back(), FromProto(budget));
  }
  settings.max_attempts = p.max_attempts();
  if (p.has_attempt_timeout()) settings.attempt_timeout = FromProto(p.attempt_timeout());
  settings.priority = p.priority();
  settings.share = p.share();
  return settings;
}

class Codec : public JobCodec {
 public:
  std::string EncodeEvent(const JobEvent& event) const override { return SerializeDeterministic(ToProto(event)); }

  absl::StatusOr<JobEvent> DecodeEvent(absl::string_view bytes) const override {
    // A proposal of many candidates is many small messages; a restart reads hundreds of thousands of them.
    google::protobuf::Arena arena;
    auto* const proto = google::protobuf::Arena::CreateMessage<v1::JobEvent>(&arena);
    if (!Parse(bytes, proto)) return absl::DataLossError("event is not a JobEvent message");
    absl::StatusOr<JobEvent> event = FromProto(*proto);
    if (!event.ok()) return absl::DataLossError(absl::StrCat("event: ", event.status().message()));
    return event;
  }

  std::string EncodeSpec(const JobSpec& spec) const override { return SerializeDeterministic(ToProto(spec)); }

  absl::StatusOr<JobSpec> DecodeSpec(absl::string_view bytes) const override {
    v1::JobSpec proto;
    if (!Parse(bytes, &proto)) return absl::DataLossError("job is not a JobSpec message");
    absl::StatusOr<JobSpec> spec = FromProto(proto);
    if (!spec.ok()) return absl::DataLossError(absl::StrCat("job: ", spec.status().message()));
    return spec;
  }

  absl::StatusOr<RecordSummary> DecodeRecord(absl::string_view bytes) const override {
    v1::ResultRecord proto;
    if (!Parse(bytes, &proto)) return absl::DataLossError("record is not a ResultRecord message");
    RecordSummary summary{proto.job_id(), proto.candidate(), proto.attempt(), proto.token(), proto.worker(), {}, {}, {}};
    if (proto.has_facts()) {
      summary.facts = FromProto(proto.facts());
    } else if (proto.has_evaluation()) {
      const v1::Evaluation& evaluation = proto.evaluation();
      summary.timings = FromProto(evaluation.timings());
      summary.generated_tokens = evaluation.generated_tokens();
      for (const v1::BenchmarkResult& result : evaluation.results()) {
        summary.metrics[result.benchmark()] = {result.metrics().begin(), result.metrics().end()};
      }
      summary.scores = ScoresOf(evaluation);
    } else {
      return absl::DataLossError("record holds neither an evaluation nor facts");
    }
    return summary;
  }

 private:
  static bool Parse(absl::string_view bytes, google::protobuf::Message* proto) {
    return proto->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
};

}  // namespace

ScoresByBenchmark ScoresOf(const v1::Evaluation& evaluation) {
  constexpr double kSameMean = 1e-9;  // sums in another order
  constexpr int64_t kNumberMax = int64_t{1} << 32;
  ScoresByBenchmark table;
  for (const v1::BenchmarkResult& result : evaluation.results()) {
    const int n = result.samples_size();
    std::vector<int64_t> numbers(result.numbers().begin(), result.numbers().end());
    if (numbers.empty()) {
      numbers.resize(static_cast<size_t>(n));
      std::iota(numbers.begin(), numbers.end(), 0);
    }
    const bool ascending = std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) == numbers.end();
    if (n == 0 || static_cast<int>(numbers.size()) != n || !ascending || numbers.front() < 0 || numbers.back() > kNumberMax)
      continue;
    for (const auto& [name, mean] : result.metrics()) {
      std::vector<double> values;
      double sum = 0;
      for (const v1::SampleOutcome& sample : result.samples()) {
        const auto value = sample.values().find(name);
        if (value == sample.values().end() || !std::isfinite(value->second)) break;
        values.push_back(value->second);
        sum += value->second;
      }
      if (static_cast<int>(values.size()) != n) continue;
      if (!(std::abs(sum / n - mean) <= kSameMean * std::max(1.0, std::abs(mean)))) continue;
      table[result.benchmark()].Add(name, numbers, values);
    }
  }
  return table;
}

v1::JobEvent ToProto(const JobEvent& event) {
  v1::JobEvent proto;
  *proto.mutable_time() = ToProto(event.time);
  std::visit(EventWriter(&proto), event.body);
  return proto;
}

absl::StatusOr<JobEvent> FromProto(const v1::JobEvent& proto) {
  JobEvent event;
  event.time = FromProto(proto.time());
  switch (proto.event_case()) {
    case v1::JobEvent::kCandidatesProposed: {
      CandidatesProposed e;
      for (const v1::Candidate& c : proto.candidates_proposed().candidates()) {
        MG_ASSIGN_OR_RETURN(Candidate candidate, FromProto(c));
        e.candidates.push_back(std::move(candidate));
      }
      e.population = proto.candidates_proposed().population();
      e.slots = proto.candidates_proposed().slots();
      event.body = std::move(e);
      break;
    }
    case v1::JobEvent::kAttemptStarted: {
      const v1::AttemptStarted& p = proto.attempt_started();
      event.body = AttemptStarted{p.candidate(), p.attempt(), p.token(), p.worker(), p.speculative()};
      break;
    }
    case v1::JobEvent::kAttemptEnded: {
      const v1::AttemptEnded& p = proto.attempt_ended();
      MG_ASSIGN_OR_RETURN(const FailureClass failure, ParseFailureClass(p.failure()));
      event.body = AttemptEnded{p.candidate(), p.attempt(), failure, p.message()};
      break;
    }
    case v1::JobEvent::kCandidateFinished: {
      const v1::CandidateFinished& p = proto.candidate_finished();
      CandidateFinished e;
      e.candidate = p.candidate();
      MG_ASSIGN_OR_RETURN(e.state, ParseCandidateState(p.state()));
      e.attempt = p.attempt();
      e.fitness = {p.fitness().begin(), p.fitness().end()};
      for (const auto& [benchmark, values] : p.metrics()) {
        e.metrics[benchmark] = {values.values().begin(), values.values().end()};
      }
      e.record_key = p.record_key();
      e.record_sha256 = p.record_sha256();
      e.message = p.message();
      e.timings = FromProto(p.timings());
      if (p.has_facts()) e.facts = FromProto(p.facts());
      MG_ASSIGN_OR_RETURN(e.scores, GetScores(p.scores()));
      if (p.has_stop()) e.stop = FromProto(p.stop());
      event.body = std::move(e);
      break;
    }
    case v1::JobEvent::kBlockScored: {
      const v1::BlockScored& p = proto.block_scored();
      BlockScored e{p.candidate(), p.attempt(), {}, p.record_key(), p.record_sha256(), FromProto(p.timings())};
      MG_ASSIGN_OR_RETURN(e.scores, GetScores(p.scores()));
      event.body = std::move(e);
      break;
    }
    case v1::JobEvent::kRaceAdvanced: {
      const v1::RaceAdvanced& p = proto.race_advanced();
      event.body = RaceAdvanced{{p.candidates().begin(), p.candidates().end()}, p.blocks()};
      break;
    }
    case v1::JobEvent::kPhaseStarted: {
      MG_ASSIGN_OR_RETURN(const JobPhase phase, ParseJobPhase(proto.phase_started().phase()));
      event.body = PhaseStarted{phase, proto.phase_started().message()};
      break;
    }
    case v1::JobEvent::kActionTaken: {
      const v1::ActionTaken& p = proto.action_taken();
      ActionTaken e{.by = p.by(), .message = p.message(), .reopens = p.reopens(), .worker = p.worker()};
      if (p.has_until_time()) e.until = FromProto(p.until_time());
      MG_ASSIGN_OR_RETURN(e.kind, ParseActionKind(p.kind()));
      if (p.has_settings()) {
        MG_ASSIGN_OR_RETURN(e.settings, SettingsFromProto(p.settings()));
      }
      event.body = std::move(e);
      break;
    }
    case v1::JobEvent::EVENT_NOT_SET:
      return absl::InvalidArgumentError("event of a kind that this build does not know");
  }
  return event;
}

const JobCodec& ProtoJobCodec() {
  static const Codec* const codec = new Codec;
  return *codec;
}

}  // namespace merganser
