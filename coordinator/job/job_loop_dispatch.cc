// The part of JobLoop that hands out attempts and ends those that take too long.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "coordinator/dispatch/requirements.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/job_loop.h"
#include "coordinator/job/known_samples.h"

namespace merganser {
namespace {

// Fetches in a row that failed, up to the last attempt.
int FailedFetches(const Candidate& candidate) {
  int n = 0;
  for (auto attempt = candidate.attempts.rbegin(); attempt != candidate.attempts.rend(); ++attempt, ++n) {
    if (attempt->failure != FailureClass::kUnavailable || attempt->forgiven) break;
  }
  return n;
}

// What events that are not applied yet will change for dispatch.
struct Changes {
  std::vector<int64_t> proposed;    // candidates that begin to wait
  std::set<int64_t> ended;          // candidates
  std::map<std::string, int> left;  // places that become free, by worker
  bool over = false;                // the job is
};

Changes ChangesBy(const std::vector<EventBody>& events, const JobState& state, const LeaseTable& leases) {
  Changes changes;
  for (const EventBody& body : events) {
    if (const auto* proposal = std::get_if<CandidatesProposed>(&body)) {
      for (const Candidate& candidate : proposal->candidates) changes.proposed.push_back(candidate.number);
    } else if (const auto* finished = std::get_if<CandidateFinished>(&body)) {
      changes.ended.insert(finished->candidate);
      const Candidate* const candidate = state.Find(finished->candidate);
      if (candidate == nullptr) continue;
      for (const Attempt& attempt : candidate->attempts) {
        const Lease* const lease = leases.Find({state.id(), candidate->number, attempt.number});
        if (lease != nullptr) ++changes.left[lease->worker];
      }
    } else if (const auto* phase = std::get_if<PhaseStarted>(&body)) {
      changes.over |= IsTerminal(phase->phase);
    }
  }
  return changes;
}

}  // namespace

absl::Time JobLoop::ReadyTime(const JobState& state, int64_t number) const {
  const int failed = FailedFetches(*state.Find(number));
  if (failed == 0) return absl::InfinitePast();
  return state.queued_since(number) + std::min(kUnavailableDelayMax, kUnavailableDelay * (1 << std::min(failed - 1, 10)));
}

std::vector<DispatchWorker> JobLoop::Accepting(size_t* room) const {
  std::vector<DispatchWorker> workers = fleet_.Accepting(leases_, clock_.Monotonic(), options_.lease, options_.prefetch);
  *room = 0;
  for (const DispatchWorker& worker : workers) *room += static_cast<size_t>(std::max(0, worker.capacity - worker.assigned));
  return workers;
}

DispatchJob JobLoop::QueueOf(const Job& job, size_t room, const std::function<bool(int64_t)>& skip) {
  const JobState& state = job.log.state();
  const JobSpec& spec = state.spec();
  const absl::Time now = clock_.Now();
  const absl::Time since = state.queued().empty() ? now : state.queued_since(*state.queued().begin());
  DispatchJob queue{.id = state.id(),
                    .priority = spec.priority,
                    .waited = std::min(clock_.Monotonic() - job.served, now - since),
                    .share = spec.share,
                    .running = static_cast<int>(state.running().size())};
  if (const Needs needs = NeedsOf(spec); needs != Needs{}) {
    for (const auto& [id, worker] : fleet_.workers()) {
      if (!Lacks(worker.info, needs).empty()) queue.unfit.insert(id);
    }
  }
  // What an equal recipe is being scored on will be known: its twin waits.
  std::unordered_set<uint64_t> recipes;
  const auto shares = [&, keeps = KeepsScores(spec)](const Candidate& c) { return keeps && SharesScores(c.kind); };
  for (const int64_t number : state.running()) {
    if (const Candidate& c = *state.Find(number); shares(c)) recipes.insert(HashOfRecipe(c.recipe));
  }
  for (int64_t number : state.queued()) {
    // A few more than fit, as some may have to avoid the last free worker.
    if (queue.queued.size() >= room + 8) break;
    if (skip && skip(number)) continue;
    if (const absl::Time ready = ReadyTime(state, number); ready > now) {
      retry_time_ = std::min(retry_time_, ready);
      continue;
    }
    if (const Candidate& c = *state.Find(number); shares(c) && !recipes.insert(HashOfRecipe(c.recipe)).second) continue;
    DispatchCandidate candidate{.number = number};
    const std::vector<Attempt>& attempts = state.Find(number)->attempts;
    if (!attempts.empty() && !attempts.back().forgiven) {
      candidate.avoid = attempts.back().worker;
      Fleet::Worker* worker = fleet_.Find(candidate.avoid);
      if (attempts.back().failure == FailureClass::kOutOfMemory && worker != nullptr) {
        candidate.above_memory = worker->info.memory_bytes;
      }
    }
    queue.queued.push_back(std::move(candidate));
  }
  return queue;
}

void JobLoop::Dispatch() {
  if (clock_.Now() >= retry_time_) dispatch_due_ = true;
  if (!dispatch_due_ || !leadership_.acting()) return;
  dispatch_due_ = false;
  retry_time_ = absl::InfiniteFuture();
  size_t room = 0;
  std::vector<DispatchWorker> workers = Accepting(&room);
  if (room == 0) return;
  std::vector<DispatchJob> queues;
  for (const auto& job : jobs_) {
    const JobState& state = job->log.state();
    if (state.over() || state.paused() || state.queued().empty() || job->log.stalled()) continue;
    queues.push_back(QueueOf(*job, room));
  }
  std::map<std::string, std::vector<EventBody>> started;  // by job: one append each
  for (const DispatchChoice& choice : dispatcher_.Plan(queues, std::move(workers))) {
    const Candidate& candidate = *job_by_id_.at(choice.job_id)->log.state().Find(choice.candidate);
    started[choice.job_id].emplace_back(
        AttemptStarted{choice.candidate, static_cast<int>(candidate.attempts.size()) + 1, RandomToken(), choice.worker});
  }
  for (auto& [id, events] : started) (void)Commit(*job_by_id_.at(id), std::move(events));
  dispatch_due_ = false;  // set by what was just applied
}

void JobLoop::AddStarts(Job& job, std::vector<EventBody>* events) {
  const JobState& state = job.log.state();
  if (KeepsScores(state.spec())) return;  // what these events make known decides what is left to run
  const Changes changes = ChangesBy(*events, state, leases_);
  if (changes.over) return;
  if (!leadership_.acting() || state.paused() || job.log.stalled() || (changes.proposed.empty() && state.queued().empty()))
    return;
  size_t room = 0;
  std::vector<DispatchWorker> workers = Accepting(&room);
  for (DispatchWorker& worker : workers) {
    const auto places = changes.left.find(worker.id);
    if (places == changes.left.end()) continue;
    worker.assigned -= places->second;
    room += static_cast<size_t>(places->second);
  }
  if (room == 0) return;
  absl::flat_hash_set<uint64_t> recipes;  // of those that end
  for (const int64_t number : changes.ended) {
    const Candidate* const candidate = state.Find(number);
    if (candidate != nullptr && candidate->kind == CandidateKind::kSearch) recipes.insert(job.driver->RecipeHash(number));
  }
  // What may turn out to be the twin of one that succeeds now is left to the tick, which knows.
  const auto skip = [&](int64_t number) {
    return changes.ended.contains(number) || (!recipes.empty() && recipes.contains(job.driver->RecipeHash(number)));
  };
  std::vector<DispatchJob> queues;  // of every job, as if for Dispatch: what is another's turn is not taken
  for (const auto& other : jobs_) {
    const JobState& its = other->log.state();
    if (other.get() == &job) {
      queues.push_back(QueueOf(job, room, skip));
      for (const int64_t number : changes.proposed) {
        if (queues.back().queued.size() >= room + 8) break;
        if (!changes.ended.contains(number)) queues.back().queued.push_back({.number = number});
      }
    } else if (!its.over() && !its.paused() && !its.queued().empty() && !other->log.stalled()) {
      queues.push_back(QueueOf(*other, room));
    }
  }
  Dispatcher planner = dispatcher_;
  bool all_mine = true;
  for (const DispatchChoice& choice : planner.Plan(queues, std::move(workers))) {
    if (choice.job_id != state.id()) {
      all_mine = false;
      continue;
    }
    const Candidate* const known = state.Find(choice.candidate);
    const int before = known == nullptr ? 0 : static_cast<int>(known->attempts.size());
    events->emplace_back(AttemptStarted{choice.candidate, before + 1, RandomToken(), choice.worker});
  }
  if (all_mine) dispatcher_ = planner;
}

void JobLoop::Assign(Job& job, const AttemptStarted& started) {
  const JobState& state = job.log.state();
  const Candidate& candidate = *state.Find(started.candidate);
  const AttemptId id{state.id(), started.candidate, started.attempt};
  const absl::Duration now = clock_.Monotonic();
  job.served = now;
  leases_.Grant(
      {.id = id, .token = started.token, .worker = started.worker, .deadline = now + options_.lease, .last_listed = now});
  if (observer_ != nullptr && !started.speculative) {
    observer_->OnDispatched(candidate.attempts.back().start_time - state.queued_since(started.candidate));
  }
  Fleet::Worker* worker = fleet_.Find(started.worker);
  if (worker == nullptr || worker->link == nullptr || worker->leaving()) {
    // It left, or said that it drains, while the store was away.
    leases_.Expire(id, now, FailureClass::kReleased,
                   absl::StrCat("worker ", started.worker, " left before it was assigned"));
    return;
  }
  worker->loaded_job = id.job_id;
  worker->link->Assign({.id = id,
                        .token = started.token,
                        .kind = candidate.kind,
                        .recipe = candidate.recipe,
                        .benchmarks = BenchmarksToRun(state, candidate),
                        .spec = state.assigned_spec(),
                        .record_key = RecordKey(id.job_id, id.candidate, id.attempt, started.token)});
}

void JobLoop::MoveWaiting(std::vector<DispatchWorker>* idle) {
  struct Move {
    Lease lease;
    std::string to;
  };
  std::vector<Move> moves;
  for (const auto& [id, worker] : fleet_.workers()) {
    if (idle->empty()) break;
    const int slots = std::max(1, worker.info.slots);
    if (leases_.CountOfWorker(id) <= slots || worker.link == nullptr) continue;
    std::vector<Lease> waiting = leases_.OfWorker(id);
    const auto begun = std::erase_if(waiting, [&](const Lease& lease) {
      return std::any_of(worker.running.begin(), worker.running.end(), [&](const RunningAttempt& attempt) {
        return attempt.token == lease.token && attempt.phase != "queued";
      });
    });
    // It takes them as they came, and may have begun since it last said so.
    const auto started = [&](const Lease& lease) {
      const Candidate& candidate = *job_by_id_.at(lease.id.job_id)->log.state().Find(lease.id.candidate);
      return std::tuple(candidate.attempts[lease.id.attempt - 1].start_time, lease.id.job_id, lease.id.candidate);
    };
    std::sort(waiting.begin(), waiting.end(), [&](const Lease& x, const Lease& y) { return started(x) < started(y); });
    const size_t begins = static_cast<size_t>(slots) - std::min(static_cast<size_t>(slots), static_cast<size_t>(begun));
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<int64_t>(std::min(begins, waiting.size())));
    for (const Lease& lease : waiting) {
      const Job& job = *job_by_id_.at(lease.id.job_id);
      const JobState& state = job.log.state();
      const Candidate& candidate = *state.Find(lease.id.candidate);
      const Attempt* const live = LiveAttempt(candidate);
      if (state.over() || state.paused() || job.log.stalled() || LiveAttempts(candidate) != 1 ||
          live->number != lease.id.attempt || clock_.Now() - live->start_time < kMoveAfter ||
          std::any_of(candidate.attempts.begin(), candidate.attempts.end(), [](const Attempt& attempt) {
            return attempt.failure.has_value() && attempt.failure != FailureClass::kReleased && !attempt.forgiven;
          })) {
        continue;  // one that has failed is where it may be
      }
      const Needs needs = NeedsOf(state.spec());
      const auto other = std::find_if(idle->begin(), idle->end(), [&](const DispatchWorker& to) {
        return to.id != id && Lacks(fleet_.Find(to.id)->info, needs).empty();
      });
      if (other == idle->end()) continue;
      moves.push_back({lease, other->id});
      if (++other->assigned >= other->slots) idle->erase(other);
      if (idle->empty()) break;
    }
  }
  for (const auto& [lease, to] : moves) {
    Job& job = *job_by_id_.at(lease.id.job_id);
    const JobState& state = job.log.state();
    if (job.log.stalled() || leases_.Find(lease.id) == nullptr) continue;
    std::vector<EventBody> events = EndAttempt(state, lease.id.candidate, lease.id.attempt, FailureClass::kReleased,
                                               absl::StrCat("it waited behind another one; ", to, " is idle"));
    if (events.size() != 1) continue;
    const int attempts = static_cast<int>(state.Find(lease.id.candidate)->attempts.size());
    events.emplace_back(AttemptStarted{lease.id.candidate, attempts + 1, RandomToken(), to});
    // Where the store is away just now, the answer to a heartbeat tells it.
    if (!Commit(job, std::move(events)).ok()) continue;
    const Fleet::Worker* const worker = fleet_.Find(lease.worker);
    if (worker != nullptr && worker->link != nullptr) worker->link->Cancel(lease.id);
  }
}

void JobLoop::Speculate() {
  const absl::Duration monotonic = clock_.Monotonic();
  if (!leadership_.acting() || monotonic < speculate_at_) return;
  speculate_at_ = monotonic + kOverdueInterval;
  std::vector<DispatchWorker> workers = fleet_.Accepting(leases_, monotonic, options_.lease, options_.prefetch);
  std::erase_if(workers, [](const DispatchWorker& worker) { return worker.assigned >= worker.slots; });
  MoveWaiting(&workers);
  for (const auto& job : jobs_) {
    if (workers.empty()) return;
    const JobState& state = job->log.state();
    if (state.over() || state.paused() || job->log.stalled() || !state.queued().empty() || state.running().empty()) continue;
    const Needs needs = NeedsOf(state.spec());
    absl::Duration slow = absl::InfiniteDuration();
    if (state.phase() == JobPhase::kSearch && state.spec().mode == SearchMode::kSynchronous &&
        !state.spec().samples.racing) {  // whose pieces differ in length
      const auto generation = static_cast<int64_t>(state.generations().back().size());
      const std::optional<absl::Duration> usual = job->times.ThirdQuartile();
      const bool few = static_cast<int64_t>(state.running().size()) <= std::max<int64_t>(1, generation / kStragglers);
      if (usual.has_value() && few) slow = std::max(options_.speculate_after, kStragglerFactor * *usual);
    }
    std::vector<EventBody> events;
    for (const int64_t number : state.running()) {
      const Candidate& candidate = *state.Find(number);
      const Attempt* live = LiveAttempt(candidate);
      if (LiveAttempts(candidate) != 1) continue;
      const Fleet::Worker* holder = fleet_.Find(live->worker);
      const Lease* const lease = leases_.Find({state.id(), number, live->number});
      // A worker that has not come back since this coordinator leads is not known, or only from a quarantine.
      const absl::Duration heard = holder != nullptr  ? holder->last_heard
                                   : lease != nullptr ? lease->last_listed
                                                      : monotonic;
      const bool away = (holder == nullptr || holder->link == nullptr) && monotonic - heard > kAwayGrace;
      if (!away && clock_.Now() - live->start_time < slow) continue;
      const auto other = std::find_if(workers.begin(), workers.end(), [&](const DispatchWorker& worker) {
        return worker.id != live->worker && Lacks(fleet_.Find(worker.id)->info, needs).empty();
      });
      if (other == workers.end()) continue;
      events.emplace_back(AttemptStarted{.candidate = number,
                                         .attempt = static_cast<int>(candidate.attempts.size()) + 1,
                                         .token = RandomToken(),
                                         .worker = other->id,
                                         .speculative = true});
      MG_LOG(INFO) << "straggler job=" << state.id() << " candidate=" << number << " on=" << live->worker
                   << " also=" << other->id;
      workers.erase(other);
    }
    if (!events.empty()) (void)Commit(*job, std::move(events));
  }
}

absl::Duration JobLoop::TimeLimit(const Job& job, const Candidate& candidate) const {
  const absl::Duration set = job.log.state().spec().attempt_timeout;
  if (set != absl::InfiniteDuration()) return set;
  // What baselines and held-out benchmarks take is not known from the search.
  if (candidate.kind != CandidateKind::kSearch) return absl::InfiniteDuration();
  const std::optional<absl::Duration> longest = job.times.Longest();
  if (!longest.has_value()) return absl::InfiniteDuration();
  // The last piece of a race may be as long as all of its blocks.
  const JobState& state = job.log.state();
  const int64_t blocks = state.facts().has_value() ? BlocksOf(state.spec(), *state.facts(), candidate) : 0;
  return std::max(options_.attempt_time_min, kOverdueFactor * std::max<int64_t>(1, blocks) * *longest);
}

void JobLoop::StopOverdue() {
  const absl::Duration now = clock_.Monotonic();
  if (!leadership_.acting() || now < overdue_at_) return;
  overdue_at_ = now + kOverdueInterval;
  std::vector<Lease> overdue;
  for (const auto& [id, lease] : leases_.all()) {
    if (lease.evaluating_since == absl::InfiniteDuration()) continue;
    const Job& job = *job_by_id_.at(id.job_id);
    const Candidate& candidate = *job.log.state().Find(id.candidate);
    if (now - lease.evaluating_since > TimeLimit(job, candidate)) overdue.push_back(lease);
  }
  std::sort(overdue.begin(), overdue.end(), [](const Lease& a, const Lease& b) {
    return std::tie(a.id.job_id, a.id.candidate, a.id.attempt) < std::tie(b.id.job_id, b.id.candidate, b.id.attempt);
  });
  for (const Lease& lease : overdue) {
    Job& job = *job_by_id_.at(lease.id.job_id);
    if (job.log.stalled() || leases_.Find(lease.id) == nullptr) continue;
    const std::string message =
        absl::StrCat("it evaluated for ", absl::FormatDuration(absl::Trunc(now - lease.evaluating_since, absl::Seconds(1))),
                     ", more than ", absl::FormatDuration(TimeLimit(job, *job.log.state().Find(lease.id.candidate))));
    MG_LOG(WARNING) << "attempt stopped job=" << lease.id.job_id << " candidate=" << lease.id.candidate
                    << " attempt=" << lease.id.attempt << " worker=" << lease.worker << " reason=\"" << message << "\"";
    if (!Commit(job, EndAttempt(job.log.state(), lease.id.candidate, lease.id.attempt, FailureClass::kTimedOut, message))
             .ok()) {
      continue;
    }
    // Each heartbeat that still lists it is answered with a further request to stop.
    Fleet::Worker* worker = fleet_.Find(lease.worker);
    if (worker == nullptr || worker->link == nullptr) continue;
    worker->stopping[lease.token] = now;
    worker->link->Cancel(lease.id);
  }
  for (const auto& [id, worker] : fleet_.workers()) {
    for (const auto& [token, since] : worker.stopping) {
      if (now - since <= options_.stop_grace || !worker.quarantine.empty()) continue;
      verdicts_.emplace_back(id, absl::StrCat("it has not stopped an attempt for ",
                                              absl::FormatDuration(absl::Trunc(now - since, absl::Seconds(1)))));
      break;
    }
  }
}

}  // namespace merganser
