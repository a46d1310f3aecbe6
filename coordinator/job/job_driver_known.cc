// The part of JobDriver that ends candidates of which the log knows already what an evaluation would say.
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/job_driver.h"

namespace merganser {

std::vector<EventBody> JobDriver::FinishKnown() const {
  std::vector<EventBody> events;
  if (!KeepsScores(state_.spec())) return events;
  for (const int64_t number : state_.queued()) {
    const Candidate& candidate = *state_.Find(number);
    if (!IsKnown(state_, candidate)) continue;
    if (candidate.blocks < BlocksOf(state_.spec(), *state_.facts(), candidate)) {
      events.emplace_back(BlockScored{.candidate = number});
    } else {
      events.emplace_back(FinishFromKnown(state_, candidate));
    }
  }
  return events;
}

std::vector<EventBody> JobDriver::FinishTwins() {
  std::vector<EventBody> events;
  for (const int64_t number : state_.queued()) {
    if (state_.Find(number)->kind != CandidateKind::kSearch) continue;
    const std::optional<int64_t> twin = known_.SucceededTwinOf(number);
    if (!twin.has_value()) continue;
    events.emplace_back(FinishAsTwin(number, *twin));
  }
  return events;
}

CandidateFinished JobDriver::FinishAsTwin(int64_t number, int64_t known) const {
  const Candidate& twin = *state_.Find(known);
  return {.candidate = number,
          .fitness = twin.fitness,
          .metrics = twin.metrics,
          .message = absl::StrCat("the same recipe as candidate ", known)};
}

}  // namespace merganser
