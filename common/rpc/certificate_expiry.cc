#include "common/rpc/certificate_expiry.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kPemBytesMax = 1 << 20;

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

Bio Reader(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

}  // namespace

absl::StatusOr<std::string> ReadPem(const std::string& path, absl::string_view what) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> bytes = ReadFile(path, kPemBytesMax);
  if (!bytes.ok()) return Annotate(bytes.status(), what);
  return bytes;
}

absl::StatusOr<absl::Time> CertificateExpiry(const ServerSecurity& security) {
  MG_ASSIGN_OR_RETURN(const std::string chain, ReadPem(security.tls_cert, "certificate"));
  MG_ASSIGN_OR_RETURN(const std::string key_text, ReadPem(security.tls_key, "key"));
  return PairExpiry(security, chain, key_text);
}

absl::Status CheckCertificates(const std::string& file, const std::string& text) {
  const Bio certificates = Reader(text);
  const Certificate first{PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr)};
  ERR_clear_error();
  return first == nullptr ? absl::InvalidArgumentError(absl::StrCat(file, " holds no PEM certificate")) : absl::OkStatus();
}

absl::StatusOr<absl::Time> PairExpiry(const ServerSecurity& security, const std::string& chain,
                                      const std::string& key_text) {
  const Bio certificates = Reader(chain), keys = Reader(key_text);
  absl::Time expiry = absl::InfiniteFuture();
  Certificate first;
  while (Certificate certificate{PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr)}) {
    std::tm end = {};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
      return absl::InvalidArgumentError(absl::StrCat(security.tls_cert, ": a certificate has no end"));
    }
    expiry = std::min(expiry, absl::FromTM(end, absl::UTCTimeZone()));
    if (first == nullptr) first = std::move(certificate);
  }
  char no_passphrase[] = "";  // or the default callback would ask for one on the terminal
  const Key key(PEM_read_bio_PrivateKey(keys.get(), nullptr, nullptr, no_passphrase));
  ERR_clear_error();  // that the chain is at its end is one, and others of this thread would find it
  if (first == nullptr) return absl::InvalidArgumentError(absl::StrCat(security.tls_cert, " holds no PEM certificate"));
  if (key == nullptr) return absl::InvalidArgumentError(absl::StrCat(security.tls_key, " holds no PEM key"));
  const bool matches = X509_check_private_key(first.get(), key.get()) == 1;
  ERR_clear_error();
  if (!matches) {
    return absl::FailedPreconditionError(absl::StrCat(security.tls_key, " is not the key of ", security.tls_cert));
  }
  return expiry;
}

}  // namespace merganser
