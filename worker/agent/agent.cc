#include "worker/agent/agent.h"

#include <algorithm>
#include <exception>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/codec/job_codec.h"
#include "common/codec/time_codec.h"
#include "common/domain/limits.h"
#include "worker/agent/failure_class.h"

namespace merganser {
namespace {

constexpr size_t kMessageMax = 16 << 10;  // the coordinator keeps it in the job's log

ReporterOptions WithSpool(const AgentOptions& options) {
  ReporterOptions reporter = options.reporter;
  reporter.spool_dir = options.spool_dir;
  return reporter;
}

AttemptReport ReportOf(const Assignment& assignment, const WorkerInfo& info) {
  AttemptReport report;
  report.id = assignment.id;
  report.token = assignment.token;
  report.worker_id = info.id;
  return report;
}

// The first frame that calls an evaluator: nothing thrown passes it.
template <typename T, typename F>
absl::StatusOr<T> CatchAll(F call) {
  try {
    return call();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("the evaluator threw: ", e.what()));
  } catch (...) {
    return absl::InternalError("the evaluator threw something that is no exception");
  }
}

}  // namespace

Agent::Agent(CandidateEvaluator* evaluator, RecordStore* store, const AgentOptions& options, CoordinatorLink* link,
             AgentObserver* observer)
    : evaluator_(evaluator),
      observer_(observer),
      options_(options),
      idle_since_(Clock::Real().Monotonic()),
      reporter_(store, link, observer, WithSpool(options), [this](const AttemptId& id) { Forget(id); }),
      thread_([this] { EvaluateLoop(); }) {}

Agent::~Agent() { Stop(); }

void Agent::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    queue_.clear();
    for (auto& [id, held] : held_) held.stop.request_stop();
  }
  reporter_.Stop();  // also frees an evaluation thread that waits for room
  if (thread_.joinable()) thread_.join();
}

void Agent::Assign(const Assignment& assignment) {
  bool take;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_ || held_.contains(assignment.id)) return;
    held_[assignment.id] = Held{assignment.token, "queued", std::stop_source()};
    take = !draining_ && static_cast<int>(queue_.size()) < options_.queue_max;
    if (take) queue_.push_back(assignment);
    if (take && queue_.size() == 1) TellNext();
  }
  if (!take) Release(assignment, draining() ? "the worker drains" : "the worker's queue is full");
}

void Agent::TellNext() {
  if (queue_.empty() || queue_.front().kind == CandidateKind::kPrepare) return;
  if (evaluated_job_ == queue_.front().id.job_id) evaluator_->Expect(queue_.front().recipe);
}

void Agent::Cancel(const AttemptId& id) {
  absl::MutexLock lock(&mu_);
  const auto queued =
      std::find_if(queue_.begin(), queue_.end(), [&](const Assignment& assignment) { return assignment.id == id; });
  if (queued != queue_.end()) {
    queue_.erase(queued);
    held_.erase(id);
    if (held_.empty()) idle_since_ = Clock::Real().Monotonic();
    return;
  }
  const auto it = held_.find(id);
  if (it != held_.end()) it->second.stop.request_stop();
}

void Agent::Drain() {
  std::deque<Assignment> released;
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
    released.swap(queue_);
  }
  for (const Assignment& assignment : released) Release(assignment, "the worker drains");
}

bool Agent::draining() const {
  absl::MutexLock lock(&mu_);
  return draining_;
}

std::vector<RunningAttempt> Agent::running() const {
  std::vector<RunningAttempt> attempts;
  {
    absl::MutexLock lock(&mu_);
    attempts.reserve(held_.size());
    for (const auto& [id, held] : held_) attempts.push_back({id, held.token, held.phase});
  }
  std::sort(attempts.begin(), attempts.end(), [](const RunningAttempt& a, const RunningAttempt& b) {
    return std::tie(a.id.job_id, a.id.candidate, a.id.attempt) < std::tie(b.id.job_id, b.id.candidate, b.id.attempt);
  });
  return attempts;
}

bool Agent::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return held_.empty(); };
  return mu_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

absl::Duration Agent::idle_time() const {
  absl::MutexLock lock(&mu_);
  return held_.empty() ? Clock::Real().Monotonic() - idle_since_ : absl::ZeroDuration();
}

void Agent::Release(const Assignment& assignment, absl::string_view why) {
  AttemptReport report = ReportOf(assignment, options_.info);
  report.failure = FailureClass::kReleased;
  report.message = std::string(why);
  if (observer_ != nullptr) observer_->OnAttempt(ToString(FailureClass::kReleased), absl::ZeroDuration());
  SetPhase(assignment.id, "record");
  reporter_.Add(std::move(report), "");
}

void Agent::Forget(const AttemptId& id) {
  absl::MutexLock lock(&mu_);
  if (held_.erase(id) > 0 && held_.empty()) idle_since_ = Clock::Real().Monotonic();
}

void Agent::SetPhase(const AttemptId& id, absl::string_view phase) {
  absl::MutexLock lock(&mu_);
  const auto it = held_.find(id);
  if (it != held_.end()) it->second.phase = std::string(phase);
}

std::optional<Assignment> Agent::Next() {
  if (!reporter_.WaitForRoom()) return std::nullopt;
  absl::MutexLock lock(&mu_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !queue_.empty(); };
  mu_.Await(absl::Condition(&ready));
  if (stopping_) return std::nullopt;
  Assignment assignment = std::move(queue_.front());
  queue_.pop_front();
  held_[assignment.id].phase = "load";
  return assignment;
}

void Agent::EvaluateLoop() {
  while (std::optional<Assignment> assignment = Next()) EvaluateOne(*assignment);
}

absl::StatusOr<std::string> Agent::MakeRecord(const Assignment& assignment, std::stop_token stop) {
  if (assignment.spec == nullptr) return absl::InternalError("the assignment came without its job");
  const auto phase = [&](absl::string_view name) { SetPhase(assignment.id, name); };
  v1::ResultRecord record;
  if (assignment.kind == CandidateKind::kPrepare) {
    MG_ASSIGN_OR_RETURN(const JobFacts facts,
                        CatchAll<JobFacts>([&] { return evaluator_->Prepare(*assignment.spec, phase, stop); }));
    *record.mutable_facts() = ToProto(facts);
  } else {
    // Told before its merge is done, the evaluator might take what waits for what it is to merge now.
    const auto tell = [&](absl::string_view name) {
      phase(name);
      if (name != "evaluate") return;
      absl::MutexLock lock(&mu_);
      evaluated_job_ = assignment.id.job_id;
      TellNext();
    };
    absl::StatusOr<Evaluation> evaluated = CatchAll<Evaluation>(
        [&] { return evaluator_->Evaluate(*assignment.spec, assignment.recipe, assignment.benchmarks, tell, stop); });
    {
      absl::MutexLock lock(&mu_);
      evaluated_job_.reset();
    }
    MG_ASSIGN_OR_RETURN(const Evaluation evaluation, std::move(evaluated));
    if (observer_ != nullptr) observer_->OnEvaluation(evaluation);
    *record.mutable_evaluation() = ToProto(evaluation);
  }
  record.set_job_id(assignment.id.job_id);
  record.set_candidate(assignment.id.candidate);
  record.set_attempt(assignment.id.attempt);
  record.set_token(assignment.token);
  record.set_worker(options_.info.id);
  record.set_evaluation_version(kEvaluationVersion);
  record.set_version(kVersion);
  *record.mutable_end_time() = ToProto(Clock::Real().Now());
  std::string bytes = SerializeDeterministic(record);
  if (static_cast<int64_t>(bytes.size()) > limits::kRecordBytesMax) {
    // The same on any worker, so not ResourceExhausted.
    return absl::OutOfRangeError(absl::StrCat("the result has ", bytes.size(), " bytes, more than ", limits::kRecordBytesMax,
                                              ": evaluate fewer samples or tokens"));
  }
  return bytes;
}

void Agent::EvaluateOne(const Assignment& assignment) {
  std::stop_token stop;
  {
    absl::MutexLock lock(&mu_);
    stop = held_[assignment.id].stop.get_token();
  }
  const absl::Duration start = Clock::Real().Monotonic();
  absl::StatusOr<std::string> record = MakeRecord(assignment, stop);
  const absl::Duration took = Clock::Real().Monotonic() - start;
  if (stop.stop_requested()) {  // nobody waits for it
    if (observer_ != nullptr) observer_->OnAttempt("cancelled", took);
    Forget(assignment.id);
    return;
  }
  AttemptReport report = ReportOf(assignment, options_.info);
  absl::string_view outcome = "succeeded";
  if (record.ok()) {
    report.record_key = assignment.record_key;
    report.record_sha256 = Sha256Hex(*record);
  } else {
    report.failure = FailureClassOf(record.status());
    report.message = std::string(record.status().message().substr(0, kMessageMax));
    outcome = ToString(*report.failure);
    MG_LOG(WARNING) << "attempt failed job=" << assignment.id.job_id << " candidate=" << assignment.id.candidate
                    << " attempt=" << assignment.id.attempt << " class=" << outcome << " error=\"" << report.message << '"';
  }
  if (observer_ != nullptr) observer_->OnAttempt(outcome, took);
  SetPhase(assignment.id, "record");
  reporter_.Add(std::move(report), record.ok() ? *std::move(record) : "");
}

}  // namespace merganser
