#include "client/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace merganser {
namespace {

// The code point at text[*i], which moves behind it; a stray byte counts as one character.
uint32_t NextCodePoint(absl::string_view text, size_t* i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char first = byte(*i);
  const int extra = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  uint32_t code = extra == 0 ? first : first & (0x3F >> extra);
  size_t end = *i + 1;
  for (int k = 0; k < extra && end < text.size() && (byte(end) & 0xC0) == 0x80; ++k, ++end) {
    code = (code << 6) | (byte(end) & 0x3F);
  }
  *i = end;
  return code;
}

// Unicode Standard Annex 11: the blocks that terminals draw two columns wide.
bool Wide(uint32_t c) {
  return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
         (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
}

// A completion or an error text must not move the cursor.
std::string WithoutControls(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

}  // namespace

Terminal DescribeTerminal(int fd) {
  Terminal terminal;
  const char* const term = std::getenv("TERM");
  const char* const no_color = std::getenv("NO_COLOR");
  terminal.interactive = isatty(fd) == 1 && (term == nullptr || absl::string_view(term) != "dumb");
  terminal.color = terminal.interactive && (no_color == nullptr || *no_color == '\0');
  winsize size;
  if (terminal.interactive && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) {
    terminal.width = size.ws_col;
  }
  return terminal;
}

int OutputWidth() {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO);
  return terminal.interactive ? terminal.width : 0;
}

int DisplayWidth(absl::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size();) width += Wide(NextCodePoint(text, &i)) ? 2 : 1;
  return width;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  for (std::string& header : headers_) {
    const auto take = [&header](char mark) {
      const bool marked = !header.empty() && header[0] == mark;
      if (marked) header.erase(0, 1);
      return marked;
    };
    optional_.push_back(take('?'));
    right_.push_back(take('>'));
  }
}

void Table::Add(std::vector<std::string> row) {
  row.resize(headers_.size());
  for (std::string& cell : row) cell = WithoutControls(std::move(cell));
  rows_.push_back(std::move(row));
}

std::string Table::Render(int width) const {
  std::vector<int> widths;
  int total = 0;
  for (size_t c = 0; c < headers_.size(); ++c) {
    int widest = DisplayWidth(headers_[c]);
    for (const auto& row : rows_) widest = std::max(widest, DisplayWidth(row[c]));
    widths.push_back(widest);
    total += widest + 2;
  }
  std::vector<bool> left_out(headers_.size(), false);
  std::string missing;
  for (size_t c = headers_.size(); width > 0 && total - 2 > width && c-- > 0;) {
    if (!optional_[c]) continue;
    left_out[c] = true;
    total -= widths[c] + 2;
    missing = absl::StrCat(headers_[c], missing.empty() ? "" : ", ", missing);
  }
  std::string text;
  const auto render_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      if (left_out[c]) continue;
      const std::string padding(widths[c] - DisplayWidth(row[c]), ' ');
      absl::StrAppend(&line, line.empty() ? "" : "  ", right_[c] ? padding : "", row[c], right_[c] ? "" : padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  };
  render_row(headers_);
  for (const auto& row : rows_) render_row(row);
  if (!missing.empty()) absl::StrAppend(&text, "(no room for: ", missing, ")\n");
  return text;
}

std::string FormatBytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  int unit = -1;
  do {
    value /= 1024;
    ++unit;
  } while (value >= 1023.95 && unit < 4);
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const int first = count < 0 ? 1 : 0;
  for (int i = static_cast<int>(digits.size()) - 3; i > first; i -= 3) digits.insert(i, ",");
  return digits;
}

std::string FormatFitness(double value) { return std::isfinite(value) ? absl::StrFormat("%.4f", value) : "-"; }

std::string FitnessText(absl::Span<const double> fitness) {
  return absl::StrJoin(fitness, " ", [](std::string* out, double x) { absl::StrAppend(out, FormatFitness(x)); });
}

std::string FormatPercent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

std::string FormatMetric(absl::string_view metric, double value) {
  // Of "MEMBER.bleu_ja@FILTER" what stands for the metric.
  absl::string_view name = metric.substr(0, metric.find('@'));
  name = name.substr(name.rfind('.') + 1);
  bool share = std::abs(value) <= 1 && !absl::EndsWith(name, "perplexity") && name != "bits_per_byte" &&
               name != "brier_score" && name != "log_likelihood";
  for (const absl::string_view up_to_100 : {"bleu", "chrf", "chrf++", "ter"}) {
    share = share && name != up_to_100 && !absl::StartsWith(name, absl::StrCat(up_to_100, "_"));
  }
  return share ? FormatPercent(value) : FormatFitness(value);
}

std::string DurationText(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) duration = absl::ZeroDuration();
  if (duration == absl::InfiniteDuration()) return "-";
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 0.9995) return absl::StrFormat("%.0fms", seconds * 1000);
  if (seconds < 59.95) return absl::StrFormat("%.1fs", seconds);
  const int64_t s = static_cast<int64_t>(std::llround(seconds));
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  if (s < 86400) return absl::StrFormat("%dh%02dm", s / 3600, s % 3600 / 60);
  return absl::StrFormat("%dd%02dh", s / 86400, s % 86400 / 3600);
}

std::string TimeText(absl::Time time) {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string Shorten(absl::string_view text, int width) {
  const std::string line = WithoutControls(std::string(text.substr(0, text.find('\n'))));
  const bool more = line.size() < text.size();
  if (!more && DisplayWidth(line) <= width) return line;
  int used = 0;
  size_t i = 0;
  while (i < line.size()) {
    size_t next = i;
    const int columns = Wide(NextCodePoint(line, &next)) ? 2 : 1;
    if (used + columns > std::max(0, width - 3)) break;
    used += columns;
    i = next;
  }
  return absl::StrCat(line.substr(0, i), "...");
}

}  // namespace merganser
