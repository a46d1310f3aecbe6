// A network of its own for some of a test's processes, with a line to the rest that can be cut.
#ifndef MERGANSER_TESTS_CHAOS_NETWORK_NAMESPACE_H_
#define MERGANSER_TESTS_CHAOS_NETWORK_NAMESPACE_H_

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/process.h"

namespace merganser {

// Not thread-safe. Removed with all in it by the destructor.
class NetworkNamespace {
 public:
  // Null where this process may not make one (it needs to be root, and `ip`).
  static std::unique_ptr<NetworkNamespace> Make(const std::string& dir) {
    std::unique_ptr<NetworkNamespace> made(new NetworkNamespace(dir));
    const bool ok = made->Ip({"netns", "add", made->name_}) &&
                    made->Ip({"link", "add", made->link_, "type", "veth", "peer", "name", "eth0", "netns", made->name_}) &&
                    made->Ip({"addr", "add", made->outside() + "/30", "dev", made->link_}) &&
                    made->Ip({"link", "set", made->link_, "up"}) &&
                    made->Inside({"addr", "add", made->inside() + "/30", "dev", "eth0"}) &&
                    made->Inside({"link", "set", "eth0", "up"}) && made->Inside({"link", "set", "lo", "up"});
    if (!ok) return nullptr;
    return made;
  }
  ~NetworkNamespace() {
    (void)Ip({"link", "del", link_});
    (void)Ip({"netns", "del", name_});
  }

  // This side's address, and the one within.
  std::string outside() const { return absl::StrCat(net_, ".1"); }
  std::string inside() const { return absl::StrCat(net_, ".2"); }
  // What a command line begins with to run within.
  std::vector<std::string> prefix() const { return {kIp, "netns", "exec", name_}; }

  // Packets of either direction are lost, silently: nobody's connection breaks by itself.
  bool Cut() { return Inside({"link", "set", "eth0", "down"}); }
  bool Heal() { return Inside({"link", "set", "eth0", "up"}); }

 private:
  static constexpr char kIp[] = "/usr/sbin/ip";

  explicit NetworkNamespace(std::string dir) : dir_(std::move(dir)) {}
  bool Ip(std::vector<std::string> args) const {
    args.insert(args.begin(), kIp);
    return testing_support::RunToEnd(args, dir_, absl::Seconds(10)).exit_code == 0;
  }
  bool Inside(std::vector<std::string> args) const {
    args.insert(args.begin(), {"-n", name_});
    return Ip(std::move(args));
  }

  static inline int made_ = 0;
  const std::string dir_;
  const int number_ = ++made_;
  const std::string name_ = absl::StrCat("mg-chaos-", getpid(), "-", number_);
  const std::string link_ = absl::StrCat("mgc", getpid() % 100'000, "-", number_);
  const std::string net_ = absl::StrCat("10.", 100 + getpid() % 100, ".", getpid() / 100 % 250 + number_ % 5);
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_CHAOS_NETWORK_NAMESPACE_H_
