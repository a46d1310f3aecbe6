#include "coordinator/optimizer/state_text.h"

#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace merganser {
namespace {

constexpr absl::string_view kMagic = "merganser-optimizer";

bool ParseBits(absl::string_view word, uint64_t& bits) { return word.size() == 16 && absl::SimpleHexAtoi(word, &bits); }

std::string Hex(uint64_t bits) { return absl::StrCat(absl::Hex(bits, absl::kZeroPad16)); }

}  // namespace

StateWriter::StateWriter(absl::string_view optimizer)
    : text_(absl::StrCat(kMagic, " ", kOptimizerStateVersion, " ", optimizer, "\n")) {}

void StateWriter::Word(absl::string_view key, absl::string_view value) { absl::StrAppend(&text_, key, " ", value, "\n"); }

void StateWriter::Int(absl::string_view key, int64_t value) { absl::StrAppend(&text_, key, " ", value, "\n"); }

void StateWriter::Bits(absl::string_view key, uint64_t value) { absl::StrAppend(&text_, key, " ", Hex(value), "\n"); }

void StateWriter::Doubles(absl::string_view key, absl::Span<const double> values) {
  absl::StrAppend(&text_, key);
  for (const double value : values) absl::StrAppend(&text_, " ", Hex(std::bit_cast<uint64_t>(value)));
  text_ += '\n';
}

std::string StateWriter::Finish() && {
  text_ += "end\n";
  return std::move(text_);
}

StateReader::StateReader(absl::string_view text) : rest_(text) {
  const auto words = Next(kMagic);
  if (!ok()) return;
  int version = 0;
  if (words.size() != 2 || !absl::SimpleAtoi(words[0], &version)) {
    Fail("the header is damaged");
  } else if (version != kOptimizerStateVersion) {
    Fail(absl::StrCat("version ", version, " is not ", kOptimizerStateVersion));
  } else {
    optimizer_ = std::string(words[1]);
  }
}

void StateReader::Fail(absl::string_view what) {
  if (status_.ok()) status_ = absl::DataLossError(absl::StrCat("optimizer state, line ", line_, ": ", what));
}

std::vector<absl::string_view> StateReader::Next(absl::string_view key) {
  if (!ok()) return {};
  ++line_;
  const size_t end = rest_.find('\n');
  if (end == absl::string_view::npos) {
    Fail(absl::StrCat("ends where '", key, "' is due"));
    return {};
  }
  std::vector<absl::string_view> words = absl::StrSplit(rest_.substr(0, end), ' ');
  rest_.remove_prefix(end + 1);
  if (words[0] != key) {
    Fail(absl::StrCat("'", words[0].substr(0, 40), "' where '", key, "' is due"));
    return {};
  }
  words.erase(words.begin());
  return words;
}

std::string StateReader::Word(absl::string_view key) {
  const auto words = Next(key);
  if (ok() && (words.size() != 1 || words[0].empty())) Fail(absl::StrCat(key, " is not one word"));
  return ok() ? std::string(words[0]) : "";
}

int64_t StateReader::Int(absl::string_view key, int64_t low, int64_t high) {
  const auto words = Next(key);
  int64_t value = 0;
  if (ok() && (words.size() != 1 || !absl::SimpleAtoi(words[0], &value) || value < low || value > high)) {
    Fail(absl::StrCat(key, " is not a whole number in [", low, ", ", high, "]"));
  }
  return ok() ? value : 0;
}

uint64_t StateReader::Bits(absl::string_view key) {
  const auto words = Next(key);
  uint64_t bits = 0;
  if (ok() && (words.size() != 1 || !ParseBits(words[0], bits))) Fail(absl::StrCat(key, " is not 16 digits"));
  return ok() ? bits : 0;
}

std::vector<double> StateReader::Doubles(absl::string_view key, int64_t count, double low, double high) {
  const auto words = Next(key);
  if (ok() && static_cast<int64_t>(words.size()) != count) {
    Fail(absl::StrCat(key, " has ", words.size(), " numbers, not ", count));
  }
  if (!ok()) return {};
  std::vector<double> values;
  values.reserve(words.size());
  for (const absl::string_view word : words) {
    uint64_t bits = 0;
    if (!ParseBits(word, bits)) {
      Fail(absl::StrCat(key, " holds a word that is not 16 digits"));
      return {};
    }
    values.push_back(std::bit_cast<double>(bits));
    if (!(values.back() >= low && values.back() <= high && std::isfinite(values.back()))) {
      Fail(absl::StrCat(key, " holds ", values.back(), ", not in [", low, ", ", high, "]"));
      return {};
    }
  }
  return values;
}

void StateReader::Finish() {
  const auto words = Next("end");
  if (ok() && (!words.empty() || !rest_.empty())) Fail("text after the end");
}

void SaveGenome(const GenomeSpec& genome, StateWriter& writer) {
  writer.Int("dimension", genome.dimension());
  std::vector<double> start, scale, levels, kinds;
  for (const Gene& gene : genome.genes) {
    start.push_back(gene.start);
    scale.push_back(gene.scale);
    levels.push_back(gene.levels);
    kinds.push_back(static_cast<double>(gene.kind));
  }
  writer.Doubles("start", start);
  writer.Doubles("scale", scale);
  writer.Int("discrete", genome.discrete_count());
  if (genome.discrete_count() == 0) return;
  writer.Doubles("kinds", kinds);
  writer.Doubles("levels", levels);
}

GenomeSpec LoadGenome(StateReader& reader, int dimension_max) {
  GenomeSpec genome;
  const int64_t n = reader.Int("dimension", 1, dimension_max);
  const auto start = reader.Doubles("start", n, 0, 1);
  const auto scale = reader.Doubles("scale", n, Gene::kScaleMin, Gene::kScaleMax);
  const bool discrete = reader.Int("discrete", 0, n) > 0;
  std::vector<double> kinds(n, 0.0), levels(n, 0.0);
  if (discrete) {
    kinds = reader.Doubles("kinds", n, 0, 2);
    levels = reader.Doubles("levels", n, 0, Gene::kLevelsMax);
  }
  if (!reader.ok()) return {};
  for (int64_t i = 0; i < n; ++i) {
    genome.genes.push_back(
        {static_cast<Gene::Kind>(static_cast<int>(kinds[i])), static_cast<int>(levels[i]), start[i], scale[i]});
  }
  if (const absl::Status status = genome.Validate(); !status.ok()) reader.Fail(status.message());
  return genome;
}

}  // namespace merganser
