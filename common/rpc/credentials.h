// Who may listen and dial how: plaintext on loopback, TLS anywhere else.
#ifndef MERGANSER_COMMON_RPC_CREDENTIALS_H_
#define MERGANSER_COMMON_RPC_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace merganser {

// Of a server. All paths name PEM files; "" means none.
struct ServerSecurity {
  std::string tls_cert;  // this server's chain; together with tls_key
  std::string tls_key;
  std::string tls_ca;      // client certificates must be signed by it (see authorize.h for what they allow)
  std::string token_file;  // lines "role token" (authorize.h)
  bool insecure = false;   // allow other hosts without TLS or without knowing who they are
};

// Of a client.
struct ClientSecurity {
  std::string tls_ca;    // trusts servers signed by it; set: TLS
  std::string tls_cert;  // this client's chain; together with tls_key
  std::string tls_key;
  std::string token_file;  // its first line holds the token (the last word, so a server's file of one line also serves)
};

// True for "127.x.y.z:port", "localhost:port", "[::1]:port" and "unix:path".
bool IsLoopback(absl::string_view address);

// For the ports of one process at `addresses`. InvalidArgument that names the flags: an address beyond loopback without TLS,
// or with TLS but neither --tls-ca nor --token-file, unless `insecure`; half a key pair; a CA without a key pair. Else as
// ServedCertificate::Open. Keep them for as long as the servers run: they follow changes of the files.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(absl::Span<const std::string> addresses,
                                                                               const ServerSecurity& security);

// Plaintext without tls_ca. Unauthenticated: the certificate has expired. InvalidArgument: half a key pair, one without a
// CA, or a token that would go in plain text beyond loopback. Else as ReadFile and CertificateExpiry.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const std::string& address,
                                                                                 const ClientSecurity& security);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_CREDENTIALS_H_
