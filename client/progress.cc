#include "client/progress.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/ranking.h"

namespace merganser {
namespace {

constexpr int kBarColumns = 24;

// What the search's lines show one number of: the objective, or the weighted sum that names the winner.
std::string SoughtText(const JobSummary& job) {
  if (job.spec.objectives.empty()) return "fitness";
  std::string text;
  for (const Objective& o : job.spec.objectives) {
    absl::StrAppend(&text, text.empty() ? "" : " + ", o.weight == 1 ? "" : absl::StrCat(o.weight, " x "), o.benchmark, ".",
                    o.metric);
  }
  return text;
}

// {"a": {"acc": 0.5}} as "a acc 0.5000".
std::string MetricsText(const MetricTable& metrics) {
  std::string text;
  for (const auto& [benchmark, values] : metrics) {
    absl::StrAppend(&text, text.empty() ? "" : "  ", benchmark);
    for (const auto& [name, value] : values) absl::StrAppend(&text, " ", name, " ", FormatFitness(value));
  }
  return text;
}

double Seconds(const PhaseTimings& t) { return t.materialize + t.tokenize + t.prefill + t.decode + t.score + t.record; }

}  // namespace

void Progress::Clear() {
  if (drawn_.empty()) return;
  out_ << "\r\033[K" << std::flush;
  drawn_.clear();
}

void Progress::Note(absl::string_view line) {
  Clear();
  out_ << line << "\n" << std::flush;
}

void Progress::Line(const std::string& line) {
  if (!quiet_) Note(line);
}

void Progress::OnEvent(int64_t seq, const JobEvent& event, const JobSummary& job) {
  quiet_ = seq <= quiet_through_;
  std::visit([&](const auto& body) { On(body, event.time, job); }, event.body);
}

void Progress::On(const CandidatesProposed& e, absl::Time time, const JobSummary& job) {
  for (const Candidate& c : e.candidates) {
    candidates_[c.number] = {c.kind, c.label, c.generation};
    if (c.kind == CandidateKind::kSearch) ++generations_[c.generation].proposed;
  }
  const bool search = !e.candidates.empty() && e.candidates.front().kind == CandidateKind::kSearch;
  if (search && !search_start_ && !quiet_) {
    search_start_ = time;
    Estimate(job);
  }
}

void Progress::On(const AttemptStarted&, absl::Time time, const JobSummary& job) {
  // After a resume the open generation was proposed long ago; the clock starts with the first new
  // attempt.
  if (!quiet_ && !search_start_ && job.phase == JobPhase::kSearch) search_start_ = time;
}

void Progress::On(const AttemptEnded& e, absl::Time, const JobSummary&) {
  if (e.failure == FailureClass::kReleased) return;
  Line(absl::StrCat("candidate ", e.candidate, ": attempt ", e.attempt, " ended (", ToString(e.failure),
                    "): ", Shorten(e.message, 160)));
}

void Progress::On(const CandidateFinished& e, absl::Time, const JobSummary& job) {
  const Known known = candidates_[e.candidate];
  const bool succeeded = e.state == CandidateState::kSucceeded;
  if (e.state == CandidateState::kFailed) {
    Line(absl::StrCat("candidate ", e.candidate, known.label.empty() ? "" : " (", known.label,
                      known.label.empty() ? "" : ")", " failed: ", Shorten(e.message, 200)));
  }
  switch (known.kind) {
    case CandidateKind::kPrepare:
      return;
    case CandidateKind::kSource:
    case CandidateKind::kAverage:
      if (!succeeded) return;
      baseline_seconds_ += Seconds(e.timings);
      ++baselines_;
      Line(absl::StrFormat("  %-12s %s", known.label, MetricsText(e.metrics)));
      return;
    case CandidateKind::kFinalist:
    case CandidateKind::kHeldOut:
      if (succeeded) Line(absl::StrFormat("  %-12s %s", known.label, MetricsText(e.metrics)));
      return;
    case CandidateKind::kSearch:
      break;
  }
  ++search_finished_;
  if (!quiet_ && search_start_) ++search_seen_;
  Generation& generation = generations_[known.generation];
  ++generation.finished;
  if (succeeded && !e.fitness.empty()) {
    const double fitness = WeightedFitness(job.spec, e.fitness);
    generation.sum += fitness;
    if (!e.stop.has_value()) generation.best = std::max(generation.best.value_or(fitness), fitness);
    generation.stopped += e.stop.has_value();
    // One that a race stopped is not in the running.
    if (!e.stop.has_value() && (!best_ || fitness > *best_)) {
      best_ = fitness;
      best_candidate_ = e.candidate;
    }
  } else {
    ++generation.failed;
  }
  // A rolling search adds to its newest generation while candidates of it finish.
  const bool rolling = job.spec.mode == SearchMode::kRolling;
  if (generation.finished != (rolling ? std::max<int64_t>(generation.proposed, job.population) : generation.proposed))
    return;
  std::string line = absl::StrCat("generation ", known.generation + 1, "  ");
  if (generation.best) {
    absl::StrAppend(&line, "best ", FormatFitness(*generation.best), "  mean ",
                    FormatFitness(generation.sum / static_cast<double>(generation.finished - generation.failed)));
  } else {
    absl::StrAppend(&line, "no candidate succeeded");
  }
  if (best_) absl::StrAppend(&line, "  best so far ", FormatFitness(*best_), " (candidate ", best_candidate_, ")");
  if (generation.failed > 0) absl::StrAppend(&line, "  failed ", generation.failed);
  if (generation.stopped > 0) absl::StrAppend(&line, "  stopped ", generation.stopped);
  absl::StrAppend(&line, "  ", search_finished_, job.search_total > 0 ? absl::StrCat("/", job.search_total) : "", " done");
  Line(line);
}

void Progress::On(const PhaseStarted& e, absl::Time, const JobSummary& job) {
  switch (e.phase) {
    case JobPhase::kBaselines:
      Line("baselines: every model and the plain average");
      break;
    case JobPhase::kSearch:
      Line(absl::StrCat("search: ", SoughtText(job), ", larger is better"));
      break;
    case JobPhase::kFinalists:
      Line(absl::StrCat("finalists: the best candidates on ", job.spec.finalists.benchmark));
      break;
    case JobPhase::kHeldOut:
      Line("held-out benchmarks: every model, the plain average and the winner");
      break;
    case JobPhase::kFailed:
      Line(absl::StrCat("the job failed: ", e.message));
      break;
    case JobPhase::kCancelled:
      Line("the job was cancelled");
      break;
    default:
      break;
  }
}

void Progress::On(const ActionTaken& e, absl::Time, const JobSummary&) {
  const std::string who = e.by.empty() ? "" : absl::StrCat(" by ", e.by);
  switch (e.kind) {
    case ActionKind::kSubmitted:
    case ActionKind::kCancelled:  // the phase says so
      break;
    case ActionKind::kPaused:
      Line(absl::StrCat("paused", who, "; `merganser resume` lets it go on"));
      break;
    case ActionKind::kResumed:
      Line(absl::StrCat("resumed", who, e.message.empty() ? "" : " ", e.message));
      break;
    case ActionKind::kUpdated:
      Line(absl::StrCat("updated", who, ": ", e.message, e.reopens ? "; the search goes on" : ""));
      break;
    case ActionKind::kWorkerDrained:
      Line(absl::StrCat("worker drained", who, ": ", e.message));
      break;
    case ActionKind::kWorkerQuarantined:
      Line(absl::StrCat("worker quarantined", who, ": ", e.message));
      break;
    case ActionKind::kWorkerReleased:
      Line(absl::StrCat("worker released", who, ": ", e.message));
      break;
  }
}

void Progress::Estimate(const JobSummary& job) {
  const int64_t left = job.search_total - job.search_finished;
  if (slots_ == 0 || baselines_ == 0 || left <= 0) return;
  // Baselines are scored on all samples, candidates of a search with draws on some.
  int64_t all = 0, some = 0;
  if (job.facts) {
    some = SamplesPerCandidate(job.spec, *job.facts);
    JobSpec whole = job.spec;
    whole.samples.per_generation = 0;
    all = SamplesPerCandidate(whole, *job.facts);
  }
  const bool fewer = some < all;
  const double each = baseline_seconds_ / static_cast<double>(baselines_) * (fewer ? static_cast<double>(some) / all : 1);
  const absl::Duration total = absl::Seconds(each * static_cast<double>(left) / slots_);
  Line(absl::StrCat("estimate: about ", DurationText(total), " for ", FormatCount(left), " candidates at ",
                    DurationText(absl::Seconds(each)), " each, as the ", baselines_, " baselines took",
                    fewer ? absl::StrCat(" for ", FormatCount(some), " of their ", FormatCount(all), " samples") : ""));
}

std::optional<absl::Duration> Progress::Remaining(const JobSummary& job, absl::Time now) const {
  // One finished candidate says little: the first ones of a generation wait for each other.
  if (!search_start_ || search_seen_ < 2 || job.search_total == 0 || job.phase != JobPhase::kSearch) return std::nullopt;
  const int64_t left = std::max<int64_t>(0, job.search_total - job.search_finished);
  return (now - *search_start_) / search_seen_ * left;
}

std::string Progress::Bar(const JobSummary& job, absl::Time now) const {
  std::string bar = absl::StrCat(ToString(job.phase), job.paused ? " (paused)" : "");
  // What a worker holds beyond its slots waits there.
  const int64_t running = slots_ > 0 ? std::min<int64_t>(job.running, slots_) : job.running;
  if (job.phase == JobPhase::kSearch) {
    if (job.search_total > 0) {
      const double share = static_cast<double>(job.search_finished) / static_cast<double>(job.search_total);
      const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarColumns);
      absl::StrAppend(&bar, " [", std::string(filled, '#'), std::string(kBarColumns - filled, '.'), "]");
    }
    absl::StrAppend(&bar, "  ", job.search_finished, job.search_total > 0 ? absl::StrCat("/", job.search_total) : " done");
  } else {
    absl::StrAppend(&bar, "  queued ", job.queued + job.running - running);
  }
  absl::StrAppend(&bar, "  running ", running);
  if (job.failed > 0) absl::StrAppend(&bar, "  failed ", job.failed);
  if (job.running == 0 && !job.paused && !job.waiting.empty()) absl::StrAppend(&bar, "  waits: ", job.waiting);
  if (!job.best_fitness.empty())
    absl::StrAppend(&bar, "  best ", FormatFitness(WeightedFitness(job.spec, job.best_fitness)));
  if (const auto remaining = Remaining(job, now)) absl::StrAppend(&bar, "  ETA ", DurationText(*remaining));
  return bar;
}

void Progress::Draw(const JobSummary& job, absl::Time now) {
  if (!terminal_.interactive) return;
  std::string bar = Shorten(Bar(job, now), terminal_.width - 1);
  if (bar == drawn_) return;
  out_ << "\r\033[K" << bar << std::flush;
  drawn_ = std::move(bar);
}

}  // namespace merganser
