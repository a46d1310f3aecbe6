#include "client/sample_prompt.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "common/domain/scored_items.h"
#include "coordinator/search_space/search_space.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

constexpr size_t kPromptBytesMax = 400;

const Candidate* ScoredWinner(const JobSummary& job, const std::vector<Candidate>& candidates) {
  const Candidate* found = BestCandidate(job, candidates);
  for (const Candidate& c : candidates) {
    if (c.kind == CandidateKind::kHeldOut && c.label == "winner" && !c.record_key.empty()) found = &c;
  }
  return found;
}

// What the model was given for the question; "" where the job file alone does not say it, as with a built-in's own template.
std::string Prompt(const JobSpec& spec, const std::string& benchmark, const std::string& question) {
  const BenchmarkSpec* found = BenchmarkNamed(spec, benchmark);
  // A benchmark of the job may use another of it, once.
  if (found != nullptr && !found->prompt) found = BenchmarkNamed(spec, found->use);
  if (found == nullptr || !found->prompt) return "";
  constexpr char kMark[] = "\x01";
  std::string prompt = absl::StrReplaceAll(*found->prompt, {{"{{question}}", kMark}, {"{{ question }}", kMark}});
  if (!absl::StrContains(prompt, kMark) || absl::StrContains(prompt, "{{") || absl::StrContains(prompt, "{%")) return "";
  return absl::StrReplaceAll(prompt, {{kMark, question}});
}

}  // namespace

std::string ShellWord(const std::string& text) {
  const auto plain = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '\'' && c != '\\' && c != 0x7F; };
  bool quoted = true;
  for (const char c : text) quoted = quoted && plain(c);
  if (quoted) return absl::StrCat("'", text, "'");
  std::string word = "$'";
  for (const char c : text) {
    if (plain(c)) {
      word += c;
    } else if (c == '\n') {
      word += "\\n";
    } else if (c == '\'' || c == '\\') {
      absl::StrAppend(&word, "\\", std::string(1, c));
    } else {
      absl::StrAppend(&word, absl::StrFormat("\\%03o", static_cast<unsigned char>(c)));
    }
  }
  return word + "'";
}

std::string SamplePrompt(const JobSummary& job, const std::vector<Candidate>& candidates,
                         const std::function<absl::StatusOr<std::string>(const std::string& key)>& record) {
  constexpr char kNone[] = "...";
  // A question about a picture asks nothing without it.
  if (job.facts && ArchitectureSees(job.facts->architecture)) return kNone;
  const Candidate* winner = ScoredWinner(job, candidates);
  if (winner == nullptr || winner->record_key.empty()) return kNone;
  const absl::StatusOr<std::string> bytes = record(winner->record_key);
  v1::ResultRecord parsed;
  if (!bytes.ok() || !parsed.ParseFromString(*bytes)) return kNone;
  for (const v1::BenchmarkResult& result : parsed.evaluation().results()) {
    for (const v1::SampleOutcome& sample : result.samples()) {
      const std::string prompt = Prompt(job.spec, result.benchmark(), sample.question());
      if (!sample.correct() || prompt.empty() || prompt.size() > kPromptBytesMax || absl::StrContains(prompt, "<image>"))
        continue;
      return ShellWord(prompt);
    }
  }
  return kNone;
}

}  // namespace merganser
