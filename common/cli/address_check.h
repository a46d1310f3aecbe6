// Check of HOST:PORT on a command line; gRPC would take port 443 where there is none, and cut one that is too large.
#ifndef MERGANSER_COMMON_CLI_ADDRESS_CHECK_H_
#define MERGANSER_COMMON_CLI_ADDRESS_CHECK_H_

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace merganser {

// "" for HOST:PORT, [IPV6]:PORT, :PORT (every address of this machine), and gRPC's unix:PATH and SCHEME:///NAME; else what
// is wrong. Ports are 0 to 65535.
inline std::string AddressError(const std::string& address) {
  if (absl::StartsWith(address, "unix:") || absl::StrContains(address, ":///")) return "";
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::StrCat("'", address, "' is not HOST:PORT: the port is missing");
  const std::string host = address.substr(0, colon), port = address.substr(colon + 1);
  if (absl::StrContains(host, ":") && !(host.front() == '[' && host.back() == ']')) {
    return absl::StrCat("'", address, "' is not HOST:PORT; an IPv6 address stands in brackets, [::1]:50051");
  }
  int number = -1;
  const bool digits = !port.empty() && port.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(port, &number) || number > 65535) {
    return absl::StrCat("'", address, "': '", port, "' is not a port (0 to 65535)");
  }
  return "";
}

// `may_be_empty`: "" is taken, too, for "none".
inline CLI::Validator HostPort(bool may_be_empty = false) {
  return CLI::Validator(
      [may_be_empty](std::string& value) { return value.empty() && may_be_empty ? std::string() : AddressError(value); },
      "");
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_ADDRESS_CHECK_H_
