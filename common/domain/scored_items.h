// A job's benchmarks by name, and what their scores are means over.
#ifndef MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_
#define MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_

#include <cstdint>
#include <string>

#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"

namespace merganser {

// Of the search or held out; nullptr: the job has none of this name.
inline const BenchmarkSpec* BenchmarkNamed(const JobSpec& spec, const std::string& name) {
  for (const auto* benchmarks : {&spec.benchmarks, &spec.held_out}) {
    for (const BenchmarkSpec& benchmark : *benchmarks) {
      if (benchmark.name == name) return &benchmark;
    }
  }
  return nullptr;
}

// JobFacts::ItemsOf; but 0 of a program, which is one sample to us and has as many as it likes.
inline int64_t ScoredItems(const JobSpec& spec, const JobFacts& facts, const std::string& benchmark) {
  const BenchmarkSpec* const found = BenchmarkNamed(spec, benchmark);
  return found != nullptr && found->use == "command" ? 0 : facts.ItemsOf(benchmark);
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_SCORED_ITEMS_H_
