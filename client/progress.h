// A job's progress for people: a bar on a terminal, one line per generation otherwise.
#ifndef MERGANSER_CLIENT_PROGRESS_H_
#define MERGANSER_CLIENT_PROGRESS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "client/output.h"
#include "common/domain/candidate.h"
#include "common/domain/events.h"

namespace merganser {

// Fed with a job's events from the first one on, in order. Lines that stay: phases, baselines, the
// best of each generation, failures. Not thread-safe.
class Progress {
 public:
  // `out` outlives it. Without `terminal.interactive` nothing is redrawn.
  Progress(std::ostream& out, const Terminal& terminal) : out_(out), terminal_(terminal) {}

  // Events up to `seq` are taken in without a line: they happened before this process looked.
  void SetQuietThrough(int64_t seq) { quiet_through_ = seq; }
  // Candidates evaluated at once, where it is known: the search's time is then estimated from the
  // baselines, and no more are said to run. 0: unknown.
  void SetSlots(int slots) { slots_ = slots; }

  // `job`: its state after this event or a later one.
  void OnEvent(int64_t seq, const JobEvent& event, const JobSummary& job);
  // Redraws the bar; no effect off a terminal.
  void Draw(const JobSummary& job, absl::Time now);
  // Removes the bar. Idempotent.
  void Clear();
  // A line that stays.
  void Note(absl::string_view line);

  // Bar of `job`, without colour or cursor movement: "search [####....]  120/400  running 1  best
  // 0.3050  ETA 2m10s".
  std::string Bar(const JobSummary& job, absl::Time now) const;

 private:
  struct Known {
    CandidateKind kind = CandidateKind::kSearch;
    std::string label;
    int64_t generation = -1;
  };
  struct Generation {
    int64_t proposed = 0, finished = 0, failed = 0, stopped = 0;
    double sum = 0;
    std::optional<double> best;
  };

  void On(const CandidatesProposed& e, absl::Time time, const JobSummary& job);
  void On(const AttemptStarted& e, absl::Time time, const JobSummary& job);
  void On(const AttemptEnded& e, absl::Time time, const JobSummary& job);
  void On(const CandidateFinished& e, absl::Time time, const JobSummary& job);
  void On(const BlockScored&, absl::Time, const JobSummary&) {}
  void On(const RaceAdvanced&, absl::Time, const JobSummary&) {}
  void On(const PhaseStarted& e, absl::Time time, const JobSummary& job);
  void On(const ActionTaken& e, absl::Time time, const JobSummary& job);
  void Line(const std::string& line);  // Note, unless the event is old
  void Estimate(const JobSummary& job);
  std::optional<absl::Duration> Remaining(const JobSummary& job, absl::Time now) const;

  std::ostream& out_;
  const Terminal terminal_;
  int64_t quiet_through_ = 0;
  int slots_ = 0;
  bool quiet_ = false;
  std::string drawn_;  // what the terminal shows; "": nothing
  std::map<int64_t, Known> candidates_;
  std::map<int64_t, Generation> generations_;
  int64_t search_finished_ = 0;  // counted here: a summary may be older than the event beside it
  std::optional<double> best_;
  int64_t best_candidate_ = 0;
  double baseline_seconds_ = 0;
  int64_t baselines_ = 0;
  // Of what this process has seen happen, for the estimate.
  std::optional<absl::Time> search_start_;
  int64_t search_seen_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_PROGRESS_H_
