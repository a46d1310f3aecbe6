#include "worker/agent/session_client.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/codec/time_codec.h"
#include "common/rpc/backoff.h"
#include "common/rpc/dispatch_codec.h"
#include "common/rpc/status_codec.h"

namespace merganser {
namespace {

constexpr absl::Duration kHeartbeatMin = absl::Milliseconds(10);
constexpr absl::Duration kHeartbeatMax = absl::Seconds(60);
constexpr absl::Duration kGoodbyeTime = absl::Seconds(2);
constexpr absl::Duration kNextAddressPause = absl::Milliseconds(200);
constexpr absl::Duration kSilenceMin = absl::Seconds(3);  // a store that takes its time delays answers
constexpr absl::Duration kStandByPauseMax = absl::Seconds(2);
constexpr absl::Duration kRunningPauseMax = absl::Seconds(4);  // below what a coordinator that returns waits for its workers
constexpr absl::Duration kTellEvery = absl::Seconds(30);
constexpr size_t kWritesMax = 8;  // a peer that reads no heartbeats gets no more of them

bool IsRefusal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnimplemented(status);
}

}  // namespace

// One call. All Send and Close come from the session thread; reactions come from gRPC's. A hold keeps the call alive until
// that thread is done with it, so no operation can start on a finished call.
class SessionClient::Stream final : public grpc::ClientBidiReactor<v1::SessionRequest, v1::SessionResponse> {
 public:
  Stream(v1::WorkerService::Stub* stub, const ClientChannel& channel,
         std::function<void(const v1::SessionResponse&)> on_message)
      : stub_(stub), on_message_(std::move(on_message)) {
    channel.Prepare(&context_, absl::InfiniteDuration());
  }

  // Dials. First call on the stream; messages come from here on.
  void Start() {
    stub_->async()->Session(&context_, this);
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }

  void Send(v1::SessionRequest message) {
    const v1::SessionRequest* next = nullptr;
    {
      absl::MutexLock lock(&mu_);
      if (closed_ || writes_.size() >= kWritesMax) return;
      writes_.push_back(std::move(message));
      if (writes_.size() == 1) next = &writes_.front();
    }
    if (next != nullptr) StartWrite(next);
  }

  // Waits until the stream ended, an interruption or `timeout`; true if it ended.
  bool WaitClosed(absl::Duration timeout) {
    absl::MutexLock lock(&mu_);
    const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return closed_ || interrupted_; };
    mu_.AwaitWithTimeout(absl::Condition(&wake), timeout);
    return closed_;
  }
  // Ends waits now and later; for Stop and for the first message.
  void Interrupt(bool on) {
    absl::MutexLock lock(&mu_);
    interrupted_ = on;
  }

  // Half-closes once everything is written and waits for the peer's end.
  void Close() {
    bool written;
    {
      absl::MutexLock lock(&mu_);
      interrupted_ = false;
      const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return closed_ || writes_.empty(); };
      mu_.AwaitWithTimeout(absl::Condition(&done), kGoodbyeTime);
      written = !closed_ && writes_.empty();
    }
    if (!written) return;
    StartWritesDone();
    WaitClosed(kGoodbyeTime);
  }

  // Ends the call whatever its state and returns its status. Last call on the stream.
  absl::Status Finish() {
    if (!WaitClosed(absl::ZeroDuration())) context_.TryCancel();
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;  // of what is queued, nothing is started any more
    }
    RemoveHold();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&done_));
    return status_;
  }

 private:
  void OnReadDone(bool ok) override {
    if (ok) {
      on_message_(incoming_);
      StartRead(&incoming_);
      return;
    }
    absl::MutexLock lock(&mu_);
    closed_ = true;
  }

  void OnWriteDone(bool ok) override {
    const v1::SessionRequest* next = nullptr;
    {
      absl::MutexLock lock(&mu_);
      writes_.pop_front();
      if (!ok || closed_) writes_.clear();
      if (!writes_.empty()) next = &writes_.front();
    }
    if (next != nullptr) StartWrite(next);
  }

  void OnDone(const grpc::Status& status) override {
    absl::MutexLock lock(&mu_);
    status_ = FromGrpc(status);
    closed_ = true;
    done_ = true;
  }

  v1::WorkerService::Stub* const stub_;
  const std::function<void(const v1::SessionResponse&)> on_message_;
  grpc::ClientContext context_;
  v1::SessionResponse incoming_;  // the read's own

  absl::Mutex mu_;
  std::deque<v1::SessionRequest> writes_ ABSL_GUARDED_BY(mu_);  // the front one is being written
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// One session as its two threads see it: React is called by gRPC's, one message after another; Run by the client's.
class SessionClient::Session {
 public:
  Session(SessionClient* client, size_t index)
      : client_(*client),
        index_(index),
        stream_(peer().session_stub.get(), peer().channels.session,
                [this](const v1::SessionResponse& message) { React(message); }) {}

  // From dial to end.
  SessionEnd Run() {
    bool stopping;
    {
      absl::MutexLock lock(&client_.mu_);
      client_.stream_ = &stream_;
      stopping = client_.stopping_;
    }
    stream_.Start();
    v1::SessionRequest hello;
    *hello.mutable_hello() = ToProto(client_.agent_->info(), client_.agent_->running());
    stream_.Send(std::move(hello));
    bool closed = !stopping && stream_.WaitClosed(client_.options_.welcome_timeout);
    while (!closed) {
      stream_.Interrupt(false);
      {
        absl::MutexLock lock(&client_.mu_);
        stopping = client_.stopping_;
      }
      const absl::Duration wait = UntilHeartbeat();
      if (stopping || wait == absl::ZeroDuration()) break;
      closed = stream_.WaitClosed(wait);
      if (!closed) stream_.Send(client_.HeartbeatNow());
    }
    if (stopping && !closed) {
      stream_.Send(client_.HeartbeatNow());  // "drains and runs nothing" is the goodbye
      stream_.Close();
    }
    {
      absl::MutexLock lock(&client_.mu_);
      client_.stream_ = nullptr;
    }
    const absl::Status status = stream_.Finish();
    absl::MutexLock lock(&mu_);
    return {status, std::min(away_, kHeartbeatMax), interval_ > absl::ZeroDuration()};
  }

 private:
  const Peer& peer() const { return client_.peers_[index_]; }

  // Zero where the session is to end instead: the welcome did not come in time, or the coordinator fell silent.
  absl::Duration UntilHeartbeat() {
    absl::MutexLock lock(&mu_);
    const absl::Duration silence = Clock::Real().Monotonic() - last_heard_;
    if (interval_ == absl::ZeroDuration() ||
        silence <= std::max(client_.options_.silent_heartbeats_max * interval_, kSilenceMin)) {
      return interval_;
    }
    MG_LOG(WARNING) << "coordinator silent coordinator=" << peer().channels.address
                    << " for=" << absl::FormatDuration(absl::Trunc(silence, absl::Seconds(1))) << ": leaving it";
    return absl::ZeroDuration();
  }

  void React(const v1::SessionResponse& message) {
    {
      absl::MutexLock lock(&mu_);
      last_heard_ = Clock::Real().Monotonic();
    }
    switch (message.message_case()) {
      case v1::SessionResponse::kWelcome: {
        absl::MutexLock lock(&mu_);
        interval_ = std::clamp(FromProto(message.welcome().heartbeat_interval()), kHeartbeatMin, kHeartbeatMax);
        stream_.Interrupt(true);
        break;
      }
      case v1::SessionResponse::kAssign:
        Take(message.assign());
        break;
      case v1::SessionResponse::kCancel:
        client_.agent_->Cancel({message.cancel().job_id(), message.cancel().candidate(), message.cancel().attempt()});
        break;
      case v1::SessionResponse::kDrain:
        client_.agent_->Drain();
        break;
      case v1::SessionResponse::kGoingAway: {
        absl::MutexLock lock(&mu_);
        away_ = FromProto(message.going_away().retry_after());
        break;
      }
      case v1::SessionResponse::kHeartbeatAck:
        client_.TakeAsLeader(index_);  // one that welcomes may not lead yet
        for (const auto& unknown : message.heartbeat_ack().unknown()) client_.agent_->Cancel(FromProto(unknown).id);
        break;
      case v1::SessionResponse::MESSAGE_NOT_SET:
        break;  // of a newer version
    }
  }

  void Take(const v1::Assign& assign) {
    absl::StatusOr<Assignment> assignment = FromProto(assign, assign.job_id() == last_job_ ? last_spec_ : nullptr);
    if (!assignment.ok()) {
      // A coordinator of another version. The attempt stays out of the heartbeats, so it goes back to the queue.
      MG_LOG(ERROR) << "assignment not understood job=" << assign.job_id() << " candidate=" << assign.candidate()
                    << " error=\"" << assignment.status().message() << '"';
      return;
    }
    last_job_ = assign.job_id();
    last_spec_ = assignment->spec;
    client_.agent_->Assign(*assignment);
  }

  SessionClient& client_;
  const size_t index_;  // of the coordinator

  // Of the last assignment: a spec comes with the first one of a job only. Used by React alone.
  std::shared_ptr<const JobSpec> last_spec_;
  std::string last_job_;

  absl::Mutex mu_;
  absl::Duration last_heard_ ABSL_GUARDED_BY(mu_) = Clock::Real().Monotonic();
  absl::Duration interval_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();  // zero: not welcomed yet
  absl::Duration away_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();      // what a coordinator that leaves asked for

  Stream stream_;  // last: its reactions use what stands above
};

SessionClient::SessionClient(std::vector<CoordinatorChannels> coordinators, const SessionClientOptions& options)
    : options_(options) {
  for (CoordinatorChannels& channels : coordinators) {
    Peer peer{std::move(channels), nullptr, nullptr};
    peer.session_stub = v1::WorkerService::NewStub(peer.channels.session.channel);
    peer.reports_stub = v1::WorkerService::NewStub(peer.channels.reports.channel);
    peers_.push_back(std::move(peer));
  }
}

SessionClient::~SessionClient() { Stop(); }

void SessionClient::Start(Agent* agent) {
  agent_ = agent;
  thread_ = std::thread([this] { Run(); });
}

void SessionClient::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (stream_ != nullptr) stream_->Interrupt(true);
  }
  if (thread_.joinable()) thread_.join();
}

bool SessionClient::connected() const {
  absl::MutexLock lock(&mu_);
  return connected_;
}

absl::Status SessionClient::refused() const {
  absl::MutexLock lock(&mu_);
  return refused_;
}

void SessionClient::Run() {
  Backoff backoff(options_.backoff_first, options_.backoff_max, StableHash64(agent_->info().id));
  size_t tried = 0;  // in a row, in vain
  struct Told {
    absl::StatusCode code = absl::StatusCode::kOk;
    absl::Duration next;  // monotonic
  };
  std::vector<Told> told(peers_.size());
  for (size_t next = 0;; next = (next + 1) % peers_.size()) {
    const size_t at = next;
    const auto [status, retry_after, welcomed] = Session(this, at).Run();
    absl::MutexLock lock(&mu_);
    const bool was_connected = connected_;
    tried = connected_ ? 1 : tried + 1;
    if (connected_) backoff.Reset();
    connected_ = false;
    if (stopping_) return;
    refused_ = IsRefusal(status) ? status : absl::OkStatus();
    // A stand-by is next: no need to wait for it.
    const bool go_on = tried < peers_.size() && refused_.ok();
    // One that stands by may lead any second, and waits a while only for those that run something.
    const absl::Duration bound = welcomed && !was_connected  ? kStandByPauseMax
                                 : agent_->running().empty() ? absl::InfiniteDuration()
                                                             : kRunningPauseMax;
    const absl::Duration wait = go_on ? kNextAddressPause : retry_after + std::min(backoff.Next(), bound);
    if (!go_on) tried = 0;
    // Once for each coordinator and reason, then every half minute: an outage may last a night.
    Told& last = told[at];
    const absl::Duration now = Clock::Real().Monotonic();
    if (was_connected || last.code != status.code() || now >= last.next) {
      MG_LOG(WARNING) << "session ended coordinator=" << peers_[at].channels.address
                      << " code=" << absl::StatusCodeToString(status.code()) << " message=\"" << status.message()
                      << (!was_connected && absl::StrContains(status.message(), "Socket closed")
                              ? "; one that speaks TLS needs --tls-ca"
                              : "")
                      << "\" retry_in=" << absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(1)));
      last = {status.code(), now + kTellEvery};
    }
    if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), wait)) return;
  }
}

v1::SessionRequest SessionClient::HeartbeatNow() const {
  v1::SessionRequest message;
  auto* heartbeat = message.mutable_heartbeat();
  heartbeat->set_draining(agent_->draining());
  for (const RunningAttempt& attempt : agent_->running()) *heartbeat->add_running() = ToProto(attempt);
  return message;
}

void SessionClient::TakeAsLeader(size_t index) {
  absl::MutexLock lock(&mu_);
  if (!connected_) {
    MG_LOG(INFO) << "session with coordinator=" << peers_[index].channels.address;
  }
  connected_ = true;
  leader_ = index;
  refused_ = absl::OkStatus();
}

absl::StatusOr<Disposition> SessionClient::Report(const AttemptReport& report) {
  grpc::ClientContext context;
  const Peer* peer;
  {
    absl::MutexLock lock(&mu_);
    peer = &peers_[leader_];
  }
  peer->channels.reports.Prepare(&context, options_.report_timeout);
  v1::ReportAttemptResponse response;
  MG_RETURN_IF_ERROR(FromGrpc(peer->reports_stub->ReportAttempt(&context, ToProto(report), &response)));
  return ParseDisposition(response.disposition());
}

}  // namespace merganser
