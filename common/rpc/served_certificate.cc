#include "common/rpc/served_certificate.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/rpc/certificate_expiry.h"

namespace merganser {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(5);

// Puts `text` into memory at `*fd`, at once: who opens it has the old text or all of the new one.
absl::Status Show(const std::string& text, int* fd) {
  const int made = memfd_create("merganser-tls", MFD_CLOEXEC);
  if (made < 0) return ErrnoStatus(errno, "cannot make a file in memory", "merganser-tls");
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(made, text.data() + done, text.size() - done);
    if (wrote <= 0) {
      const int error = errno;
      close(made);
      return ErrnoStatus(error, "cannot write a file in memory", "merganser-tls");
    }
    done += static_cast<size_t>(wrote);
  }
  if (*fd < 0) {
    *fd = made;
    return absl::OkStatus();
  }
  const int moved = dup3(made, *fd, O_CLOEXEC);
  const int error = errno;
  close(made);
  return moved < 0 ? ErrnoStatus(error, "cannot replace a file in memory", "merganser-tls") : absl::OkStatus();
}

}  // namespace

std::string ServedCertificate::Path(int fd) { return absl::StrCat("/proc/self/fd/", fd); }

absl::StatusOr<ServedCertificate::Texts> ServedCertificate::Read() const {
  Texts texts;
  MG_ASSIGN_OR_RETURN(texts.chain, ReadPem(security_.tls_cert, "--tls-cert"));
  MG_ASSIGN_OR_RETURN(texts.key, ReadPem(security_.tls_key, "--tls-key"));
  MG_ASSIGN_OR_RETURN(texts.ca, ReadPem(security_.tls_ca, "--tls-ca"));
  return texts;
}

absl::Status ServedCertificate::Check(const Texts& texts) const {
  MG_ASSIGN_OR_RETURN(const absl::Time end, PairExpiry(security_, texts.chain, texts.key));
  if (!security_.tls_ca.empty()) MG_RETURN_IF_ERROR(CheckCertificates(security_.tls_ca, texts.ca));
  if (end < absl::Now()) {
    MG_LOG(WARNING) << "the certificate is over, clients will refuse it file=" << security_.tls_cert
                    << " ended=" << absl::FormatTime(end, absl::UTCTimeZone());
  }
  return absl::OkStatus();
}

absl::Status ServedCertificate::Serve(const Texts& texts) {
  MG_RETURN_IF_ERROR(Show(absl::StrCat(texts.key, "\n", texts.chain), &pair_));
  if (!security_.tls_ca.empty()) MG_RETURN_IF_ERROR(Show(texts.ca, &ca_));
  served_ = texts;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ServedCertificate>> ServedCertificate::Open(const ServerSecurity& security) {
  std::unique_ptr<ServedCertificate> result(new ServedCertificate(security));
  MG_ASSIGN_OR_RETURN(const Texts texts, result->Read());
  MG_RETURN_IF_ERROR(result->Check(texts));
  MG_RETURN_IF_ERROR(result->Serve(texts));
  result->thread_ = std::jthread([self = result.get()](std::stop_token stop) { self->Watch(stop); });
  return result;
}

ServedCertificate::~ServedCertificate() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (pair_ >= 0) close(pair_);
  if (ca_ >= 0) close(ca_);
}

void ServedCertificate::Watch(std::stop_token stop) {
  absl::Notification stopped;
  const std::stop_callback on_stop(stop, [&] { stopped.Notify(); });
  std::string told;
  while (!stopped.WaitForNotificationWithTimeout(kInterval)) {
    const absl::StatusOr<Texts> texts = Read();
    absl::Status status = texts.status();
    if (status.ok() && *texts == served_) {
      told.clear();
      continue;
    }
    if (status.ok()) status = Check(*texts);
    if (status.ok()) status = Serve(*texts);
    if (status.ok()) {
      MG_LOG(INFO) << "certificate replaced file=" << security_.tls_cert;
      told.clear();
    } else if (status.message() != told) {
      told = std::string(status.message());
      MG_LOG(ERROR) << "certificate not replaced, the one before it is served error=\"" << told << '"';
    }
  }
}

}  // namespace merganser
