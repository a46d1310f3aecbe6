#include "client/byte_progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr int kBarWidth = 20;

}  // namespace

std::string ByteProgress::Bar(int64_t done, int64_t total, absl::Duration elapsed) {
  const double share = total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  const int filled = static_cast<int>(share * kBarWidth);
  std::string bar = absl::StrCat("writing [", std::string(filled, '#'), std::string(kBarWidth - filled, '.'), "]  ",
                                 FormatBytes(done), " of ", FormatBytes(total));
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (seconds > 0 && done > 0) {
    const double speed = static_cast<double>(done) / seconds;
    absl::StrAppend(&bar, "  ", FormatBytes(static_cast<int64_t>(speed)), "/s  ETA ",
                    DurationText(absl::Seconds(static_cast<double>(total - done) / speed)));
  }
  return bar;
}

void ByteProgress::Update(int64_t done, int64_t total, absl::Duration elapsed) {
  if (!terminal_.interactive || (done < total && elapsed - drawn_at_ < kRedraw)) return;
  drawn_at_ = elapsed;
  drawn_ = true;
  out_ << "\r\x1b[2K" << Bar(done, total, elapsed).substr(0, terminal_.width - 1) << std::flush;
}

void ByteProgress::Clear() {
  if (drawn_) out_ << "\r\x1b[2K" << std::flush;
  drawn_ = false;
}

}  // namespace merganser
