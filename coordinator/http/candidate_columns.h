// The candidates of a job in some 50 bytes each: what they have in common (workers, messages) is there once.
#ifndef MERGANSER_COORDINATOR_HTTP_CANDIDATE_COLUMNS_H_
#define MERGANSER_COORDINATOR_HTTP_CANDIDATE_COLUMNS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/domain/candidate.h"

namespace merganser {

// One candidate, for people; made when it is asked for.
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
};

// Moved, not copied: it points into itself. Not thread-safe.
class CandidateColumns {
 public:
  struct Cells {
    int64_t start_us = INT64_MAX, end_us = INT64_MAX;  // Unix time; INT64_MAX: not yet
    int32_t generation = -1;
    uint32_t label = 0, worker = 0, message = 0;  // by Text
    uint16_t attempts = 0;
    int16_t live = 0;  // attempts that have not ended
    uint8_t kind = static_cast<uint8_t>(CandidateKind::kSearch);
    uint8_t state = static_cast<uint8_t>(CandidateState::kQueued);
    uint8_t objectives = 0;  // numbers of fitness
    // Of attempts since it was last taken up after a failure of the job: the last one failed; any one was kInfeasible.
    bool last_failed : 1 = false, infeasible : 1 = false;

    CandidateKind kind_of() const { return static_cast<CandidateKind>(kind); }
    CandidateState state_of() const { return static_cast<CandidateState>(state); }
    void Set(CandidateState to) { state = static_cast<uint8_t>(to); }
    double seconds() const {
      return start_us == INT64_MAX || end_us == INT64_MAX ? 0 : static_cast<double>(end_us - start_us) * 1e-6;
    }
  };

  CandidateColumns() { Intern(""); }
  CandidateColumns(CandidateColumns&&) = default;
  CandidateColumns& operator=(CandidateColumns&&) = default;

  size_t size() const { return cells_.size(); }
  const Cells& at(size_t number) const { return cells_[number]; }
  // nullptr if there is none.
  Cells* Find(int64_t number);
  // Makes room for it and all below.
  Cells& Add(int64_t number);

  // As many as the job has objectives; those of the first candidate that has any say how many that is.
  void SetFitness(int64_t number, absl::Span<const double> fitness);
  absl::Span<const double> Fitness(size_t number) const {
    return cells_[number].objectives == 0
               ? absl::Span<const double>()
               : absl::MakeConstSpan(fitness_.data() + number * stride_, cells_[number].objectives);
  }
  bool HasFinite(size_t number, size_t objective) const;
  void SetMetrics(int64_t number, const MetricTable& metrics) { metrics_[number] = metrics; }

  // The number of a text, the same for equal ones.
  uint32_t Intern(absl::string_view text);
  const std::string& Text(uint32_t text) const { return texts_[text]; }
  size_t texts() const { return texts_.size(); }

  CandidateRow Row(size_t number) const;

 private:
  std::vector<Cells> cells_;     // index = number
  std::vector<double> fitness_;  // `stride_` per candidate
  size_t stride_ = 0;
  std::map<int64_t, MetricTable> metrics_;
  std::deque<std::string> texts_;                                  // stays where it is
  absl::flat_hash_map<absl::string_view, uint32_t> text_numbers_;  // of texts_
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_CANDIDATE_COLUMNS_H_
