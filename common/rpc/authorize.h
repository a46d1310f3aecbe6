// Who may call what. Each handler calls Authorizer::Authorize first (interceptors cannot refuse a call, and an auth metadata
// processor on plaintext credentials aborts the process).
#ifndef MERGANSER_COMMON_RPC_AUTHORIZE_H_
#define MERGANSER_COMMON_RPC_AUTHORIZE_H_

#include <grpcpp/server_context.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/credentials.h"

namespace merganser {

// A submitter may do what a viewer may, an admin what a submitter may. A worker may only be a worker.
enum class Role { kViewer, kSubmitter, kAdmin, kWorker };
absl::string_view ToString(Role role);

// Any thread; copies share what they know.
class Authorizer {
 public:
  static constexpr absl::Duration kReload = absl::Seconds(5);  // between looks at the token file

  // Reads security.token_file, and again when it has changed: a line per token, "role token" or "role token name", role one
  // of viewer, submitter, admin, worker; blank lines and lines from '#' are skipped. InvalidArgument names file and line.
  // Without a token file and without tls_ca anybody may do anything (MakeServerCredentials allows that on loopback and with
  // --insecure only). A file that is broken or gone later is logged, and the tokens stay what they were. `clock` outlives
  // it.
  static absl::StatusOr<Authorizer> Create(const ServerSecurity& security, const Clock& clock = Clock::Real());

  // By the call's "authorization: Bearer TOKEN", else by its client certificate. Unauthenticated: neither is known;
  // PermissionDenied: its role may not.
  // `who`, if not null, is set where the call may go on: "role/name", or "role" for a token without a name; "" where anybody
  // may.
  absl::Status Authorize(const grpc::ServerContextBase& context, Role needed, std::string* who = nullptr) const;

  // The rule itself. `common_names`: of the verified client certificate: "ROLE" or "ROLE/anything".
  absl::Status Check(absl::string_view bearer_token, const std::vector<std::string>& common_names, Role needed,
                     std::string* who = nullptr) const;

 private:
  class Tokens;  // of the file
  bool open_ = true;
  std::shared_ptr<Tokens> tokens_;  // null: no file
};

// The token of a client's token file.
absl::StatusOr<std::string> ReadClientToken(const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_AUTHORIZE_H_
