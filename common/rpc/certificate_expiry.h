// What a certificate, its key and its CA must be, and when a certificate ends.
#ifndef MERGANSER_COMMON_RPC_CERTIFICATE_EXPIRY_H_
#define MERGANSER_COMMON_RPC_CERTIFICATE_EXPIRY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/rpc/credentials.h"

namespace merganser {

// The file's bytes, 1 MiB at most (a chain of certificates is a few kilobytes); "" if `path` is. Errors as ReadFile, which
// begin with `what`.
absl::StatusOr<std::string> ReadPem(const std::string& path, absl::string_view what);

// Of the files as they are now: the first end in the chain of tls_cert, because clients refuse a chain with one that is
// over. FailedPrecondition: tls_key is not the key of the chain's first certificate, in which case a server that watches the
// files goes on with what it has. InvalidArgument: a file holds no PEM certificate or key. Else as ReadPem.
absl::StatusOr<absl::Time> CertificateExpiry(const ServerSecurity& security);

// The same of what was read; `security` names the files in errors.
absl::StatusOr<absl::Time> PairExpiry(const ServerSecurity& security, const std::string& chain, const std::string& key);

// InvalidArgument that names `file` if `text` holds no PEM certificate.
absl::Status CheckCertificates(const std::string& file, const std::string& text);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_CERTIFICATE_EXPIRY_H_
