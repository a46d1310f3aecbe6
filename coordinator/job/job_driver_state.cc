// The part of JobDriver that makes a restart short.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "coordinator/job/job_driver.h"
#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

constexpr char kHeader[] = "merganser search 1";

absl::string_view FirstLine(absl::string_view text) { return text.substr(0, text.find('\n')); }

}  // namespace

uint64_t JobDriver::GenomesHash(int stage, int64_t asked) const {
  uint64_t hash = StableHash64("genomes");
  const std::vector<SearchStep>& steps = state_.search_steps();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->proposed.empty()) continue;
    const Candidate& last = *state_.Find(step->proposed.back());
    if (last.stage != stage || last.proposal != asked - 1) continue;
    for (const int64_t number : step->proposed) {
      const std::vector<double>& genome = state_.Find(number)->genome;
      hash = StableHash64({reinterpret_cast<const char*>(genome.data()), genome.size() * sizeof(double)}, hash);
    }
    return hash;
  }
  return 0;
}

std::string JobDriver::SaveState() const {
  if (optimizer_ == nullptr) return "";
  return absl::StrCat(kHeader, "\n", stage_, " ", asked_, " ", seen_, " ", GenomesHash(stage_, asked_),
                      finished_.empty() ? "" : " ", absl::StrJoin(finished_, " "), "\n", optimizer_->SaveState());
}

absl::Status JobDriver::RestoreState(absl::string_view saved) {
  const auto refuse = [this](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(state_.id(), " snapshot: ", what));
  };
  if (FirstLine(saved) != kHeader) return refuse(absl::StrCat("begins with '", FirstLine(saved).substr(0, 80), "'"));
  saved.remove_prefix(std::min(saved.size(), sizeof(kHeader)));
  const absl::string_view line = FirstLine(saved);
  saved.remove_prefix(std::min(saved.size(), line.size() + 1));
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  int stage = 0;
  int64_t asked = 0;
  uint64_t seen = 0, hash = 0;
  if (words.size() < 4 || !absl::SimpleAtoi(words[0], &stage) || !absl::SimpleAtoi(words[1], &asked) ||
      !absl::SimpleAtoi(words[2], &seen) || !absl::SimpleAtoi(words[3], &hash)) {
    return refuse("its second line is damaged");
  }
  const auto stages = static_cast<int>(state_.stages().size());
  if (stage < 0 || stage >= stages || asked < 1 || asked > state_.stages()[stage].proposed ||
      seen > state_.search_steps().size() || hash != GenomesHash(stage, asked)) {
    return refuse("it is of another log");
  }
  std::vector<int64_t> finished;
  for (size_t i = 4; i < words.size(); ++i) {
    int64_t number = 0;
    const Candidate* const candidate = absl::SimpleAtoi(words[i], &number) ? state_.Find(number) : nullptr;
    if (candidate == nullptr || !IsTerminal(candidate->state)) return refuse("it names a candidate that has not finished");
    finished.push_back(number);
  }
  const StageState& begun = state_.stages()[stage];
  MG_RETURN_IF_ERROR(BeginStage(stage, begun.winner, begun.population));
  MG_ASSIGN_OR_RETURN(std::unique_ptr<Optimizer> optimizer, RestoreOptimizer(saved));
  if (FirstLine(optimizer->SaveState()) != FirstLine(optimizer_->SaveState()) ||
      optimizer->dimension() != optimizer_->dimension() || optimizer->batch_size() != optimizer_->batch_size()) {
    return refuse("it is of another optimizer");
  }
  optimizer_ = std::move(optimizer);
  asked_ = asked;
  seen_ = seen;
  finished_ = std::move(finished);
  return absl::OkStatus();
}

}  // namespace merganser
