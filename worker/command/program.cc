#include "worker/command/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"

extern char** environ;

namespace merganser {
namespace {

constexpr size_t kErrorTail = 4096;
constexpr int kPollMilliseconds = 50;
constexpr absl::Duration kGrace = absl::Seconds(3);
// What is still in the pipes after the program has ended; its children may keep them open for ever.
constexpr absl::Duration kDrain = absl::Milliseconds(500);
constexpr int kTemporaryFailure = 75;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Pipe {
  Descriptor read, write;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ResourceExhaustedError(absl::StrCat("no pipe: ", strerror(errno)));
  Pipe made{Descriptor(ends[0]), Descriptor(ends[1])};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return made;
}

// Reads what is there; false at the end of the stream.
bool ReadSome(int fd, std::string* out) {
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      out->append(buffer.data(), static_cast<size_t>(n));
      return true;
    }
    if (n == 0) return false;
    if (errno == EINTR) continue;
    return errno == EAGAIN;
  }
}

std::vector<std::string> Environment(const std::map<std::string, std::string>& over, bool inherit) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; inherit && *entry != nullptr; ++entry) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(*entry, absl::MaxSplits('=', 1));
    all.insert(pair);
  }
  for (const auto& [name, value] : over) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(absl::StrCat(name, "=", value));
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<pid_t> Spawn(const Program& program, const std::string& file, const Pipe& out, const Pipe& error) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, error.write.get(), 2);
  // Whatever this process has open, its libraries' files too, is none of the program's.
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  if (!program.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, program.directory.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> argv = program.argv, env = Environment(program.env, program.inherit_env);
  pid_t child = 0;
  const int failed = posix_spawn(&child, file.c_str(), &actions, &attributes, Pointers(argv).data(), Pointers(env).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == 0) return child;
  const std::string what = absl::StrCat("'", file, "' could not be started: ", strerror(failed));
  if (failed == ENOENT) return absl::NotFoundError(what);
  if (failed == EACCES) return absl::PermissionDeniedError(what);
  return absl::ResourceExhaustedError(what);
}

std::string WithTail(std::string what, absl::string_view tail) {
  tail = absl::StripAsciiWhitespace(tail);
  return tail.empty() ? what : absl::StrCat(what, "; the end of its standard error:\n", tail);
}

// A child, its pipes, and how long it may go on.
class Child {
 public:
  Child(pid_t pid, Descriptor out, Descriptor error) : pid_(pid), out_(std::move(out)), error_(std::move(error)) {}
  ~Child() {
    if (!ended_) Kill();
    kill(-pid_, SIGKILL);  // children that it left behind
  }

  // Reads and looks whether it has ended.
  void Poll() {
    pollfd fds[2] = {{out_.get(), POLLIN, 0}, {error_.get(), POLLIN, 0}};
    poll(fds, 2, kPollMilliseconds);  // closed ends are -1, which poll passes over
    if (fds[0].revents != 0 && !ReadSome(out_.get(), &output)) out_.Close();
    if (fds[1].revents != 0 && !ReadSome(error_.get(), &tail)) error_.Close();
    if (tail.size() > 4 * kErrorTail) tail.erase(0, tail.size() - kErrorTail);
    if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = Clock::Real().Monotonic();
  }
  bool Over() const {
    if (!ended_) return false;
    const bool drained = out_.get() < 0 && error_.get() < 0;
    return drained || Clock::Real().Monotonic() - *ended_ > kDrain;
  }
  void Kill() {
    kill(-pid_, SIGTERM);
    const absl::Duration deadline = Clock::Real().Monotonic() + kGrace;
    while (!ended_ && Clock::Real().Monotonic() < deadline) Poll();
    kill(-pid_, SIGKILL);
    if (!ended_ && waitpid(pid_, &status_, 0) == pid_) ended_ = Clock::Real().Monotonic();
    ended_ = Clock::Real().Monotonic();
  }
  int status() const { return status_; }

  std::string output, tail;

 private:
  const pid_t pid_;
  Descriptor out_, error_;
  std::optional<absl::Duration> ended_;
  int status_ = 0;
};

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& directory) {
  if (name.empty()) return absl::NotFoundError("the program has no name");
  std::vector<std::string> candidates;
  if (name.find('/') != std::string::npos) {
    candidates.push_back(name.front() == '/' || directory.empty() ? name : absl::StrCat(directory, "/", name));
  } else {
    const char* path = getenv("PATH");
    for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':', absl::SkipEmpty())) {
      candidates.push_back(absl::StrCat(folder, "/", name));
    }
  }
  std::string found;
  for (const std::string& file : candidates) {
    if (access(file.c_str(), F_OK) != 0) continue;
    if (access(file.c_str(), X_OK) == 0) return file;
    found = file;
  }
  if (!found.empty()) return absl::PermissionDeniedError(absl::StrCat("'", found, "' may not be executed"));
  return absl::NotFoundError(absl::StrCat("there is no program '", name, "'", candidates.size() > 1 ? " in PATH" : ""));
}

absl::StatusOr<ProgramOutcome> RunProgram(const Program& program, std::stop_token stop) {
  if (program.argv.empty()) return absl::InvalidArgumentError("the command is empty");
  MG_ASSIGN_OR_RETURN(const std::string file, FindProgram(program.argv[0], program.directory));
  MG_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  MG_ASSIGN_OR_RETURN(Pipe error, MakePipe());
  const absl::Duration start = Clock::Real().Monotonic();
  MG_ASSIGN_OR_RETURN(const pid_t pid, Spawn(program, file, out, error));
  Child child(pid, std::move(out.read), std::move(error.read));
  out.write.Close();
  error.write.Close();
  const auto too_long = [&] { return static_cast<int64_t>(child.output.size()) > program.output_bytes_max; };
  absl::Status status;
  while (status.ok() && !child.Over()) {
    child.Poll();
    if (stop.stop_requested()) {
      status = absl::CancelledError("the program was stopped");
    } else if (Clock::Real().Monotonic() - start > program.timeout) {
      status =
          absl::DeadlineExceededError(absl::StrCat("the program took longer than ", absl::FormatDuration(program.timeout)));
    } else if (too_long()) {
      status = absl::InvalidArgumentError(
          absl::StrCat("the program wrote more than ", program.output_bytes_max, " bytes to its standard output"));
    }
  }
  if (!status.ok()) child.Kill();
  if (child.tail.size() > kErrorTail) child.tail.erase(0, child.tail.size() - kErrorTail);
  if (!status.ok()) return absl::Status(status.code(), WithTail(std::string(status.message()), child.tail));
  const int result = child.status();
  if (WIFSIGNALED(result)) {
    return absl::InvalidArgumentError(
        WithTail(absl::StrCat("the program was ended by signal ", WTERMSIG(result), " (", strsignal(WTERMSIG(result)), ")"),
                 child.tail));
  }
  const int code = WEXITSTATUS(result);
  if (code != 0) {
    const std::string what = WithTail(absl::StrCat("the program ended with status ", code), child.tail);
    if (code == kTemporaryFailure) return absl::UnavailableError(what);
    return absl::InvalidArgumentError(what);
  }
  return ProgramOutcome{std::move(child.output), std::move(child.tail),
                        absl::ToDoubleSeconds(Clock::Real().Monotonic() - start)};
}

}  // namespace merganser
