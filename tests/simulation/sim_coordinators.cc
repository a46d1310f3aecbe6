#include <set>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/codec/job_codec.h"
#include "tests/simulation/sim_parts.h"

namespace merganser {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(500);
constexpr absl::Duration kRestart = absl::Seconds(2);

}  // namespace

void Simulation::Boot(int c) {
  Coordinator& coordinator = *coordinators_[c];
  const int life = ++coordinator.life;
  coordinator.frozen_until = coordinator.cut_until = absl::ZeroDuration();
  coordinator.doomed = coordinator.in_call = false;
  coordinator.epoch = 0;
  coordinator.store =
      std::make_unique<SimStoreClient>(&store_, SimStoreClient::Hooks{.before = [this, c] { return BeforeStoreCall(c); },
                                                                      .after =
                                                                          [this, c] {
                                                                            if (coordinators_[c]->doomed) throw Died();
                                                                          }});
  JobManagerOptions options;
  options.holder = absl::StrCat("c", c, ".", life);
  options.speculate_after = absl::Seconds(10);
  options.snapshot_every = 5;  // less than a generation
  coordinator.loop = std::make_unique<JobLoop>(coordinator.store.get(), &ProtoJobCodec(), &clock_, nullptr, options);
  Trace(absl::StrCat("boot ", options.holder));
  At(absl::Milliseconds(10 + Draw(500)), [this, c, life] { TickLoop(c, life); });
}

// Others go on while a call takes its time; the process may die in it.
SimStoreClient::Fault Simulation::BeforeStoreCall(int c) {
  Coordinator& coordinator = *coordinators_[c];
  if (!faulty_) return SimStoreClient::Fault::kNone;
  const int draw = Draw(400);
  if (draw == 0 && depth_ == 0) {
    ++faults_["slow store call"];
    coordinator.in_call = true;
    ++depth_;
    RunUntil(clock_.Monotonic() + Between(absl::Milliseconds(100), absl::Seconds(15)));
    --depth_;
    coordinator.in_call = false;
    if (coordinator.doomed) throw Died();
  }
  if (draw == 1) {  // dies in the call, before or after it takes effect
    ++faults_["coordinator dies in a store call"];
    if (Draw(2) == 0) throw Died();
    coordinator.doomed = true;
    return SimStoreClient::Fault::kAfter;
  }
  const absl::Duration now = clock_.Monotonic();
  if (now < store_away_until_ || now < coordinator.cut_until) return SimStoreClient::Fault::kBefore;
  return draw < 6    ? SimStoreClient::Fault::kBefore
         : draw < 10 ? SimStoreClient::Fault::kAfter
                     : SimStoreClient::Fault::kNone;
}

void Simulation::OnLoop(int c, int life, std::function<void(Coordinator&)> step) {
  Coordinator& coordinator = *coordinators_[c];
  coordinator.inbox.emplace_back(life, std::move(step));
  DrainLoop(c);
}

void Simulation::DrainLoop(int c) {
  Coordinator& coordinator = *coordinators_[c];
  while (!coordinator.inbox.empty()) {
    const absl::Duration now = clock_.Monotonic();
    if (coordinator.in_call || (coordinator.loop != nullptr && now < coordinator.frozen_until)) {
      if (std::exchange(coordinator.inbox_due, true)) return;
      At(coordinator.in_call ? absl::Milliseconds(50) : coordinator.frozen_until - now, [this, c] {
        coordinators_[c]->inbox_due = false;
        DrainLoop(c);
      });
      return;
    }
    const auto [life, step] = std::move(coordinator.inbox.front());
    coordinator.inbox.pop_front();
    if (coordinator.life != life || coordinator.loop == nullptr) continue;
    try {
      step(coordinator);
    } catch (const Died&) {
      Kill(c);
      continue;
    }
    if (coordinator.epoch != 0 && !coordinator.loop->leading()) {
      // As main.cc: a coordinator that lost its lead ends, and its supervisor starts it again.
      Trace(absl::StrCat("lost its lead c", c));
      Kill(c);
    }
  }
}

void Simulation::TickLoop(int c, int life) {
  OnLoop(c, life, [this, c, life](Coordinator& coordinator) {
    if (!coordinator.loop->leading()) {
      if (coordinator.loop->Start().ok()) {
        coordinator.epoch = coordinator.loop->epoch();
        coordinator.led_since = clock_.Monotonic();
        Trace(absl::StrCat("leads c", c, " epoch ", coordinator.epoch));
        if (!epochs_.insert(coordinator.epoch).second &&
            !lost_writes_) {  // a failover may lose the epoch; the log's seq fences then
          Find("I7", "", absl::StrCat("epoch ", coordinator.epoch, " is led a second time"));
        }
        CompareReplay(coordinator);
      }
    }
    At(coordinator.loop->leading() ? kTick : 2 * kTick, [this, c, life] { TickLoop(c, life); });
    coordinator.loop->Tick();
  });
}

void Simulation::Kill(int c) {
  Coordinator& coordinator = *coordinators_[c];
  if (coordinator.loop == nullptr) return;
  if (coordinator.in_call) {
    coordinator.doomed = true;
    return;
  }
  Trace(absl::StrCat("dead c", c));
  if (lost_writes_ && coordinator.epoch != 0) ForgetWhatOnlyALeaderHad();
  ++coordinator.life;
  coordinator.loop.reset();
  for (const auto& session : sessions_) {
    if (session->coordinator == c && session->coordinator_end) {
      session->coordinator_end = false;
      Break(session->id, /*both_notice=*/true);
    }
  }
  At(Between(kRestart, 3 * kRestart), [this, c] {
    if (coordinators_[c]->loop == nullptr) Boot(c);
  });
}

// A failover took the end of the log, and the leader that would have stored it again is gone: both copies of an acknowledged
// result died at once, which the service does not promise to survive (docs/fleet.md).
void Simulation::ForgetWhatOnlyALeaderHad() {
  std::set<std::string> logged;
  for (const std::string& id : job_ids_) {
    const std::vector<StoredEvent> events = *store_.live().ReadEvents(id, 0, 1'000'000);
    for (const StoredEvent& stored : events) {
      const JobEvent event = *ProtoJobCodec().DecodeEvent(stored.body);
      if (const auto* finished = std::get_if<CandidateFinished>(&event.body)) logged.insert(finished->record_key);
      if (const auto* block = std::get_if<BlockScored>(&event.body)) logged.insert(block->record_key);
    }
  }
  std::erase_if(acked_, [&](const AckedResult& acked) { return logged.count(acked.record_key) == 0; });
}

Simulation::Coordinator* Simulation::Leader() {
  Coordinator* leader = nullptr;
  for (const auto& c : coordinators_) {
    if (c->loop != nullptr && !c->in_call && c->loop->leading() && (leader == nullptr || c->epoch > leader->epoch)) {
      leader = c.get();
    }
  }
  return leader;
}

// I8: what the leader acts on is what its log says.
void Simulation::CompareReplay(Coordinator& coordinator) {
  if (lost_writes_) return;  // the leader is ahead of the store until its next append
  for (const std::string& id : job_ids_) {
    const JobState* state = coordinator.loop->StateOf(id);
    if (state == nullptr) continue;
    JobState replayed(id, *state->submitted_spec());
    const std::vector<StoredEvent> events = *store_.live().ReadEvents(id, 0, 1'000'000);
    for (const StoredEvent& event : events) {
      if (event.seq > state->seq()) break;  // applied by the store, and not known to the leader yet
      const absl::Status fits = replayed.Apply(event.seq, *ProtoJobCodec().DecodeEvent(event.body));
      if (!fits.ok()) Find("I8", id, std::string(fits.message()));
    }
    if (!(replayed == *state)) Find("I8", id, "the leader's state is not the replay of its log");
  }
}

}  // namespace merganser
