#include "worker/agent/child_evaluator.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/recipe_codec.h"
#include "merganser/v1/worker_service.pb.h"

extern char** environ;

namespace merganser {
namespace {

// A frame: its kind, its length in 4 bytes, its payload.
constexpr char kPrepare = 'P', kEvaluate = 'E', kStop = 'S', kExpect = 'N';            // to the child
constexpr char kReady = 'R', kPhase = 'p', kFacts = 'F', kResult = 'V', kError = 'X';  // from it
constexpr uint32_t kFrameBytesMax = 256u << 20;                                        // an evaluation with every sample
constexpr int kChildFd = 3;
constexpr absl::Duration kPoll = absl::Milliseconds(50);  // how late a stop request, or what is expected, is passed on
constexpr int kExitPoisoned = 70;

struct Frame {
  char kind = 0;
  std::string payload;
};

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool ReadAll(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = recv(fd, data, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool WriteFrame(int fd, char kind, absl::string_view payload) {
  char head[5] = {kind};
  const auto size = static_cast<uint32_t>(payload.size());
  std::memcpy(head + 1, &size, sizeof size);
  return payload.size() <= kFrameBytesMax && WriteAll(fd, head, sizeof head) && WriteAll(fd, payload.data(), payload.size());
}

std::optional<Frame> ReadFrame(int fd) {
  char head[5];
  if (!ReadAll(fd, head, sizeof head)) return std::nullopt;
  uint32_t size = 0;
  std::memcpy(&size, head + 1, sizeof size);
  if (size > kFrameBytesMax) return std::nullopt;
  Frame frame{head[0], std::string(size, '\0')};
  if (!ReadAll(fd, frame.payload.data(), size)) return std::nullopt;
  return frame;
}

// "CODE message".
std::string StatusText(const absl::Status& status) {
  return absl::StrCat(static_cast<int>(status.code()), " ", status.message());
}

absl::Status ParseStatus(const std::string& text) {
  const size_t space = text.find(' ');
  const int code = atoi(text.c_str());
  if (space == std::string::npos || code <= 0 || code > 16) return absl::InternalError("the evaluator failed: " + text);
  return absl::Status(static_cast<absl::StatusCode>(code), text.substr(space + 1));
}

}  // namespace

// --- the parent -------------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<ChildEvaluator>> ChildEvaluator::Start(const ChildEvaluatorOptions& options) {
  std::unique_ptr<ChildEvaluator> evaluator(new ChildEvaluator(options));
  MG_RETURN_IF_ERROR(evaluator->Spawn());
  return evaluator;
}

ChildEvaluator::~ChildEvaluator() { Kill(); }

absl::Status ChildEvaluator::Spawn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no socket for the evaluator: ", strerror(errno)));
  }
  std::vector<std::string> words = options_.argv;
  words.insert(words.end(), {"--evaluator-fd", absl::StrCat(kChildFd)});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kChildFd);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  fd_ = ends[0];
  if (error != 0) {
    pid_ = 0;
    Kill();
    return absl::FailedPreconditionError(
        absl::StrCat("the evaluator '", words[0], "' cannot be started: ", strerror(error)));
  }
  pollfd wait{fd_, POLLIN, 0};
  const int ready = poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(options_.start_timeout)));
  const std::optional<Frame> first = ready > 0 ? ReadFrame(fd_) : std::nullopt;
  if (first.has_value() && first->kind == kReady) {
    MG_LOG(INFO) << "evaluator started pid=" << pid_;
    return absl::OkStatus();
  }
  bool may_pass = true;
  const std::string how =
      ready > 0 ? Obituary(&may_pass) : absl::StrCat("it said nothing for ", absl::FormatDuration(options_.start_timeout));
  Kill();
  const std::string message = absl::StrCat("the evaluator did not start: ", how);
  return may_pass ? absl::UnavailableError(message) : absl::FailedPreconditionError(message);
}

void ChildEvaluator::Kill() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

std::string ChildEvaluator::Obituary(bool* may_pass) {
  int status = 0;
  // It closed its end, so it is about to be gone: at once, but where the machine has no time for it.
  for (int i = 0; i < 1000 && pid_ > 0; ++i) {
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = 0;
      break;
    }
    usleep(10'000);
  }
  if (pid_ > 0) return "it closed its connection";
  if (WIFSIGNALED(status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")",
                        WTERMSIG(status) == SIGKILL ? ", perhaps for want of memory" : "");
  }
  if (may_pass != nullptr) *may_pass = false;
  return absl::StrCat("exit code ", WEXITSTATUS(status));
}

absl::StatusOr<std::string> ChildEvaluator::Call(char kind, const std::string& request, char wanted,
                                                 const PhaseCallback& phase, std::stop_token stop) {
  // One that died while nobody asked it is no fault of this candidate. A process closes what it holds before it is a zombie.
  pollfd left{fd_, POLLRDHUP, 0};
  if (pid_ > 0 && poll(&left, 1, 0) > 0) Kill();
  if (pid_ == 0) {
    // Perhaps it will be well again, here or elsewhere.
    if (const absl::Status started = Spawn(); !started.ok()) return absl::UnavailableError(started.message());
  }
  const auto died = [&]() -> absl::Status {
    const std::string how = Obituary();
    Kill();
    MG_LOG(ERROR) << "evaluator died: " << how;
    return absl::AbortedError(absl::StrCat("the evaluator died: ", how));
  };
  if (!WriteFrame(fd_, kind, request)) return died();
  absl::Duration kill_at = absl::InfiniteDuration();
  while (true) {
    if (kind == kEvaluate && !PassExpected()) return died();
    const absl::Duration now = Clock::Real().Monotonic();
    if (stop.stop_requested() && kill_at == absl::InfiniteDuration()) {
      if (!WriteFrame(fd_, kStop, "")) return died();
      kill_at = now + options_.stop_grace;
    }
    if (now >= kill_at) {
      MG_LOG(WARNING) << "evaluator does not stop, it is killed pid=" << pid_;
      Kill();
      return absl::CancelledError("the evaluator did not stop and was killed");
    }
    pollfd wait{fd_, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(kPoll)));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    std::optional<Frame> frame = ReadFrame(fd_);
    if (!frame.has_value()) return died();
    if (frame->kind == kPhase) {
      phase(frame->payload);
    } else if (frame->kind == wanted) {
      return std::move(frame->payload);
    } else if (frame->kind == kError) {
      const absl::Status status = ParseStatus(frame->payload);
      // After these a device may be unusable for good (a CUDA context is, after an illegal access).
      if (absl::IsInternal(status) || absl::IsAborted(status)) Kill();
      return status;
    } else {
      Kill();
      return absl::AbortedError(absl::StrCat("the evaluator answered with a frame of kind ", static_cast<int>(frame->kind)));
    }
  }
}

void ChildEvaluator::Expect(const Recipe& next) {
  absl::MutexLock lock(&mu_);
  expected_ = next;
}

bool ChildEvaluator::PassExpected() {
  std::optional<Recipe> next;
  {
    absl::MutexLock lock(&mu_);
    next.swap(expected_);
  }
  return !next.has_value() || WriteFrame(fd_, kExpect, ToProto(*next).SerializeAsString());
}

absl::StatusOr<JobFacts> ChildEvaluator::Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  v1::Assign request;
  *request.mutable_spec() = ToProto(spec);
  MG_ASSIGN_OR_RETURN(const std::string bytes, Call(kPrepare, request.SerializeAsString(), kFacts, phase, stop));
  v1::JobFacts facts;
  if (!facts.ParseFromString(bytes)) return absl::InternalError("the evaluator's answer is damaged");
  return FromProto(facts);
}

absl::StatusOr<Evaluation> ChildEvaluator::Evaluate(const JobSpec& spec, const Recipe& recipe,
                                                    const std::vector<std::string>& benchmarks, const PhaseCallback& phase,
                                                    std::stop_token stop) {
  v1::Assign request;
  *request.mutable_spec() = ToProto(spec);
  *request.mutable_recipe() = ToProto(recipe);
  for (const std::string& name : benchmarks) request.add_benchmarks(name);
  {
    absl::MutexLock lock(&mu_);
    expected_.reset();
  }
  MG_ASSIGN_OR_RETURN(const std::string bytes, Call(kEvaluate, request.SerializeAsString(), kResult, phase, stop));
  v1::Evaluation evaluation;
  if (!evaluation.ParseFromString(bytes)) return absl::InternalError("the evaluator's answer is damaged");
  return FromProto(evaluation);
}

// --- the child --------------------------------------------------------------------------------------

namespace {

// What the parent sends, read beside the evaluation so that a stop, and what is expected, get through.
class Requests {
 public:
  Requests(int fd, CandidateEvaluator& evaluator) : evaluator_(evaluator), reader_([this, fd] { Read(fd); }) {
    reader_.detach();
  }

  Frame Next() {
    absl::MutexLock lock(&mu_);
    const auto there = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return next_.has_value(); };
    mu_.Await(absl::Condition(&there));
    Frame frame = *std::move(next_);
    next_.reset();
    return frame;
  }
  std::stop_token stop() {
    absl::MutexLock lock(&mu_);
    return stop_.get_token();
  }

 private:
  void Read(int fd) {
    while (std::optional<Frame> frame = ReadFrame(fd)) {
      if (frame->kind == kExpect) {
        Expect(frame->payload);
        continue;
      }
      std::stop_source stopped(std::nostopstate);
      {
        absl::MutexLock lock(&mu_);
        if (frame->kind == kStop) {
          stopped = stop_;
        } else {
          stop_ = std::stop_source();
          next_ = *std::move(frame);
        }
      }
      stopped.request_stop();
    }
    _exit(0);  // the parent is gone: nobody wants what is being made
  }
  void Expect(const std::string& bytes) {
    v1::Recipe proto;
    if (!proto.ParseFromString(bytes)) return;
    if (const absl::StatusOr<Recipe> next = FromProto(proto); next.ok()) evaluator_.Expect(*next);
  }

  CandidateEvaluator& evaluator_;
  absl::Mutex mu_;
  std::optional<Frame> next_ ABSL_GUARDED_BY(mu_);
  std::stop_source stop_ ABSL_GUARDED_BY(mu_);
  std::thread reader_;
};

absl::StatusOr<Frame> Answer(const Frame& request, CandidateEvaluator& evaluator, int fd, std::stop_token stop) {
  v1::Assign assign;
  if (!assign.ParseFromString(request.payload)) return absl::InternalError("the request is damaged");
  MG_ASSIGN_OR_RETURN(const JobSpec spec, FromProto(assign.spec()));
  const auto phase = [fd](absl::string_view name) { (void)WriteFrame(fd, kPhase, name); };
  if (request.kind == kPrepare) {
    MG_ASSIGN_OR_RETURN(const JobFacts facts, evaluator.Prepare(spec, phase, stop));
    return Frame{kFacts, ToProto(facts).SerializeAsString()};
  }
  MG_ASSIGN_OR_RETURN(const Recipe recipe, FromProto(assign.recipe()));
  const std::vector<std::string> benchmarks(assign.benchmarks().begin(), assign.benchmarks().end());
  MG_ASSIGN_OR_RETURN(const Evaluation evaluation, evaluator.Evaluate(spec, recipe, benchmarks, phase, stop));
  return Frame{kResult, ToProto(evaluation).SerializeAsString()};
}

}  // namespace

int ServeEvaluator(int fd, CandidateEvaluator* evaluator) {
  // A terminal's Ctrl-C goes to both: the parent drains and ends this process when it is done.
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  // Programs that score candidates, or that models wrote, are children of this process. One that had the connection could
  // answer in its place, and as long as it lived the parent would not learn of this one's death.
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (!WriteFrame(fd, kReady, "")) return 0;
  auto* const requests = new Requests(fd, *evaluator);  // its thread ends with the process
  while (true) {
    const Frame request = requests->Next();
    absl::StatusOr<Frame> answer = absl::InternalError("");
    bool poisoned = false;
    try {
      answer = Answer(request, *evaluator, fd, requests->stop());
    } catch (const std::exception& e) {
      answer = absl::AbortedError(absl::StrCat("the evaluator threw: ", e.what()));
      poisoned = true;
    } catch (...) {
      answer = absl::AbortedError("the evaluator threw something that is no exception");
      poisoned = true;
    }
    const bool written =
        answer.ok() ? WriteFrame(fd, answer->kind, answer->payload) : WriteFrame(fd, kError, StatusText(answer.status()));
    if (poisoned || !written) return kExitPoisoned;
  }
}

}  // namespace merganser
