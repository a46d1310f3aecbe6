#include "tests/cluster/cluster_fixture.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/codec/job_codec.h"

namespace merganser {

std::string Binary(const std::string& name) {
  return std::filesystem::absolute(absl::StrCat(MG_BINARY_DIR, "/bin/", name)).string();
}

std::string WriteJob(const std::string& dir, int candidates, int samples, uint64_t seed) {
  const std::string example = std::filesystem::absolute(MG_SOURCE_DIR "/examples/ja-math").string();
  std::stringstream text;
  text << std::ifstream(example + "/job.yaml").rdbuf();
  const std::string yaml =
      absl::StrReplaceAll(text.str(), {{"{path: ", absl::StrCat("{path: ", example, "/")},
                                       {"data: tasks/", absl::StrCat("data: ", example, "/tasks/")},
                                       {"{candidates: 400}", absl::StrCat("{candidates: ", candidates, "}")},
                                       {"max_new_tokens: 36", absl::StrCat("max_new_tokens: 36\n    limit: ", samples)},
                                       {"seed: 42", absl::StrCat("seed: ", seed)}});
  const std::string path = dir + "/job.yaml";
  std::ofstream(path) << yaml;
  return path;
}

LogFacts ReadLog(ResultsStore& store, const std::string& job_id) {
  LogFacts facts;
  while (true) {
    const auto events = store.ReadEvents(job_id, facts.seq, 1000);
    if (!events.ok() || events->empty()) return facts;
    for (const StoredEvent& stored : *events) {
      facts.seq = stored.seq;
      const auto event = ProtoJobCodec().DecodeEvent(stored.body);
      EXPECT_TRUE(event.ok()) << event.status();
      if (!event.ok()) continue;
      if (const auto* proposed = std::get_if<CandidatesProposed>(&event->body)) {
        for (const Candidate& candidate : proposed->candidates) {
          EXPECT_TRUE(facts.candidates.emplace(candidate.number, candidate).second)
              << "proposed twice: " << candidate.number;
        }
      } else if (const auto* started = std::get_if<AttemptStarted>(&event->body)) {
        ++facts.attempts[started->candidate];
        facts.starts.emplace_back(stored.seq, started->candidate);
      } else if (const auto* finished = std::get_if<CandidateFinished>(&event->body)) {
        ++facts.terminal_events[finished->candidate];
        facts.finished_at[finished->candidate] = stored.seq;
        Candidate& candidate = facts.candidates[finished->candidate];
        candidate.state = finished->state;
        candidate.fitness = finished->fitness;
        candidate.record_key = finished->record_key;
      } else if (const auto* phase = std::get_if<PhaseStarted>(&event->body)) {
        facts.phase = phase->phase;
      }
    }
  }
}

int64_t SearchFinished(ResultsStore& store, const std::string& job_id) {
  const LogFacts facts = ReadLog(store, job_id);
  int64_t n = 0;
  for (const auto& [number, candidate] : facts.candidates) {
    n += candidate.kind == CandidateKind::kSearch && IsTerminal(candidate.state);
  }
  return n;
}

void ExpectNothingLost(ResultsStore& store, const LogFacts& facts, int search_candidates) {
  EXPECT_EQ(facts.phase, JobPhase::kSucceeded);
  int search = 0;
  for (const auto& [number, candidate] : facts.candidates) {
    search += candidate.kind == CandidateKind::kSearch;
    const auto terminal = facts.terminal_events.find(number);
    EXPECT_EQ(terminal == facts.terminal_events.end() ? 0 : terminal->second, 1) << "candidate " << number;
    EXPECT_EQ(candidate.state, CandidateState::kSucceeded) << "candidate " << number;
    EXPECT_TRUE(store.GetRecord(candidate.record_key).ok()) << "candidate " << number << " " << candidate.record_key;
  }
  EXPECT_EQ(search, search_candidates);
  // Nothing is run again once its result is in the log.
  for (const auto& [seq, candidate] : facts.starts)
    EXPECT_LT(seq, facts.finished_at.at(candidate)) << "candidate " << candidate;
}

std::vector<std::pair<std::vector<double>, std::vector<double>>> Results(const LogFacts& facts) {
  std::vector<std::pair<std::vector<double>, std::vector<double>>> results;
  for (const auto& [number, candidate] : facts.candidates) {
    if (candidate.kind == CandidateKind::kSearch) results.emplace_back(candidate.genome, candidate.fitness);
  }
  return results;
}

}  // namespace merganser
