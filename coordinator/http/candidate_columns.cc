#include "coordinator/http/candidate_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace merganser {
namespace {

absl::Time TimeOf(int64_t microseconds) {
  return microseconds == INT64_MAX ? absl::InfiniteFuture() : absl::FromUnixMicros(microseconds);
}

}  // namespace

CandidateColumns::Cells* CandidateColumns::Find(int64_t number) {
  return number >= 0 && number < static_cast<int64_t>(cells_.size()) ? &cells_[static_cast<size_t>(number)] : nullptr;
}

CandidateColumns::Cells& CandidateColumns::Add(int64_t number) {
  const auto needed = static_cast<size_t>(number) + 1;
  if (cells_.size() < needed) {
    cells_.resize(needed);
    fitness_.resize(needed * stride_, std::numeric_limits<double>::quiet_NaN());
  }
  return cells_[static_cast<size_t>(number)];
}

void CandidateColumns::SetFitness(int64_t number, absl::Span<const double> fitness) {
  if (stride_ == 0) {
    stride_ = std::min<size_t>(fitness.size(), UINT8_MAX);
    fitness_.resize(cells_.size() * stride_, std::numeric_limits<double>::quiet_NaN());
  }
  const size_t count = std::min(stride_, fitness.size());
  std::copy_n(fitness.begin(), count, fitness_.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(number) * stride_));
  cells_[static_cast<size_t>(number)].objectives = static_cast<uint8_t>(count);
}

bool CandidateColumns::HasFinite(size_t number, size_t objective) const {
  return cells_[number].objectives > objective && std::isfinite(fitness_[number * stride_ + objective]);
}

uint32_t CandidateColumns::Intern(absl::string_view text) {
  if (const auto it = text_numbers_.find(text); it != text_numbers_.end()) return it->second;
  const auto number = static_cast<uint32_t>(texts_.size());
  text_numbers_.emplace(texts_.emplace_back(text), number);
  return number;
}

CandidateRow CandidateColumns::Row(size_t number) const {
  const Cells& cells = cells_[number];
  CandidateRow row;
  row.number = static_cast<int64_t>(number);
  row.kind = cells.kind_of();
  row.state = cells.state_of();
  row.generation = cells.generation;
  row.label = Text(cells.label);
  const absl::Span<const double> fitness = Fitness(number);
  row.fitness.assign(fitness.begin(), fitness.end());
  if (const auto it = metrics_.find(row.number); it != metrics_.end()) row.metrics = it->second;
  row.attempts = cells.attempts;
  row.worker = Text(cells.worker);
  row.message = Text(cells.message);
  row.start_time = TimeOf(cells.start_us);
  row.end_time = TimeOf(cells.end_us);
  return row;
}

}  // namespace merganser
