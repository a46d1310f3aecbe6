#include "tests/testing/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace merganser::testing_support {
namespace {

std::string Contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

Process::Process(const std::string& name, const std::vector<std::string>& argv, const std::string& log_dir,
                 const std::map<std::string, std::string>& env)
    : log_prefix_([&] {
        static std::atomic<int> count{0};
        return log_dir + "/" + name + "." + std::to_string(++count);
      }()) {
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  const std::string out = log_prefix_ + ".out", err = log_prefix_ + ".err";
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no orphans if the test itself is killed
  for (const auto& [key, value] : env) setenv(key.c_str(), value.c_str(), 1);
  const int out_fd = open(out.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  const int err_fd = open(err.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  dup2(out_fd, 1);
  dup2(err_fd, 2);
  execv(args[0], args.data());
  _exit(127);
}

Process::~Process() {
  if (Running()) {
    Signal(SIGKILL);
    Wait(absl::Seconds(10));
  }
}

void Process::Signal(int signal) {
  if (pid_ > 0) kill(pid_, signal);
}

bool Process::Running() { return Wait(absl::ZeroDuration()) == -1; }

int Process::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (pid_ > 0) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      pid_ = -1;
      break;
    }
    if (absl::Now() >= deadline) return -1;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return exit_code_;
}

std::string Process::Stdout() const { return Contents(log_prefix_ + ".out"); }
std::string Process::Stderr() const { return Contents(log_prefix_ + ".err"); }

Finished RunToEnd(const std::vector<std::string>& argv, const std::string& log_dir, absl::Duration timeout,
                  const std::map<std::string, std::string>& env) {
  Process process("run", argv, log_dir, env);
  const int code = process.Wait(timeout);
  return {code, process.Stdout(), process.Stderr()};
}

bool Eventually(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

std::string FreshDir(const std::string& name) {
  const std::string dir = ::testing::TempDir() + "/mg_" + name + "_" + std::to_string(getpid());
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir;
}

}  // namespace merganser::testing_support
