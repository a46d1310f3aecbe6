// The real binaries on the example's checkpoints, with a shortened job.
#ifndef MERGANSER_TESTS_CLUSTER_CLUSTER_FIXTURE_H_
#define MERGANSER_TESTS_CLUSTER_CLUSTER_FIXTURE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/domain/candidate.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"
#include "gtest/gtest.h"
#include "tests/testing/process.h"

namespace merganser {

std::string Binary(const std::string& name);  // "merganser" -> its path in the build

// The example's job file with `candidates` proposals and the first `samples` problems, in `dir`; its path.
std::string WriteJob(const std::string& dir, int candidates, int samples, uint64_t seed = 42);

// What a job's log says once all is over.
struct LogFacts {
  std::map<int64_t, Candidate> candidates;          // proposals with what their terminal event gave them
  std::map<int64_t, int> terminal_events;           // per candidate
  std::map<int64_t, int> attempts;                  // per candidate
  std::map<int64_t, int64_t> finished_at;           // seq of the terminal event
  std::vector<std::pair<int64_t, int64_t>> starts;  // (seq, candidate) of every AttemptStarted
  JobPhase phase = JobPhase::kPreparing;
  int64_t seq = 0;
};
LogFacts ReadLog(ResultsStore& store, const std::string& job_id);

// Terminal search candidates so far; 0 if the job is not there yet.
int64_t SearchFinished(ResultsStore& store, const std::string& job_id);

// Every proposal has exactly one terminal event, and each success has its record in the store.
void ExpectNothingLost(ResultsStore& store, const LogFacts& facts, int search_candidates);

// Genomes and fitness of search candidates, by number.
std::vector<std::pair<std::vector<double>, std::vector<double>>> Results(const LogFacts& facts);

}  // namespace merganser

#endif  // MERGANSER_TESTS_CLUSTER_CLUSTER_FIXTURE_H_
