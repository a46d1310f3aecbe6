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

bool Finite(const CandidateRow& row, size_t objective) {
  return row.fitness.size() > objective && std::isfinite(row.fitness[objective]);
}

double Seconds(const CandidateRow& row) {
  if (row.start_time == absl::InfiniteFuture() || row.end_time == absl::InfiniteFuture()) return 0;
  return absl::ToDoubleSeconds(row.end_time - row.start_time);
}

// At least as good in all objectives.
bool Covers(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!(a[i] >= b[i])) return false;
  }
  return true;
}

bool Contains(absl::string_view text, absl::string_view lower_needle) {
  return absl::StrContains(absl::AsciiStrToLower(text), lower_needle);
}

bool Matches(const CandidateRow& row, const RowQuery& query, absl::string_view needle, int64_t generation) {
  if (query.kind.has_value() && row.kind != *query.kind) return false;
  if (query.state.has_value() && row.state != *query.state) return false;
  if (needle.empty()) return true;
  if (generation >= 0) return row.kind == CandidateKind::kSearch && row.generation == generation;
  return absl::StrContains(absl::StrCat(row.number), needle) || Contains(row.label, needle) ||
         Contains(row.worker, needle) || Contains(row.message, needle);
}

}  // namespace

const CandidateRow* JobIndex::Find(int64_t number) const {
  return number >= 0 && number < static_cast<int64_t>(rows_.size()) ? &rows_[number] : nullptr;
}

CandidateRow* JobIndex::Row(int64_t number) {
  return number >= 0 && number < static_cast<int64_t>(rows_.size()) ? &rows_[number] : nullptr;
}

void JobIndex::Apply(int64_t seq, const JobEvent& event) {
  if (seq <= seq_) return;
  seq_ = seq;
  std::visit([&](const auto& body) { Take(body, event); }, event.body);
}

void JobIndex::Line(const JobEvent& event, std::optional<int64_t> candidate, std::string text) {
  events_.push_back({seq_, event.time, candidate, std::move(text)});
  if (events_.size() > kEventLinesMax) events_.pop_front();
}

void JobIndex::Take(const CandidatesProposed& e, const JobEvent& event) {
  for (const Candidate& c : e.candidates) {
    if (c.number < 0) continue;
    if (static_cast<int64_t>(rows_.size()) <= c.number) rows_.resize(c.number + 1);
    CandidateRow& row = rows_[c.number];
    row.number = c.number;
    row.kind = c.kind;
    row.label = c.label;
    row.generation = c.generation;
  }
  if (e.candidates.empty()) return;
  const Candidate& first = e.candidates.front();
  const std::string what = first.kind == CandidateKind::kSearch ? absl::StrCat("generation ", first.generation + 1)
                                                                : std::string(ToString(first.kind));
  Line(event, std::nullopt,
       absl::StrCat(what, ": ", e.candidates.size() == 1 ? "candidate " : "candidates ", first.number,
                    e.candidates.size() == 1 ? "" : absl::StrCat(" to ", e.candidates.back().number), " proposed"));
}

void JobIndex::Take(const AttemptStarted& e, const JobEvent& event) {
  if (CandidateRow* row = Row(e.candidate)) {
    row->state = CandidateState::kRunning;
    ++row->live;
    row->attempts = e.attempt;
    row->worker = e.worker;
    row->start_time = event.time;
  }
  Line(event, e.candidate,
       absl::StrCat("attempt ", e.attempt, " on ", e.worker, e.speculative ? ", beside a slow one" : ""));
}

void JobIndex::Take(const AttemptEnded& e, const JobEvent& event) {
  if (CandidateRow* row = Row(e.candidate)) {
    if (--row->live <= 0) row->state = CandidateState::kQueued;
    row->message = e.message.substr(0, kReasonMax);
  }
  Line(event, e.candidate,
       absl::StrCat("attempt ", e.attempt, " ended: ", ToString(e.failure), e.message.empty() ? "" : ": ",
                    e.message.substr(0, kReasonMax)));
}

void JobIndex::Take(const CandidateFinished& e, const JobEvent& event) {
  CandidateRow* row = Row(e.candidate);
  if (row == nullptr) return;
  row->state = e.state;
  row->fitness = e.fitness;
  row->message = e.message.substr(0, kReasonMax);
  row->end_time = event.time;
  if (row->kind == CandidateKind::kHeldOut) row->metrics = e.metrics;
  if (e.state == CandidateState::kFailed) ++failures_[row->message];
  if (row->kind == CandidateKind::kSource && e.state == CandidateState::kSucceeded) {
    Candidate& source = sources_.emplace_back();
    source.kind = row->kind;
    source.label = row->label;
    source.metrics = e.metrics;
  }
  if (row->kind == CandidateKind::kSearch) {
    finishes_.push_back(event.time);
    if (finishes_.size() > kFinishesMax) finishes_.pop_front();
    if (!e.stop.has_value()) AddToFront(*row, e.metrics);
  }
  std::string text(ToString(e.state));
  for (const double value : e.fitness) absl::StrAppendFormat(&text, " %.4f", value);
  if (!e.message.empty()) absl::StrAppend(&text, ": ", row->message);
  Line(event, e.candidate, std::move(text));
}

void JobIndex::Take(const BlockScored& e, const JobEvent& event) {
  if (CandidateRow* row = Row(e.candidate)) {
    row->state = CandidateState::kQueued;
    row->live = 0;
  }
  Line(event, e.candidate, "scored on its blocks so far");
}

void JobIndex::Take(const RaceAdvanced& e, const JobEvent& event) {
  Line(event, std::nullopt, absl::StrCat("race: ", e.candidates.size(), " candidates go on to block ", e.blocks));
}

void JobIndex::Take(const PhaseStarted& e, const JobEvent& event) {
  Line(event, std::nullopt, absl::StrCat("job: ", ToString(e.phase), e.message.empty() ? "" : ": ", e.message));
}

void JobIndex::Take(const ActionTaken& e, const JobEvent& event) {
  Line(event, std::nullopt,
       absl::StrCat(ToString(e.kind), e.by.empty() ? "" : " by ", e.by, e.message.empty() ? "" : ": ",
                    e.message.substr(0, kReasonMax)));
}

// The front of a few objectives is short: dozens among 100,000 candidates.
void JobIndex::AddToFront(const CandidateRow& row, const MetricTable& metrics) {
  Candidate candidate;
  candidate.metrics = metrics;
  if (row.fitness.empty() || Violation(spec_, sources_, candidate) > 0) return;
  for (const double value : row.fitness) {
    if (!std::isfinite(value)) return;
  }
  for (const int64_t number : front_) {
    if (Covers(rows_[number].fitness, row.fitness)) return;
  }
  std::erase_if(front_, [&](int64_t number) { return Covers(row.fitness, rows_[number].fitness); });
  front_.insert(std::upper_bound(front_.begin(), front_.end(), row.number), row.number);
}

JobIndex::Page JobIndex::Select(const RowQuery& query) const {
  const std::string needle = absl::AsciiStrToLower(query.search);
  int64_t generation = 0;
  if (needle.size() < 2 || needle[0] != 'g' || !absl::SimpleAtoi(needle.substr(1), &generation)) generation = 0;
  std::vector<const CandidateRow*> rows;
  for (const CandidateRow& row : rows_) {
    if (Matches(row, query, needle, generation - 1)) rows.push_back(&row);
  }
  const auto sort_by = [&](const auto& key) {
    std::stable_sort(rows.begin(), rows.end(), [&](const CandidateRow* a, const CandidateRow* b) {
      return query.descending ? key(*a) > key(*b) : key(*a) < key(*b);
    });
  };
  if (query.order == "fitness") {
    const double last =
        query.descending ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    sort_by([&](const CandidateRow& row) { return Finite(row, query.objective) ? row.fitness[query.objective] : last; });
  } else if (query.order == "generation") {
    sort_by([](const CandidateRow& row) { return row.generation; });
  } else if (query.order == "seconds") {
    sort_by([](const CandidateRow& row) { return Seconds(row); });
  } else if (query.descending) {
    std::reverse(rows.begin(), rows.end());
  }
  Page page;
  page.total = rows.size();
  for (size_t i = query.offset; i < rows.size() && i < query.offset + query.limit; ++i) page.rows.push_back(rows[i]);
  return page;
}

std::vector<const CandidateRow*> JobIndex::Thinned(size_t objective, size_t count) const {
  std::vector<const CandidateRow*> all;
  for (const CandidateRow& row : rows_) {
    if (row.kind == CandidateKind::kSearch && Finite(row, objective)) all.push_back(&row);
  }
  if (all.size() <= count || count < 2) return all;
  std::vector<const CandidateRow*> thinned;
  const size_t runs = count / 2;
  for (size_t run = 0; run < runs; ++run) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(run * all.size() / runs);
    const auto end = all.begin() + static_cast<std::ptrdiff_t>((run + 1) * all.size() / runs);
    const auto [low, high] = std::minmax_element(begin, end, [&](const CandidateRow* a, const CandidateRow* b) {
      return a->fitness[objective] < b->fitness[objective];
    });
    thinned.push_back(*std::min(low, high));
    if (low != high) thinned.push_back(*std::max(low, high));
  }
  return thinned;
}

std::vector<GenerationLine> JobIndex::Generations(size_t objective) const {
  std::map<int64_t, GenerationLine> lines;
  for (const CandidateRow& row : rows_) {
    if (row.kind != CandidateKind::kSearch || !Finite(row, objective)) continue;
    GenerationLine& line = lines[row.generation];
    const double value = row.fitness[objective];
    line.generation = row.generation;
    line.best = line.count == 0 ? value : std::max(line.best, value);
    line.mean += (value - line.mean) / static_cast<double>(++line.count);
  }
  std::vector<GenerationLine> result;
  for (const auto& [generation, line] : lines) result.push_back(line);
  return result;
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

}  // namespace merganser
