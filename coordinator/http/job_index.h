// What the dashboard keeps of a job: a short row per candidate and a line per event, without recipes and genomes, so that a
// job of 100,000 candidates is some 30 MB and is searched, sorted and drawn without asking the job loop for it again.
#ifndef MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_
#define MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/domain/candidate.h"
#include "common/domain/events.h"

namespace merganser {

struct CandidateRow {
  int64_t number = 0;
  CandidateKind kind = CandidateKind::kSearch;
  CandidateState state = CandidateState::kQueued;
  int64_t generation = -1;  // kSearch: 0, 1, ...
  std::string label;
  std::vector<double> fitness;  // kSucceeded; one number per objective
  MetricTable metrics;          // kHeldOut only
  int attempts = 0;
  std::string worker;                              // of the last attempt
  std::string message;                             // why it failed
  absl::Time start_time = absl::InfiniteFuture();  // of the last attempt
  absl::Time end_time = absl::InfiniteFuture();
  int live = 0;  // attempts that have not ended

  bool has_fitness() const { return !fitness.empty(); }
};

// An event for people: "candidate 12: attempt 2 on worker-1".
struct EventLine {
  int64_t seq = 0;
  absl::Time time;
  std::optional<int64_t> candidate;
  std::string text;
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

// Best and mean fitness of one generation.
struct GenerationLine {
  int64_t generation = 0;
  int64_t count = 0;
  double best = 0, mean = 0;
};

// A value, fed with the job's events in order. Not thread-safe.
class JobIndex {
 public:
  static constexpr size_t kEventLinesMax = 10'000;  // older ones are in the log (`merganser events`)

  // `spec`: the job's; its constraints keep candidates from the front.
  explicit JobIndex(JobSpec spec = {}) : spec_(std::move(spec)) {}

  // Events that were applied already are skipped.
  void Apply(int64_t seq, const JobEvent& event);

  int64_t seq() const { return seq_; }
  const std::vector<CandidateRow>& rows() const { return rows_; }
  // nullptr if there is none.
  const CandidateRow* Find(int64_t number) const;

  struct Page {
    size_t total = 0;  // rows that match
    std::vector<const CandidateRow*> rows;
  };
  Page Select(const RowQuery& query) const;

  // Search candidates with a finite fitness in `objective`, in order of number, thinned to about `count`: from each run of
  // neighbours the lowest and the highest stay, so best and worst are always among them.
  std::vector<const CandidateRow*> Thinned(size_t objective, size_t count) const;
  std::vector<GenerationLine> Generations(size_t objective) const;
  // Search candidates that hold every constraint and that no other such one beats in every objective, in order of number;
  // those of equal fitness once.
  const std::vector<int64_t>& front() const { return front_; }
  // Reasons of failed candidates, the most frequent first.
  std::vector<std::pair<std::string, int64_t>> Failures() const;
  // Search candidates per second over the last up to 100 that finished until `now`; 0 if that cannot be told.
  double Rate(absl::Time now) const;
  const std::deque<EventLine>& events() const { return events_; }

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
    Line(event, std::nullopt, "event");
  }
  void Line(const JobEvent& event, std::optional<int64_t> candidate, std::string text);
  void AddToFront(const CandidateRow& row, const MetricTable& metrics);
  CandidateRow* Row(int64_t number);

  JobSpec spec_;
  std::vector<Candidate> sources_;  // succeeded; what constraints may ask for
  int64_t seq_ = 0;
  std::vector<CandidateRow> rows_;  // index = number
  std::vector<int64_t> front_;
  std::map<std::string, int64_t> failures_;
  std::deque<absl::Time> finishes_;  // of the last search candidates
  std::deque<EventLine> events_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_JOB_INDEX_H_
