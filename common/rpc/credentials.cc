#include "common/rpc/credentials.h"

#include <arpa/inet.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/rpc/certificate_expiry.h"
#include "common/rpc/served_certificate.h"

namespace merganser {
namespace {

constexpr unsigned kServedSeconds = 1;       // between gRPC's looks at what is served
constexpr unsigned kClientFilesSeconds = 5;  // between its looks at a client's files

// Or "". What is none cannot be read again, and gRPC would abort.
bool IsFile(const std::string& path) {
  std::error_code ignored;
  return path.empty() || std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

bool IsLoopback(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host(address.substr(0, address.rfind(':')));
  if (host == "localhost" || host == "[::1]") return true;
  // An address, not a name that begins like one: "127.example.org" is another machine.
  in_addr ip;
  return inet_pton(AF_INET, host.c_str(), &ip) == 1 && (ntohl(ip.s_addr) >> 24) == 127;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(absl::Span<const std::string> addresses,
                                                                               const ServerSecurity& security) {
  const bool tls = !security.tls_cert.empty();
  if (tls != !security.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together: one of them is missing");
  }
  if (!tls && !security.tls_ca.empty()) {
    return absl::InvalidArgumentError("--tls-ca needs --tls-cert and --tls-key");
  }
  for (const std::string& address : addresses) {
    if (IsLoopback(address) || security.insecure) continue;
    if (!tls) {
      return absl::InvalidArgumentError(absl::StrCat(
          address,
          " can be reached from other hosts, but there is no --tls-cert and --tls-key; give them (with --tls-ca or "
          "--token-file), listen on 127.0.0.1, or accept anybody's plain text with --insecure"));
    }
    if (security.tls_ca.empty() && security.token_file.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          address,
          " can be reached from other hosts, but nothing tells who they are: give --tls-ca (client certificates) "
          "or --token-file, or accept anybody with --insecure"));
    }
  }
  if (!tls) return grpc::InsecureServerCredentials();
  MG_ASSIGN_OR_RETURN(std::unique_ptr<ServedCertificate> certificate, ServedCertificate::Open(security));
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          certificate->pair_path(), certificate->pair_path(), certificate->ca_path(), kServedSeconds));
  options.watch_identity_key_cert_pairs();
  if (security.tls_ca.empty()) {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  } else {
    options.watch_root_certs();
    // With a token file a token is enough.
    options.set_cert_request_type(security.token_file.empty() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                              : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  struct Held {
    std::unique_ptr<ServedCertificate> certificate;
    std::shared_ptr<grpc::ServerCredentials> credentials;
  };
  auto held = std::make_shared<Held>(Held{std::move(certificate), grpc::experimental::TlsServerCredentials(options)});
  return std::shared_ptr<grpc::ServerCredentials>(held, held->credentials.get());
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const std::string& address,
                                                                                 const ClientSecurity& security) {
  if (security.tls_cert.empty() != security.tls_key.empty()) {
    return absl::InvalidArgumentError("the client's certificate and key go together: one of them is missing");
  }
  if (security.tls_ca.empty()) {
    if (!security.tls_cert.empty()) {
      return absl::InvalidArgumentError("a client certificate needs the CA of the server");
    }
    if (!security.token_file.empty() && !IsLoopback(address)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the token would go to ", address, " in plain text: give the CA of the server, so that TLS is used"));
    }
    return grpc::InsecureChannelCredentials();
  }
  // Once: it may be a pipe.
  grpc::SslCredentialsOptions read;
  MG_ASSIGN_OR_RETURN(read.pem_root_certs, ReadPem(security.tls_ca, "CA"));
  MG_ASSIGN_OR_RETURN(read.pem_cert_chain, ReadPem(security.tls_cert, "certificate"));
  MG_ASSIGN_OR_RETURN(read.pem_private_key, ReadPem(security.tls_key, "key"));
  MG_RETURN_IF_ERROR(CheckCertificates(security.tls_ca, read.pem_root_certs));
  if (!security.tls_cert.empty()) {
    // The server would only close the connection.
    MG_ASSIGN_OR_RETURN(const absl::Time expiry, PairExpiry({.tls_cert = security.tls_cert, .tls_key = security.tls_key},
                                                            read.pem_cert_chain, read.pem_private_key));
    if (expiry < absl::Now()) {
      return absl::UnauthenticatedError(absl::StrCat("the certificate ", security.tls_cert, " was valid until ",
                                                     absl::FormatTime(absl::RFC3339_sec, expiry, absl::UTCTimeZone())));
    }
  }
  if (!IsFile(security.tls_ca) || !IsFile(security.tls_cert) || !IsFile(security.tls_key)) return grpc::SslCredentials(read);
  // A worker outlives its certificate: each new connection uses the files as they are then.
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      security.tls_key, security.tls_cert, security.tls_ca, kClientFilesSeconds));
  options.watch_root_certs();
  if (!security.tls_cert.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace merganser
