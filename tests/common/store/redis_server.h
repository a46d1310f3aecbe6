// A private redis-server for tests: a free loopback port, its files in a folder of its own, every
// write fsynced.
#ifndef MERGANSER_TESTS_COMMON_STORE_REDIS_SERVER_H_
#define MERGANSER_TESTS_COMMON_STORE_REDIS_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace merganser {

// Not thread-safe. The server also dies with the thread that started it, so that a killed test
// leaves none behind: start it from a thread that lives as long as it is needed (the main thread).
class RedisServer {
 public:
  struct Options {
    std::string acl;                  // text of an ACL file; "": the default user without a password
    std::vector<std::string> config;  // more of the command line, such as {"--maxmemory", "10mb"}
  };

  // Returns once the server answers. NotFound if redis-server is not installed or older than 7
  // (skip the test then).
  static absl::StatusOr<std::unique_ptr<RedisServer>> Start(Options options);
  static absl::StatusOr<std::unique_ptr<RedisServer>> Start() { return Start(Options()); }
  // Kills the server and removes its folder.
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  int port() const { return port_; }
  // "redis://127.0.0.1:PORT/0", or with `login` ("user:password").
  std::string uri(const std::string& login = "") const;
  // Also a socket, for redis-cli -s.
  std::string socket_path() const { return dir_ + "/redis.sock"; }
  pid_t pid() const { return pid_; }

  // SIGKILL; returns once the process is gone.
  void Kill();
  // Starts it again after Kill: same port, same data. Returns once it answers.
  absl::Status Restart();

 private:
  RedisServer(Options options, std::string dir) : options_(std::move(options)), dir_(std::move(dir)) {}
  absl::Status Launch();
  absl::Status AwaitReady();

  const Options options_;
  const std::string dir_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_COMMON_STORE_REDIS_SERVER_H_
