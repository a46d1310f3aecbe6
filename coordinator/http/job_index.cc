#include "coordinator/http/job_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/job/ranking.h"

namespace merganser {
namespace {

constexpr size_t kFinishesMax = 100;
constexpr size_t kReasonMax = 300;  // characters of a message that is kept per candidate

using Cells = CandidateColumns::Cells;

bool AllFinite(absl::Span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

// At least as good in all objectives.
bool Covers(absl::Span<const double> a, absl::Span<const double> b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!(a[i] >= b[i])) return false;
  }
  return true;
}

bool Contains(absl::string_view text, absl::string_view lower_needle) {
  return absl::StrContains(absl::AsciiStrToLower(text), lower_needle);
}

// What a query's search finds. Texts are looked at once, not once per candidate.
class Search {
 public:
  Search(const std::string& search, const CandidateColumns& columns) : needle_(absl::AsciiStrToLower(search)) {
    if (needle_.empty()) return;
    int64_t generation = 0;
    if (needle_.size() > 1 && needle_[0] == 'g' && absl::SimpleAtoi(needle_.substr(1), &generation) && generation > 0) {
      generation_ = generation - 1;
      return;
    }
    number_ = std::all_of(needle_.begin(), needle_.end(), [](char c) { return absl::ascii_isdigit(c); });
    for (size_t i = 0; i < columns.texts(); ++i) {
      found_.push_back(Contains(columns.Text(static_cast<uint32_t>(i)), needle_));
    }
  }

  bool Matches(size_t number, const Cells& cells) const {
    if (needle_.empty()) return true;
    if (generation_ >= 0) return cells.kind_of() == CandidateKind::kSearch && cells.generation == generation_;
    return found_[cells.label] || found_[cells.worker] || found_[cells.message] ||
           (number_ && absl::StrContains(absl::StrCat(number), needle_));
  }

 private:
  const std::string needle_;
  int64_t generation_ = -1;
  bool number_ = false;      // it may be part of a number
  std::vector<bool> found_;  // by text
};

}  // namespace

std::optional<CandidateRow> JobIndex::Find(int64_t number) const {
  if (number < 0 || number >= static_cast<int64_t>(columns_.size())) return std::nullopt;
  return columns_.Row(static_cast<size_t>(number));
}

std::vector<CandidateRow> JobIndex::Rows(std::initializer_list<CandidateKind> kinds) const {
  std::vector<CandidateRow> rows;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (std::find(kinds.begin(), kinds.end(), columns_.at(i).kind_of()) != kinds.end()) rows.push_back(columns_.Row(i));
  }
  return rows;
}

void JobIndex::Apply(int64_t seq, const JobEvent& event, int64_t log_end) {
  if (seq <= seq_) return;
  seq_ = seq;
  log_end_ = log_end;
  std::visit([&](const auto& body) { Take(body, event); }, event.body);
}

void JobIndex::Take(const CandidatesProposed& e, const JobEvent& event) {
  for (const Candidate& c : e.candidates) {
    if (c.number < 0) continue;
    Cells& cells = columns_.Add(c.number);
    cells.kind = static_cast<uint8_t>(c.kind);
    cells.label = columns_.Intern(c.label);
    cells.generation = static_cast<int32_t>(c.generation);
    if (c.kind == CandidateKind::kSearch && c.stage > stage_) {
      stage_ = c.stage;
      stage_generation_ = c.generation;
    }
  }
  if (e.candidates.empty()) return;
  Line(event, std::nullopt, "proposal", [&] {
    const Candidate& first = e.candidates.front();
    const std::string what = first.kind == CandidateKind::kSearch ? absl::StrCat("generation ", first.generation + 1)
                                                                  : std::string(ToString(first.kind));
    return absl::StrCat(what, ": ", e.candidates.size() == 1 ? "candidate " : "candidates ", first.number,
                        e.candidates.size() == 1 ? "" : absl::StrCat(" to ", e.candidates.back().number), " proposed");
  });
}

void JobIndex::Take(const AttemptStarted& e, const JobEvent& event) {
  if (Cells* cells = columns_.Find(e.candidate)) {
    ForgetFailure(*cells);
    if (IsTerminal(cells->state_of())) cells->live = 0;
    cells->Set(CandidateState::kRunning);
    ++cells->live;
    cells->last_failed = false;
    cells->attempts = static_cast<uint16_t>(e.attempt);
    cells->worker = columns_.Intern(e.worker);
    cells->start_us = absl::ToUnixMicros(event.time);
  }
  Line(event, e.candidate, "attempt",
       [&] { return absl::StrCat("attempt ", e.attempt, " on ", e.worker, e.speculative ? ", beside a slow one" : ""); });
}

void JobIndex::Take(const AttemptEnded& e, const JobEvent& event) {
  const std::string reason = e.message.substr(0, kReasonMax);
  if (Cells* cells = columns_.Find(e.candidate)) {
    if (--cells->live <= 0) cells->Set(CandidateState::kQueued);
    if (e.attempt == cells->attempts) cells->last_failed = true;
    if (e.failure == FailureClass::kInfeasible) cells->infeasible = true;
    cells->message = columns_.Intern(reason);
  }
  Line(event, e.candidate, "attempt", [&] {
    return absl::StrCat("attempt ", e.attempt, " ended: ", ToString(e.failure), reason.empty() ? "" : ": ", reason);
  });
}

void JobIndex::Take(const CandidateFinished& e, const JobEvent& event) {
  Cells* cells = columns_.Find(e.candidate);
  if (cells == nullptr) return;
  const std::string reason = e.message.substr(0, kReasonMax);
  const CandidateKind kind = cells->kind_of();
  ForgetFailure(*cells);
  cells->Set(e.state);
  cells->message = columns_.Intern(reason);
  cells->end_us = absl::ToUnixMicros(event.time);
  columns_.SetFitness(e.candidate, e.fitness);
  if (kind == CandidateKind::kHeldOut) columns_.SetMetrics(e.candidate, e.metrics);
  if (e.state == CandidateState::kFailed) ++failures_[reason];
  if (kind == CandidateKind::kSource && e.state == CandidateState::kSucceeded) {
    Candidate& source = sources_.emplace_back();
    source.kind = kind;
    source.label = columns_.Text(cells->label);
    source.metrics = e.metrics;
  }
  if (kind == CandidateKind::kSource || kind == CandidateKind::kAverage || kind == CandidateKind::kSearch) {
    NoteLowest(e.fitness);
  }
  if (kind == CandidateKind::kSearch) {
    finishes_.push_back(event.time);
    if (finishes_.size() > kFinishesMax) finishes_.pop_front();
    AddToGeneration(cells->generation, e.fitness);
    if (!e.stop.has_value()) AddToFront(e.candidate, e.metrics);
  }
  Line(event, e.candidate, "result", [&] {
    std::string text(ToString(e.state));
    for (const double value : e.fitness) absl::StrAppendFormat(&text, " %.4f", value);
    if (!reason.empty()) absl::StrAppend(&text, ": ", reason);
    return text;
  });
}

void JobIndex::Take(const BlockScored& e, const JobEvent& event) {
  if (Cells* cells = columns_.Find(e.candidate)) {
    cells->Set(CandidateState::kQueued);
    cells->live = 0;
  }
  Line(event, e.candidate, "result", [] { return std::string("scored on its blocks so far"); });
}

void JobIndex::Take(const RaceAdvanced& e, const JobEvent& event) {
  Line(event, std::nullopt, "race",
       [&] { return absl::StrCat("race: ", e.candidates.size(), " candidates go on to block ", e.blocks); });
}

void JobIndex::Take(const PhaseStarted& e, const JobEvent& event) {
  Line(event, std::nullopt, "job",
       [&] { return absl::StrCat("job: ", ToString(e.phase), e.message.empty() ? "" : ": ", e.message); });
}

void JobIndex::Take(const ActionTaken& e, const JobEvent& event) {
  if (e.kind == ActionKind::kResumed && e.reopens) Retry();
  Line(event, std::nullopt, "job", [&] {
    return absl::StrCat(ToString(e.kind), e.by.empty() ? "" : " by ", e.by, e.message.empty() ? "" : ": ",
                        e.message.substr(0, kReasonMax));
  });
}

void JobIndex::ForgetFailure(const Cells& cells) {
  if (cells.state_of() != CandidateState::kFailed) return;
  const auto failure = failures_.find(columns_.Text(cells.message));
  if (failure != failures_.end() && --failure->second <= 0) failures_.erase(failure);
}

void JobIndex::Retry() {
  int64_t from = 0, newest = 0;  // generations
  for (size_t i = 0; i < columns_.size(); ++i) {
    const Cells& cells = columns_.at(i);
    if (cells.kind_of() != CandidateKind::kSearch) continue;
    newest = std::max<int64_t>(newest, cells.generation);
    if (cells.state_of() == CandidateState::kSucceeded) from = std::max<int64_t>(from, cells.generation);
  }
  from = spec_.samples.racing.has_value() ? newest : std::max(from, stage_generation_);
  for (size_t i = 0; i < columns_.size(); ++i) {
    Cells& cells = *columns_.Find(static_cast<int64_t>(i));
    const bool cut = cells.state_of() == CandidateState::kCancelled;
    bool again = cut || (cells.state_of() == CandidateState::kFailed && cells.last_failed && !cells.infeasible);
    switch (cells.kind_of()) {
      case CandidateKind::kPrepare:
        again = cells.state_of() != CandidateState::kSucceeded;
        break;
      case CandidateKind::kSearch:
        again &= cut || cells.generation >= from;
        break;
      case CandidateKind::kSource:
      case CandidateKind::kAverage:
        break;
      case CandidateKind::kFinalist:
      case CandidateKind::kHeldOut:
        again = false;
        break;
    }
    if (!again) continue;
    ForgetFailure(cells);
    cells.Set(CandidateState::kQueued);
    cells.message = columns_.Intern("");
    cells.end_us = INT64_MAX;
    cells.live = 0;
    cells.infeasible = false;
  }
}

void JobIndex::NoteLowest(absl::Span<const double> fitness) {
  if (lowest_.size() < fitness.size()) lowest_.resize(fitness.size(), std::numeric_limits<double>::infinity());
  for (size_t i = 0; i < fitness.size(); ++i) {
    if (std::isfinite(fitness[i])) lowest_[i] = std::min(lowest_[i], fitness[i]);
  }
}

void JobIndex::AddToGeneration(int64_t generation, absl::Span<const double> fitness) {
  if (generation < 0) return;
  if (generations_.size() < fitness.size()) generations_.resize(fitness.size());
  for (size_t objective = 0; objective < fitness.size(); ++objective) {
    const double value = fitness[objective];
    if (!std::isfinite(value)) continue;
    std::vector<GenerationLine>& lines = generations_[objective];
    while (static_cast<int64_t>(lines.size()) <= generation) lines.push_back({static_cast<int64_t>(lines.size())});
    GenerationLine& line = lines[static_cast<size_t>(generation)];
    line.best = line.count == 0 ? value : std::max(line.best, value);
    line.mean += (value - line.mean) / static_cast<double>(++line.count);
  }
}

// The front of a few objectives is short: dozens among 100,000 candidates.
void JobIndex::AddToFront(int64_t number, const MetricTable& metrics) {
  const auto fitness_of = [&](int64_t n) { return columns_.Fitness(static_cast<size_t>(n)); };
  const absl::Span<const double> fitness = fitness_of(number);
  if (fitness.empty() || !AllFinite(fitness)) return;
  Candidate candidate;
  candidate.metrics = metrics;
  if (!spec_.constraints.empty() && Violation(spec_, sources_, candidate) > 0) return;
  for (const int64_t other : front_) {
    if (Covers(fitness_of(other), fitness)) return;
  }
  std::erase_if(front_, [&](int64_t other) { return Covers(fitness, fitness_of(other)); });
  front_.insert(std::upper_bound(front_.begin(), front_.end(), number), number);
}

JobIndex::Page JobIndex::Select(const RowQuery& query) const {
  const double infinite = std::numeric_limits<double>::infinity();
  const auto key_of = [&](size_t i, const Cells& cells) -> double {
    if (query.order == "fitness") {
      if (columns_.HasFinite(i, query.objective)) return columns_.Fitness(i)[query.objective];
      return query.descending ? -infinite : infinite;
    }
    if (query.order == "generation") return cells.generation;
    if (query.order == "seconds") return cells.seconds();
    return static_cast<double>(i);
  };
  const Search search(query.search, columns_);
  struct Match {
    double key;
    uint32_t number;
  };
  std::vector<Match> matches;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const Cells& cells = columns_.at(i);
    if (query.kind.has_value() && cells.kind_of() != *query.kind) continue;
    if (query.state.has_value() && cells.state_of() != *query.state) continue;
    if (search.Matches(i, cells)) matches.push_back({key_of(i, cells), static_cast<uint32_t>(i)});
  }
  Page page;
  page.total = matches.size();
  const size_t begin = std::min(query.offset, matches.size()), end = std::min(begin + query.limit, matches.size());
  // Only as far as the page goes.
  std::partial_sort(matches.begin(), matches.begin() + static_cast<std::ptrdiff_t>(end), matches.end(),
                    [&](const Match& a, const Match& b) {
                      if (a.key != b.key) return query.descending ? a.key > b.key : a.key < b.key;
                      return a.number < b.number;
                    });
  for (size_t i = begin; i < end; ++i) page.rows.push_back(columns_.Row(matches[i].number));
  return page;
}

std::vector<FitnessPoint> JobIndex::Thinned(size_t objective, size_t count) const {
  std::vector<FitnessPoint> all;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_.at(i).kind_of() != CandidateKind::kSearch || !columns_.HasFinite(i, objective)) continue;
    all.push_back({static_cast<int64_t>(i), columns_.at(i).generation, columns_.Fitness(i)[objective]});
  }
  if (all.size() <= count || count < 2) return all;
  std::vector<FitnessPoint> thinned;
  const auto lowest = std::min_element(all.begin(), all.end(),
                                       [](const FitnessPoint& a, const FitnessPoint& b) { return a.fitness < b.fitness; });
  double best = -std::numeric_limits<double>::infinity();
  size_t next = 0;  // of the even choice
  for (size_t i = 0; i < all.size(); ++i) {
    const bool even = i == next * all.size() / count, better = all[i].fitness > best;
    if (even) ++next;
    if (better) best = all[i].fitness;
    if (even || better || &all[i] == &*lowest) thinned.push_back(all[i]);
  }
  return thinned;
}

std::vector<GenerationLine> JobIndex::Generations(size_t objective) const {
  if (objective >= generations_.size()) return {};
  std::vector<GenerationLine> lines = generations_[objective];
  std::erase_if(lines, [](const GenerationLine& line) { return line.count == 0; });
  return lines;
}

std::vector<std::pair<std::string, int64_t>> JobIndex::Failures() const {
  std::vector<std::pair<std::string, int64_t>> reasons(failures_.begin(), failures_.end());
  std::stable_sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return reasons;
}

double JobIndex::Rate(absl::Time now) const {
  if (finishes_.size() < 2) return 0;
  const double seconds = absl::ToDoubleSeconds(std::max(now, finishes_.back()) - finishes_.front());
  return seconds > 0 ? static_cast<double>(finishes_.size() - 1) / seconds : 0;
}

std::vector<const EventLine*> JobIndex::SelectEvents(const EventQuery& query) const {
  const std::string needle = absl::AsciiStrToLower(query.search);
  std::vector<const EventLine*> lines;
  for (auto line = events_.rbegin(); line != events_.rend() && lines.size() < query.limit; ++line) {
    if (line->seq >= query.before || (!query.kind.empty() && line->kind != query.kind)) continue;
    if (query.candidate.has_value() && line->candidate != query.candidate) continue;
    if (needle.empty() || Contains(line->text, needle)) lines.push_back(&*line);
  }
  return lines;
}

}  // namespace merganser
