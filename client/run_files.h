// The files of a run that programs read: summary.json and candidates.jsonl (DESIGN: "Files that
// programs may rely on").
#ifndef MERGANSER_CLIENT_RUN_FILES_H_
#define MERGANSER_CLIENT_RUN_FILES_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/front_report.h"
#include "client/message_json.h"
#include "client/score_table.h"
#include "common/domain/candidate.h"

namespace merganser {

// "BENCHMARK.METRIC".
std::string ObjectiveName(const Objective& objective);
// Names of the candidate's fitness numbers: the objectives', or a finalist's one.
std::vector<std::string> FitnessNames(const JobSpec& spec, const Candidate& candidate);
// "math.0 ja.1 ja.2*0.93; embedding of math, head of ja": stack and layer of each hop, with the scale where it is not 1; ""
// for a recipe whose path is one stack's layers in order.
std::string PathText(const Recipe& recipe);
// {"ja_math.acc_ja": 0.305}; null for a candidate without fitness.
Json FitnessJson(const JobSpec& spec, const Candidate& candidate);
// {"materialize": 0.1, ...}, seconds. Recording is not among them: a record cannot hold the time of its own writing.
Json TimingsJson(const PhaseTimings& timings);

// nullptr if the job has no best candidate, or `candidates` lacks it.
const Candidate* BestCandidate(const JobSummary& job, const std::vector<Candidate>& candidates);
// "math as it is does better on the samples of the search (fitness 0.6100)": the best of the sources and their average, if
// it ranks before the winner; "": none does, or that cannot be told, because the winner's fitness is of other samples.
std::string BetterBaseline(const JobSummary& job, const std::vector<Candidate>& candidates);

// {"job", "state", "candidates": {state: count of all kinds, "search": finished proposals of the optimizer}, "best":
// {"candidate", "fitness": {objective: value}, "recipe"} or null,
//  "held_out": {benchmark: {model: {metric: {"value", "low", "high", "stderr" (if it has an interval), "n"}}}}, "timing":
//  {phase: seconds}}.
// Timing: the evaluations' phases summed over all candidates, then `more` ("load", "export",
// "total": of this process). With several objectives also "front": [{"candidate", "fitness"}], and if `front` is given
// "front_hypervolume" (FrontJson).
std::string SummaryJson(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& held_out,
                        const std::map<std::string, double>& more,
                        const std::optional<FrontReport>& front_report = std::nullopt);

// One line per candidate, in order: {"candidate", "kind", "label", "generation" (null but for the
// search), "state", "fitness", "metrics": {benchmark: {metric: value}}, "attempts", "message",
// "timings", "recipe" (null for the one that prepares)}.
std::string CandidatesJsonl(const JobSummary& job, const std::vector<Candidate>& candidates);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RUN_FILES_H_
