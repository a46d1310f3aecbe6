#include "common/store/redis/redis_client.h"

#include <hiredis/hiredis.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// hiredis 0.14 writes with write(2), so a server that has gone away would kill the process with
// SIGPIPE. Blocked for this thread while hiredis runs; one that came meanwhile is taken out before
// unblocking.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &old_);
  }
  ~SigpipeBlock() {
    if (!was_pending_) {
      const timespec at_once = {0, 0};
      while (sigtimedwait(&sigpipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }

 private:
  sigset_t sigpipe_;
  sigset_t old_;
  bool was_pending_;
};

// The log says once that a server is away, whatever number of clients finds out, then every so often, and once that it is
// back.
class AwayServers {
 public:
  static AwayServers& Get() {
    static auto* const servers = new AwayServers;
    return *servers;
  }
  void IsAway(const std::string& server, const absl::Status& error) {
    const absl::Duration now = Clock::Real().Monotonic();
    {
      absl::MutexLock lock(&mu_);
      const auto [told, fresh] = told_.emplace(server, now);
      if (!fresh && now - told->second < kTellInterval) return;
      told->second = now;
      any_ = true;
    }
    MG_LOG(WARNING) << "redis away server=" << server << " error=" << error.message();
  }
  void Answers(const std::string& server) {
    if (!any_) return;
    {
      absl::MutexLock lock(&mu_);
      if (told_.erase(server) == 0) return;
      any_ = !told_.empty();
    }
    MG_LOG(INFO) << "redis back server=" << server;
  }

 private:
  static constexpr absl::Duration kTellInterval = absl::Seconds(30);

  std::atomic<bool> any_ = false;
  absl::Mutex mu_;
  std::map<std::string, absl::Duration> told_ ABSL_GUARDED_BY(mu_);
};

RedisReply Convert(const redisReply& reply) {
  RedisReply out;
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      out.kind = RedisReply::Kind::kInteger;
      out.integer = reply.integer;
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = RedisReply::Kind::kArray;
      out.elements.reserve(reply.elements);
      for (size_t i = 0; i < reply.elements; ++i) out.elements.push_back(Convert(*reply.element[i]));
      break;
    case REDIS_REPLY_NIL:
      break;
    default:  // STRING, STATUS; an error within an array, which no command of ours answers
      out.kind = RedisReply::Kind::kText;
      out.text.assign(reply.str, reply.len);
  }
  return out;
}

std::string LowerFirst(absl::string_view text) {
  std::string out(text);
  if (!out.empty()) out[0] = absl::ascii_tolower(out[0]);
  return out;
}

// A second per 8 MiB: a slow disk's fsync of one large value.
absl::Duration TimeoutFor(absl::Duration base, absl::Span<const absl::string_view> args) {
  size_t bytes = 0;
  for (const absl::string_view arg : args) bytes += arg.size();
  return base + absl::Seconds(static_cast<double>(bytes >> 20) / 8);
}

}  // namespace

absl::Status StatusFromRedisError(absl::string_view error) {
  const absl::string_view word = error.substr(0, error.find(' '));
  const auto is = [&](std::initializer_list<absl::string_view> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (is({"LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED", "NOREPLICAS"})) {
    return absl::UnavailableError(error);
  }
  if (is({"OOM", "MISCONF"})) return absl::ResourceExhaustedError(error);
  if (is({"NOAUTH", "WRONGPASS"})) return absl::UnauthenticatedError(error);
  if (is({"NOPERM"})) return absl::PermissionDeniedError(error);
  if (absl::StartsWith(error, "ERR Function not found")) return absl::NotFoundError(error);
  if (absl::StartsWith(error, "ERR unknown command")) return absl::UnimplementedError(error);
  // AUTH with a password that the default user does not have.
  if (absl::StrContains(error, "AUTH <password> called without any password configured")) {
    return absl::UnauthenticatedError(error);
  }
  return absl::InternalError(error);
}

RedisClient::RedisClient(RedisOptions options)
    : options_(std::move(options)), server_(options_.Display()), jitter_(StableHash64(RandomToken()), /*stream=*/0) {}

RedisClient::~RedisClient() { Disconnect(); }

void RedisClient::Disconnect() {
  if (context_ != nullptr) redisFree(context_);
  context_ = nullptr;
}

absl::Status RedisClient::ConnectionError(absl::Duration timeout) const {
  const int error = errno;
  if (context_ == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(server_, ": out of memory"));
  }
  if (context_->err == REDIS_ERR_IO && (error == EAGAIN || error == EWOULDBLOCK)) {
    return absl::UnavailableError(absl::StrCat(server_, ": no reply within ", absl::FormatDuration(timeout)));
  }
  return absl::UnavailableError(absl::StrCat(server_, ": ", LowerFirst(context_->errstr)));
}

absl::Status RedisClient::Connect() {
  const timeval timeout = absl::ToTimeval(options_.timeout);
  context_ = redisConnectWithTimeout(options_.host.c_str(), options_.port, timeout);
  if (context_ == nullptr || context_->err != 0) {
    const absl::Status error = ConnectionError(options_.timeout);
    Disconnect();
    return absl::Status(error.code(), absl::StrCat(error.message(), "; is redis-server running?"));
  }
  redisEnableKeepAlive(context_);
  if (!options_.password.empty()) {
    std::vector<absl::string_view> auth = {"AUTH"};
    if (!options_.user.empty()) auth.push_back(options_.user);
    auth.push_back(options_.password);
    const auto reply = Exchange(auth);
    if (!reply.ok()) {
      Disconnect();
      if (absl::IsUnavailable(reply.status())) return reply.status();
      return Annotate(reply.status(),
                      absl::StrCat("login as '", options_.user.empty() ? "default" : options_.user, "' refused"));
    }
  }
  if (options_.db != 0) {
    const auto reply = Exchange({"SELECT", absl::StrCat(options_.db)});
    if (!reply.ok()) {
      Disconnect();
      return Annotate(reply.status(), absl::StrCat("database ", options_.db));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisReply> RedisClient::Exchange(absl::Span<const absl::string_view> args) {
  std::vector<const char*> data;
  std::vector<size_t> sizes;
  for (const absl::string_view arg : args) {
    data.push_back(arg.data() == nullptr ? "" : arg.data());
    sizes.push_back(arg.size());
  }
  const absl::Duration timeout = TimeoutFor(options_.timeout, args);
  redisSetTimeout(context_, absl::ToTimeval(timeout));
  errno = 0;
  std::unique_ptr<void, void (*)(void*)> reply(
      redisCommandArgv(context_, static_cast<int>(data.size()), data.data(), sizes.data()), freeReplyObject);
  if (reply == nullptr) {
    // hiredis: a context that has failed once can only be thrown away.
    const absl::Status error = ConnectionError(timeout);
    Disconnect();
    return error;
  }
  const auto& got = *static_cast<redisReply*>(reply.get());
  if (got.type == REDIS_REPLY_ERROR) {
    return Annotate(StatusFromRedisError(absl::string_view(got.str, got.len)), server_);
  }
  return Convert(got);
}

absl::StatusOr<RedisReply> RedisClient::TryOnce(absl::Span<const absl::string_view> args) {
  const SigpipeBlock block;
  if (context_ == nullptr) MG_RETURN_IF_ERROR(Connect());
  return Exchange(args);
}

absl::StatusOr<RedisReply> RedisClient::Command(absl::Span<const absl::string_view> args) {
  const absl::Duration start = Clock::Real().Monotonic();
  absl::Duration pause_max = options_.backoff;
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<RedisReply> reply = TryOnce(args);
    if (!absl::IsUnavailable(reply.status())) {
      AwayServers::Get().Answers(server_);
      return reply;
    }
    AwayServers::Get().IsAway(server_, reply.status());
    if (attempt >= options_.attempts || Clock::Real().Monotonic() - start > options_.give_up) return reply;
    // Full jitter: a fleet whose Redis restarts must not come back all at one moment.
    absl::SleepFor(pause_max * jitter_.Uniform());
    pause_max = std::min(pause_max * 2, options_.backoff_max);
  }
}

}  // namespace merganser
