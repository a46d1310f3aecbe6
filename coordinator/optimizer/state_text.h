// The text form of an optimizer's state: a header line, lines of `key value...` in a fixed order,
// and `end`. Floating-point numbers are the 16 hexadecimal digits of their bits, so nothing is
// lost.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_STATE_TEXT_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_STATE_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/optimizer/genome.h"

namespace merganser {

// Raised whenever the meaning of any line changes.
inline constexpr int kOptimizerStateVersion = 3;

class StateWriter {
 public:
  // `optimizer` is the name that RestoreOptimizer dispatches on.
  explicit StateWriter(absl::string_view optimizer);
  void Word(absl::string_view key,
            absl::string_view value);  // REQUIRES: no white space in `value`, not empty
  void Int(absl::string_view key, int64_t value);
  void Bits(absl::string_view key, uint64_t value);
  void Doubles(absl::string_view key, absl::Span<const double> values);
  std::string Finish() &&;

 private:
  std::string text_;
};

// Reads in the order of writing. The first thing that is not as expected makes ok() false for good
// (DataLoss, naming line and key), and every later read returns an empty value; so check ok()
// before a value is used as a size or an index. Keeps a view of the text: it must outlive the
// reader.
class StateReader {
 public:
  explicit StateReader(absl::string_view text);
  const std::string& optimizer() const { return optimizer_; }

  std::string Word(absl::string_view key);
  int64_t Int(absl::string_view key, int64_t low, int64_t high);  // within [low, high]
  uint64_t Bits(absl::string_view key);
  // Exactly `count` finite numbers within [low, high]; empty on error.
  std::vector<double> Doubles(absl::string_view key, int64_t count, double low, double high);
  // Reads the last line.
  void Finish();
  // Records an error of the caller's own checks.
  void Fail(absl::string_view what);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  // The words after `key` in the next line; fails if the line is another.
  std::vector<absl::string_view> Next(absl::string_view key);

  absl::string_view rest_;
  int line_ = 0;
  std::string optimizer_;
  absl::Status status_;
};

void SaveGenome(const GenomeSpec& genome, StateWriter& writer);
// At most `dimension_max` genes. Check reader.ok() afterwards.
GenomeSpec LoadGenome(StateReader& reader, int dimension_max);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_STATE_TEXT_H_
