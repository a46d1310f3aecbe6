// What the scores of a job's benchmarks are means over.
#ifndef MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_
#define MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"

namespace merganser {

// JobFacts::ItemsOf; but 0 of a program, which is one sample to us and has as many as it likes.
inline int64_t ScoredItems(const JobSpec& spec, const JobFacts& facts, const std::string& benchmark) {
  const auto is_program = [&](const BenchmarkSpec& b) { return b.name == benchmark && b.use == "command"; };
  const bool program = std::any_of(spec.benchmarks.begin(), spec.benchmarks.end(), is_program) ||
                       std::any_of(spec.held_out.begin(), spec.held_out.end(), is_program);
  return program ? 0 : facts.ItemsOf(benchmark);
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_
