#include "tests/common/store/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr absl::Duration kReadyWithin = absl::Minutes(1);
constexpr int kPortTries = 5;  // another process may take a port between our look and the server's bind

constexpr size_t kDirLengthMax = 90;  // a Unix socket's path has at most 107 characters

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  int port = 0;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

// True once the server takes commands: +PONG, or an error that asks for a login, but not LOADING.
bool Answers(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const timeval timeout = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  char reply[64] = "";
  ssize_t n = -1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6) {
    n = recv(fd, reply, sizeof reply, 0);
  }
  close(fd);
  const absl::string_view text(reply, n > 0 ? n : 0);
  return absl::StartsWith(text, "+PONG") || absl::StartsWith(text, "-NOAUTH") || absl::StartsWith(text, "-NOPERM");
}

bool IsInstalled() {
  FILE* pipe = popen("redis-server --version 2>/dev/null", "re");
  if (pipe == nullptr) return false;
  char line[256] = "";
  const bool got = fgets(line, sizeof line, pipe) != nullptr;
  pclose(pipe);
  absl::string_view text(line);
  const size_t at = text.find("v=");
  int major = 0;
  if (!got || at == absl::string_view::npos) return false;
  text = text.substr(at + 2);
  return absl::SimpleAtoi(text.substr(0, text.find('.')), &major) && major >= 7;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RedisServer>> RedisServer::Start(Options options) {
  if (!IsInstalled()) return absl::NotFoundError("redis-server 7.0 or newer is not installed");
  const char* tmp = getenv("TMPDIR");
  std::string dir = absl::StrCat(tmp != nullptr ? tmp : "/tmp", "/mg-redis-XXXXXX");
  if (dir.size() > kDirLengthMax) dir = "/tmp/mg-redis-XXXXXX";
  if (mkdtemp(dir.data()) == nullptr) return ErrnoStatus(errno, "cannot create folder", dir);
  std::unique_ptr<RedisServer> server(new RedisServer(std::move(options), dir));
  if (!server->options_.acl.empty()) {
    MG_RETURN_IF_ERROR(WriteFileAtomically(dir + "/users.acl", server->options_.acl));
  }
  absl::Status status;
  for (int i = 0; i < kPortTries; ++i) {
    server->port_ = FreePort();
    status = server->Launch();
    if (status.ok()) return server;
  }
  return status;
}

RedisServer::~RedisServer() {
  Kill();
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

std::string RedisServer::uri(const std::string& login) const {
  return absl::StrCat("redis://", login, login.empty() ? "" : "@", "127.0.0.1:", port_, "/0");
}

absl::Status RedisServer::Launch() {
  std::vector<std::string> args = {"redis-server",
                                   "--port",
                                   absl::StrCat(port_),
                                   "--bind",
                                   "127.0.0.1",
                                   "--dir",
                                   dir_,
                                   "--unixsocket",
                                   socket_path(),
                                   "--appendonly",
                                   "yes",
                                   "--appendfsync",
                                   "always",
                                   "--maxmemory-policy",
                                   "noeviction",
                                   "--save",
                                   ""};
  if (!options_.acl.empty()) args.insert(args.end(), {"--aclfile", dir_ + "/users.acl"});
  args.insert(args.end(), options_.config.begin(), options_.config.end());
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  const std::string log = dir_ + "/redis.log";
  const int log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  pid_ = fork();
  if (pid_ == 0) {  // only async-signal-safe calls until exec
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(log_fd);
  if (pid_ < 0) return ErrnoStatus(errno, "cannot start", "redis-server");
  return AwaitReady();
}

absl::Status RedisServer::AwaitReady() {
  const absl::Time give_up = absl::Now() + kReadyWithin;
  while (absl::Now() < give_up) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      const auto log = ReadFile(dir_ + "/redis.log");
      return absl::UnavailableError(absl::StrCat("redis-server ended at once: ", log.ok() ? *log : log.status().ToString()));
    }
    if (Answers(port_)) return absl::OkStatus();
    absl::SleepFor(absl::Milliseconds(5));  // between polls of another process
  }
  Kill();
  return absl::DeadlineExceededError(absl::StrCat("redis-server on port ", port_, " is not ready"));
}

void RedisServer::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

absl::Status RedisServer::Restart() { return Launch(); }

}  // namespace merganser
