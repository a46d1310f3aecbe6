// The Pareto front of a job with several objectives, as a number: its hypervolume, and how sure that is.
#ifndef MERGANSER_CLIENT_FRONT_REPORT_H_
#define MERGANSER_CLIENT_FRONT_REPORT_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/message_json.h"
#include "common/domain/candidate.h"
#include "coordinator/replay/front_volume.h"

namespace merganser {

struct FrontReport {
  std::vector<int64_t> candidates;         // numbers of the front's
  std::vector<double> reference;           // of each objective (ReferencePoint)
  std::optional<double> volume;            // nullopt: it would take too long
  std::optional<VolumeInterval> interval;  // 95 %, of the samples' choice
  std::string no_interval;                 // why there is none
};

// Reads a result record (RecordStore::GetRecord).
using RecordFunction = std::function<absl::StatusOr<std::string>(const std::string& key)>;

// VolumeReference of the baselines and of the candidates of the search: where the volume begins, of
// each objective.
std::vector<double> ReferencePoint(const JobSpec& spec, const std::vector<Candidate>& candidates);

// nullopt for a job of one objective or an empty front. The interval resamples what the records of the front's candidates
// hold; it is left out where a record cannot be read or an objective is no mean over samples (hops are certain, and no
// obstacle).
std::optional<FrontReport> DescribeFront(const JobSpec& spec, const std::vector<Candidate>& candidates,
                                         const RecordFunction& record);

// "5 candidates, hypervolume 3.91 (95 %: 3.62 to 4.18) above task.acc 0, cost.hops -11".
std::string FrontText(const JobSpec& spec, const FrontReport& front);
// {"value", "low", "high" (or "no_interval": why), "resamplings", "reference": {objective: value}}.
Json FrontJson(const JobSpec& spec, const FrontReport& front);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_FRONT_REPORT_H_
