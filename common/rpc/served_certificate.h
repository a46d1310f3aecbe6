// What a TLS server presents: its files, read again when they change, of which only those that fit together are served.
#ifndef MERGANSER_COMMON_RPC_SERVED_CERTIFICATE_H_
#define MERGANSER_COMMON_RPC_SERVED_CERTIFICATE_H_

#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/credentials.h"

namespace merganser {

// gRPC's own watcher stops serving when it meets a broken file, or the new key beside the old chain; so it is shown copies
// in memory, which change only from one valid set to the next. Looks at the files every five seconds on a thread of its own;
// a set that is not taken is logged once. Keep it for as long as the server runs.
class ServedCertificate {
 public:
  // Logs a warning if the certificate is over. Errors as CertificateExpiry; InvalidArgument if tls_ca (may be "") holds no
  // certificate.
  static absl::StatusOr<std::unique_ptr<ServedCertificate>> Open(const ServerSecurity& security);
  ~ServedCertificate();
  ServedCertificate(const ServedCertificate&) = delete;
  ServedCertificate& operator=(const ServedCertificate&) = delete;

  // Where this process reads key and chain, one after the other in one file, and the CA.
  std::string pair_path() const { return Path(pair_); }
  std::string ca_path() const { return ca_ < 0 ? "" : Path(ca_); }

 private:
  struct Texts {
    std::string chain, key, ca;
    bool operator==(const Texts&) const = default;
  };
  explicit ServedCertificate(const ServerSecurity& security) : security_(security) {}

  static std::string Path(int fd);
  absl::StatusOr<Texts> Read() const;
  absl::Status Check(const Texts& texts) const;
  absl::Status Serve(const Texts& texts);
  void Watch(std::stop_token stop);

  const ServerSecurity security_;
  int pair_ = -1;  // both in memory
  int ca_ = -1;    // -1: there is none
  Texts served_;
  std::jthread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_SERVED_CERTIFICATE_H_
