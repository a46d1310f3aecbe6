// What the dashboard keeps of a job: some 50 bytes per candidate and a line per event, without recipes and genomes, so that
// a job of 100,000 candidates is a few megabytes and is searched, sorted and drawn without asking the job loop for it again.
#ifndef MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_
#define MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/domain/candidate.h"
#include "common/domain/events.h"
#include "coordinator/http/candidate_columns.h"

namespace merganser {

// An event for people: "candidate 12: attempt 2 on worker-1".
struct EventLine {
  int64_t seq = 0;
  absl::Time time;
  std::optional<int64_t> candidate;
  absl::string_view kind;  // one of kEventKinds
  std::string text;
};
// Candidates were proposed; an attempt began or ended; a candidate was scored or ended; a race went on; the job as a whole.
inline constexpr absl::string_view kEventKinds[] = {"proposal", "attempt", "result", "race", "job"};

struct EventQuery {
  int64_t before = INT64_MAX;        // their seq is below it
  std::string kind;                  // "": all
  std::string search;                // part of the text, in any case; "": all
  std::optional<int64_t> candidate;  // about it, by number
  size_t limit = 50;
};

struct RowQuery {
  std::string search;  // part of number, label, worker or message, or "gN" for a generation as people count them; "": all
  std::optional<CandidateKind> kind;
  std::optional<CandidateState> state;
  // "number", "fitness" (of the objective; failed ones last either way), "generation", "seconds".
  std::string order = "number";
  bool descending = false;
  size_t objective = 0;
  size_t offset = 0, limit = 50;
};

// A search candidate in the chart.
struct FitnessPoint {
  int64_t number = 0;
  int64_t generation = 0;
  double fitness = 0;
};

// Best and mean fitness of one generation.
struct GenerationLine {
  int64_t generation = 0;
  int64_t count = 0;
  double best = 0, mean = 0;
};

// A value, fed with the job's events in order; it is moved, not copied. Not thread-safe.
class JobIndex {
 public:
  static constexpr int64_t kEventLinesMax = 10'000;  // older ones are in the log (`merganser events`)

  // `spec`: the job's; its constraints keep candidates from the front.
  explicit JobIndex(JobSpec spec = {}) : spec_(std::move(spec)) {}

  // Events that were applied already are skipped. `log_end`: how far the log goes, as far as that is known; no line is made
  // of what would not be among the newest then.
  void Apply(int64_t seq, const JobEvent& event, int64_t log_end = 0);

  int64_t seq() const { return seq_; }
  // Candidates so far; their numbers are below it.
  size_t size() const { return columns_.size(); }
  std::optional<CandidateRow> Find(int64_t number) const;
  // All of these kinds, in order of number.
  std::vector<CandidateRow> Rows(std::initializer_list<CandidateKind> kinds) const;

  struct Page {
    size_t total = 0;  // rows that match
    std::vector<CandidateRow> rows;
  };
  Page Select(const RowQuery& query) const;

  // Search candidates with a finite fitness in `objective`, in order of number, thinned evenly to about `count`, so that
  // they lie as all of them do; whoever was the best so far and the lowest of all stay too.
  std::vector<FitnessPoint> Thinned(size_t objective, size_t count) const;
  // In order; those without a finite fitness are left out.
  std::vector<GenerationLine> Generations(size_t objective) const;
  // Search candidates that hold every constraint and that no other such one beats in every objective, in order of number;
  // those of equal fitness once.
  const std::vector<int64_t>& front() const { return front_; }
  // The lowest finite fitness of sources, their average and search candidates, by objective; infinite while there is none.
  const std::vector<double>& lowest() const { return lowest_; }
  // Reasons of failed candidates, the most frequent first.
  std::vector<std::pair<std::string, int64_t>> Failures() const;
  // Search candidates per second over the last up to 100 that finished until `now`; 0 if that cannot be told.
  double Rate(absl::Time now) const;
  const std::deque<EventLine>& events() const { return events_; }
  // The newest first.
  std::vector<const EventLine*> SelectEvents(const EventQuery& query) const;

 private:
  void Take(const CandidatesProposed& e, const JobEvent& event);
  void Take(const AttemptStarted& e, const JobEvent& event);
  void Take(const AttemptEnded& e, const JobEvent& event);
  void Take(const CandidateFinished& e, const JobEvent& event);
  void Take(const BlockScored& e, const JobEvent& event);
  void Take(const RaceAdvanced& e, const JobEvent& event);
  void Take(const PhaseStarted& e, const JobEvent& event);
  void Take(const ActionTaken& e, const JobEvent& event);
  // What a newer version of the log may hold besides: a line that says so.
  template <typename T>
  void Take(const T&, const JobEvent& event) {
    Line(event, std::nullopt, "job", [] { return std::string("event"); });
  }
  // `text` makes the line, if one is kept.
  template <typename MakeText>
  void Line(const JobEvent& event, std::optional<int64_t> candidate, absl::string_view kind, MakeText text) {
    if (seq_ + kEventLinesMax <= log_end_) return;
    events_.push_back({seq_, event.time, candidate, kind, text()});
    if (static_cast<int64_t>(events_.size()) > kEventLinesMax) events_.pop_front();
  }
  void AddToFront(int64_t number, const MetricTable& metrics);
  void AddToGeneration(int64_t generation, absl::Span<const double> fitness);
  void NoteLowest(absl::Span<const double> fitness);
  // Of a candidate that failed and is tried again, as its job was resumed.
  void ForgetFailure(const CandidateColumns::Cells& cells);
  // The job failed and is resumed: those that it tries again (JobState::ToRetry) are queued.
  void Retry();

  JobSpec spec_;
  std::vector<Candidate> sources_;  // succeeded; what constraints may ask for
  int64_t seq_ = 0;
  int64_t log_end_ = 0;
  CandidateColumns columns_;
  std::vector<int64_t> front_;
  std::vector<double> lowest_;
  std::vector<std::vector<GenerationLine>> generations_;  // by objective, then generation
  std::map<std::string, int64_t> failures_;
  int stage_ = 0;  // the newest, and the first generation of it
  int64_t stage_generation_ = 0;
  std::deque<absl::Time> finishes_;  // of the last search candidates
  std::deque<EventLine> events_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_
