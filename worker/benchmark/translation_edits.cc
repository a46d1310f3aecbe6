#include "worker/benchmark/translation_edits.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

namespace merganser {
namespace {

constexpr int kMoveLengthMax = 10;
constexpr int kMoveDistanceMax = 50;
constexpr int kBeam = 25;
constexpr int kMovesMax = 1000;
constexpr int64_t kUnreached = 10'000'000'000'000'000;

enum class Edit : uint8_t { kNone, kKeep, kReplace, kTakeOut, kPutIn };

struct Cell {
  int64_t cost = kUnreached;
  Edit edit = Edit::kNone;
};

using WordNumbers = std::vector<int>;  // numbers that stand for words
using EditRows = std::vector<std::vector<Cell>>;

// The edit distances of beginnings of the words (rows) to beginnings of the reference (columns), near the diagonal.
class EditTable {
 public:
  EditTable(WordNumbers words, const WordNumbers& reference) : words_(std::move(words)), reference_(reference) {
    const auto n = static_cast<double>(words_.size());
    ratio_ = words_.empty() ? 1 : static_cast<double>(reference_.size()) / n;
    if (kBeam < ratio_ / 2) beam_ = static_cast<int>(std::ceil(ratio_ / 2 + kBeam));
    rows_.emplace_back();
    for (size_t j = 0; j <= reference_.size(); ++j) rows_[0].push_back({static_cast<int64_t>(j), Edit::kPutIn});
    for (size_t i = 1; i <= words_.size(); ++i) rows_.push_back(Row(words_, i, rows_.back()));
  }

  const WordNumbers& words() const { return words_; }
  const EditRows& rows() const { return rows_; }
  int64_t distance() const { return rows_.back().back().cost; }

  // The distance of as many words. EditRows of a common beginning are the same.
  int64_t DistanceOf(const WordNumbers& others) const {
    size_t i = std::mismatch(words_.begin(), words_.end(), others.begin()).first - words_.begin();
    if (i == words_.size()) return distance();
    std::vector<Cell> row = rows_[i];
    for (++i; i <= others.size(); ++i) row = Row(others, i, row);
    return row.back().cost;
  }

 private:
  std::vector<Cell> Row(const WordNumbers& words, size_t i, const std::vector<Cell>& above) const {
    std::vector<Cell> row(reference_.size() + 1);
    const auto columns = static_cast<int64_t>(row.size());
    const auto diagonal = static_cast<int64_t>(std::floor(static_cast<double>(i) * ratio_));
    const int64_t end = i == words.size() ? columns : std::min(columns, diagonal + beam_);
    for (int64_t j = std::max<int64_t>(0, diagonal - beam_); j < end; ++j) {
      Cell& cell = row[j];
      if (j == 0) {
        cell = {above[0].cost + 1, Edit::kTakeOut};
        continue;
      }
      const bool same = words[i - 1] == reference_[j - 1];
      // The first of the cheapest.
      for (const Cell& next : {Cell{above[j - 1].cost + (same ? 0 : 1), same ? Edit::kKeep : Edit::kReplace},
                               Cell{above[j].cost + 1, Edit::kTakeOut}, Cell{row[j - 1].cost + 1, Edit::kPutIn}}) {
        if (next.cost < cell.cost) cell = next;
      }
    }
    return row;
  }

  const WordNumbers words_;
  const WordNumbers& reference_;
  double ratio_ = 1;
  int beam_ = kBeam;
  EditRows rows_;
};

// Which words stand for which of the reference.
struct Alignment {
  std::vector<int> of_reference;  // the word at a place of the reference, or the last one before it; -1: before all
  std::vector<bool> reference_wrong, words_wrong;

  explicit Alignment(const EditTable& table) {
    const EditRows& rows = table.rows();
    std::vector<Edit> edits;
    for (size_t i = rows.size() - 1, j = rows[0].size() - 1; i > 0 || j > 0;) {
      const Edit edit = rows[i][j].edit;
      edits.push_back(edit);
      if (edit != Edit::kPutIn) --i;
      if (edit != Edit::kTakeOut) --j;
    }
    int word = -1;
    for (auto edit = edits.rbegin(); edit != edits.rend(); ++edit) {
      const bool wrong = *edit != Edit::kKeep;
      if (*edit != Edit::kPutIn) {
        ++word;
        words_wrong.push_back(wrong);
      }
      if (*edit != Edit::kTakeOut) {
        of_reference.push_back(word);
        reference_wrong.push_back(wrong);
      }
    }
  }
};

bool AnyOf(const std::vector<bool>& wrong, int begin, int length) {
  return std::find(wrong.begin() + begin, wrong.begin() + begin + length, true) != wrong.begin() + begin + length;
}

// The run from `begin` on put before `target`; where that lies in the run, so far behind its own place.
WordNumbers Moved(const WordNumbers& words, int begin, int length, int target) {
  const auto at = [&](int place) { return words.begin() + std::min<int64_t>(place, static_cast<int64_t>(words.size())); };
  WordNumbers moved = words;
  const auto out = moved.begin();
  if (target < begin) {
    std::rotate(out + target, out + begin, out + begin + length);
  } else {
    const int end = target > begin + length ? target : length + target;
    std::rotate(out + begin, out + begin + length, out + (at(end) - words.begin()));
  }
  return moved;
}

// A move is better if it saves more, then if it is longer, then if it comes from and goes to an earlier place.
using Merit = std::tuple<int64_t, int, int, int>;

struct Move {
  Merit merit;
  WordNumbers words;
};

// The best move of one round; `tried` counts the moves of all rounds. None: nothing fits.
class MoveSearch {
 public:
  MoveSearch(const EditTable& table, const WordNumbers& reference, int* tried)
      : table_(table), reference_(reference), alignment_(table), tried_(tried) {}

  bool Find(Move* best) {
    const WordNumbers& words = table_.words();
    const auto n = static_cast<int>(words.size()), m = static_cast<int>(reference_.size());
    for (int i = 0; i < n; ++i) {
      for (int j = std::max(0, i - kMoveDistanceMax); j < std::min(m, i + kMoveDistanceMax + 1); ++j) {
        const int longest = std::min({n - i, m - j, kMoveLengthMax});
        for (int length = 1; length <= longest && words[i + length - 1] == reference_[j + length - 1]; ++length) {
          if (!Try(i, j, length, best)) continue;
          if (*tried_ >= kMovesMax) return found_;
        }
      }
    }
    return found_;
  }

 private:
  // False where the run is in its place already.
  bool Try(int begin, int reference_begin, int length, Move* best) {
    if (!AnyOf(alignment_.words_wrong, begin, length)) return false;
    if (!AnyOf(alignment_.reference_wrong, reference_begin, length)) return false;
    const int stands = alignment_.of_reference[reference_begin];
    if (begin <= stands && stands < begin + length) return false;
    int last = -1;
    for (int offset = -1; offset < length; ++offset) {
      const int place = reference_begin + offset;
      const int target = place == -1 ? 0 : alignment_.of_reference[place] + 1;
      if (target == last) continue;
      last = target;
      WordNumbers moved = Moved(table_.words(), begin, length, target);
      const Merit merit(table_.distance() - table_.DistanceOf(moved), length, -begin, -target);
      ++*tried_;
      if (found_ && merit <= best->merit) continue;
      *best = {merit, std::move(moved)};
      found_ = true;
    }
    return true;
  }

  const EditTable& table_;
  const WordNumbers& reference_;
  const Alignment alignment_;
  int* const tried_;
  bool found_ = false;
};

WordNumbers Numbered(const std::vector<std::string>& words, std::map<std::string, int>& numbers) {
  WordNumbers numbered;
  for (const std::string& word : words) numbered.push_back(numbers.emplace(word, numbers.size()).first->second);
  return numbered;
}

}  // namespace

int64_t TranslationEdits(const std::vector<std::string>& words, const std::vector<std::string>& reference) {
  if (reference.empty()) return static_cast<int64_t>(words.size());
  std::map<std::string, int> numbers;
  const WordNumbers target = Numbered(reference, numbers);
  WordNumbers ours = Numbered(words, numbers);
  int tried = 0;
  for (int64_t moves = 0;; ++moves) {
    const EditTable table(ours, target);
    Move best;
    const bool found = MoveSearch(table, target, &tried).Find(&best);
    // The round in which the last allowed move was tried makes none.
    if (!found || tried >= kMovesMax || std::get<0>(best.merit) <= 0) return moves + table.distance();
    ours = std::move(best.words);
  }
}

}  // namespace merganser
