// What the command line prints: aligned tables and numbers for people.
#ifndef MERGANSER_CLIENT_OUTPUT_H_
#define MERGANSER_CLIENT_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace merganser {

// What a file descriptor leads to.
struct Terminal {
  bool interactive = false;  // a terminal that can redraw a line
  bool color = false;        // interactive, and NO_COLOR is unset or empty
  int width = 80;            // columns
};
// TERM=dumb counts as not interactive.
Terminal DescribeTerminal(int fd);
// Columns that there are on stdout; 0: as many as one likes.
int OutputWidth();

// Terminal columns of UTF-8 text: 2 for East Asian wide characters, 1 for others.
int DisplayWidth(absl::string_view text);

// Columns aligned by display width, two spaces between. A header that starts with '>' aligns its
// column right, one that starts with '?' may be left out where there is no room ("?>seconds": both; marks are not
// printed). Control characters in cells are printed as spaces.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  // Missing cells are empty. REQUIRES: no more cells than headers.
  void Add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  // A line of headers and one per row, each ending in '\n', no spaces at line ends. Where they are wider than `width`
  // columns, those that may be are left out, the last ones first, and a last line names them. 0: any width is good.
  std::string Render(int width = 0) const;

 private:
  std::vector<std::string> headers_;
  std::vector<bool> right_, optional_;
  std::vector<std::vector<std::string>> rows_;
};

// "1.5 GiB", "812 B".
std::string FormatBytes(int64_t bytes);
// "1,234,567".
std::string FormatCount(int64_t count);
// "0.3050"; "-" if not finite.
std::string FormatFitness(double value);
// "0.3050 0.1000": of several objectives.
std::string FitnessText(absl::Span<const double> fitness);
// "30.5 %".
std::string FormatPercent(double share);
// Shares as percent; perplexities, bits per byte, log-likelihoods and whatever is beyond [-1, 1] as they are.
std::string FormatMetric(absl::string_view metric, double value);
// "850ms", "4.2s", "3m07s", "2h05m", "3d04h".
std::string DurationText(absl::Duration duration);
// "2026-01-31T12:00:00Z"; "-" for an infinite time.
std::string TimeText(absl::Time time);
// First line of `text`, at most `width` columns, "..." where it was cut.
std::string Shorten(absl::string_view text, int width);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_OUTPUT_H_
