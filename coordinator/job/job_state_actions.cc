// The part of JobState that takes in what people do: settings change, a job goes on after its end.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/job/job_state.h"
#include "coordinator/job/job_update.h"
#include "coordinator/job/ranking.h"

namespace merganser {
namespace {

absl::Status Unfit(absl::string_view what) { return absl::DataLossError(what); }

// Failed in an attempt, and not for a reason of its own: those without one could not be decoded, those whose last attempt
// left a record lack what the job looks at.
bool FailedFromOutside(const Candidate& candidate) {
  if (candidate.state != CandidateState::kFailed || candidate.attempts.empty()) return false;
  const auto& last = candidate.attempts.back().failure;
  return last.has_value() && std::none_of(candidate.attempts.begin(), candidate.attempts.end(), [](const Attempt& attempt) {
           return !attempt.forgiven && attempt.failure == FailureClass::kInfeasible;
         });
}

}  // namespace

std::vector<int64_t> JobState::ToRetry() const {
  std::vector<int64_t> retry;
  if (phase_ != JobPhase::kFailed) return retry;
  auto from = static_cast<int64_t>(generations_.size()) - 1;
  const auto succeeded = [this](int64_t number) { return candidates_[number].state == CandidateState::kSucceeded; };
  if (!spec_->samples.racing && !stages_.empty()) {
    const int64_t first = stages_.back().first_generation;
    while (from > first && std::none_of(generations_[from].begin(), generations_[from].end(), succeeded)) --from;
  }
  for (const Candidate& candidate : candidates_) {
    const bool cut = candidate.state == CandidateState::kCancelled;
    bool again = cut || FailedFromOutside(candidate);
    if (candidate.kind == CandidateKind::kPrepare) {
      again = candidate.state != CandidateState::kSucceeded;
    } else if (candidate.kind == CandidateKind::kSearch) {
      again &= cut || candidate.generation >= from;
    } else if (candidate.kind != CandidateKind::kSource && candidate.kind != CandidateKind::kAverage) {
      again = false;  // those of an earlier success; the driver chooses anew
    }
    if (again) retry.push_back(candidate.number);
  }
  return retry;
}

absl::Status JobState::Check(const ActionTaken& e) const {
  if (seq_ == 0) return Unfit("phase preparing comes first");
  if (e.kind == ActionKind::kPaused && paused_) return Unfit("the job is paused");
  const bool from_failure = e.kind == ActionKind::kResumed && e.reopens;
  if (e.kind == ActionKind::kResumed && !from_failure && !paused_) return Unfit("the job is not paused");
  if (e.settings.has_value() != (e.kind == ActionKind::kUpdated) ||
      (e.reopens && e.kind != ActionKind::kUpdated && !from_failure)) {
    return Unfit(absl::StrCat("settings of an action that is ", ToString(e.kind)));
  }
  if (e.settings.has_value() && static_cast<int>(e.settings->budgets.size()) != NumStages(*spec_)) {
    return Unfit(absl::StrCat(e.settings->budgets.size(), " budgets for ", NumStages(*spec_), " stages"));
  }
  const bool goes_on = from_failure ? phase_ == JobPhase::kFailed
                                    : !stages_.empty() && phase_ >= JobPhase::kSearch && phase_ <= JobPhase::kSucceeded;
  if (e.reopens && !goes_on) return Unfit(absl::StrCat("a job that is ", ToString(phase_), " cannot go on"));
  return absl::OkStatus();
}

void JobState::Take(const ActionTaken& e, absl::Time time) {
  if (e.kind == ActionKind::kResumed && e.reopens) {
    const std::vector<int64_t> retry = ToRetry();
    for (const int64_t number : retry) Retry(number, time);
    // As if they had not ended: the optimizer is told of what comes.
    std::erase_if(steps_, [&retry](const SearchStep& step) {
      return step.proposed.empty() && std::binary_search(retry.begin(), retry.end(), step.finished);
    });
    finished_before_ = search_finished_;
    failed_before_ = search_failed_;
    resumed_seq_ = seq_;
    Reopen(ended_in_, time);
  } else if (e.kind == ActionKind::kPaused) {
    paused_ = true;
    paused_since_ = time;
  } else if (e.kind == ActionKind::kResumed) {
    paused_time_ += time - paused_since_;
    paused_ = false;
  }
  if (!e.settings.has_value()) return;
  auto spec = std::make_shared<JobSpec>(*spec_);
  ApplySettings(*e.settings, spec.get());
  spec_ = std::move(spec);
  if (!e.reopens) return;
  Reopen(JobPhase::kSearch, time);
  // Finalists are chosen anew; until then the best of the search leads.
  best_.reset();
  for (const Candidate& candidate : candidates_) {
    if (candidate.kind != CandidateKind::kSearch || candidate.state != CandidateState::kSucceeded ||
        candidate.fitness.empty() || candidate.stop.has_value()) {
      continue;
    }
    if (!best_.has_value() || RanksBefore(*spec_, candidates_, candidate, candidates_[*best_])) best_ = candidate.number;
  }
}

void JobState::Reopen(JobPhase phase, absl::Time time) {
  if (over()) paused_time_ += time - end_time_;  // wall_time does not count what lies between
  phase_ = phase;
  message_.clear();
  end_time_ = absl::InfiniteFuture();
}

void JobState::Retry(int64_t number, absl::Time time) {
  Candidate& candidate = candidates_[number];
  const bool failed = candidate.state == CandidateState::kFailed;
  --(failed ? failed_ : cancelled_);
  if (candidate.kind == CandidateKind::kSearch) {
    StageState& stage = stages_[static_cast<size_t>(candidate.stage)];
    stage.samples -= Evaluated(candidate, {});  // as its end counted
    --stage.finished;
    --search_finished_;
    if (failed) --search_failed_;
    candidate.recipe = recipes_.Take(number);
    if (candidate.blocks > 0) candidate.blocks = 1;  // what is known of them is not run again
  }
  for (Attempt& attempt : candidate.attempts) attempt.forgiven = true;
  candidate.state = CandidateState::kQueued;
  candidate.message.clear();
  candidate.end_time = absl::InfiniteFuture();
  queued_.insert(number);
  queued_since_[number] = time;
}

}  // namespace merganser
