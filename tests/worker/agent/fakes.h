// An evaluator that does what a test says, a record store that can be away, and a coordinator that answers as told.
#ifndef MERGANSER_TESTS_WORKER_AGENT_FAKES_H_
#define MERGANSER_TESTS_WORKER_AGENT_FAKES_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/store/results_store.h"
#include "worker/agent/coordinator_link.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

inline constexpr absl::Duration kPatience = absl::Minutes(1);  // a bound for hangs, never waited for in a good run

// Scores acc = weight of the recipe's first group (0 without one), unless `on_evaluate` says otherwise.
class FakeEvaluator final : public CandidateEvaluator {
 public:
  std::function<absl::StatusOr<Evaluation>(const Recipe&, std::stop_token)> on_evaluate;
  std::function<absl::StatusOr<JobFacts>()> on_prepare;

  absl::StatusOr<JobFacts> Prepare(const JobSpec&, const PhaseCallback& phase, std::stop_token) override {
    phase("load");
    if (on_prepare) return on_prepare();
    JobFacts facts;
    facts.num_layers = 2;
    return facts;
  }

  absl::StatusOr<Evaluation> Evaluate(const JobSpec&, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override {
    phase("evaluate");
    {
      absl::MutexLock lock(&mu_);
      ++started_;
    }
    if (on_evaluate) return on_evaluate(recipe, stop);
    Evaluation evaluation;
    double weight = 0;
    if (!recipe.stacks.empty() && !recipe.stacks[0].settings.empty()) {
      for (const auto& [name, value] : recipe.stacks[0].settings[0].source_parameters.at(0)) weight += value;
    }
    for (const std::string& name : benchmarks) evaluation.results.push_back({name, {{"acc", weight}}, {}});
    return evaluation;
  }

  void Expect(const Recipe& next) override {
    absl::MutexLock lock(&mu_);
    expected_.push_back(next.tokenizer_from);
  }
  // tokenizer_from of each recipe that was to be expected.
  std::vector<std::string> expected() {
    absl::MutexLock lock(&mu_);
    return expected_;
  }

  bool WaitStarted(int n) {
    absl::MutexLock lock(&mu_);
    const auto done = [&] { return started_ >= n; };
    return mu_.AwaitWithTimeout(absl::Condition(&done), kPatience);
  }

 private:
  absl::Mutex mu_;
  int started_ = 0;
  std::vector<std::string> expected_;
};

// Blocks an evaluation until the test opens it or a stop is asked for.
class Gate {
 public:
  // False: stopped.
  bool Wait(std::stop_token stop) {
    std::stop_callback wake(stop, [this] { absl::MutexLock lock(&mu_); });
    absl::MutexLock lock(&mu_);
    const auto ready = [&] { return open_ || stop.stop_requested(); };
    mu_.AwaitWithTimeout(absl::Condition(&ready), kPatience);
    return open_;
  }
  void Open() {
    absl::MutexLock lock(&mu_);
    open_ = true;
  }

 private:
  absl::Mutex mu_;
  bool open_ = false;
};

class FakeRecordStore final : public RecordStore {
 public:
  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override {
    absl::MutexLock lock(&mu_);
    ++tries_;
    if (!error_.ok()) return error_;
    const auto [it, inserted] = records_.emplace(key, std::string(bytes));
    return inserted || it->second == bytes ? absl::OkStatus() : absl::AlreadyExistsError("another record");
  }
  absl::StatusOr<std::string> GetRecord(const std::string& key) override {
    absl::MutexLock lock(&mu_);
    const auto it = records_.find(key);
    if (it == records_.end()) return absl::NotFoundError(key);
    return it->second;
  }
  void Fail(absl::Status error) {
    absl::MutexLock lock(&mu_);
    error_ = std::move(error);
  }
  bool WaitTries(int n) {
    absl::MutexLock lock(&mu_);
    const auto done = [&] { return tries_ >= n; };
    return mu_.AwaitWithTimeout(absl::Condition(&done), kPatience);
  }
  size_t size() {
    absl::MutexLock lock(&mu_);
    return records_.size();
  }

 private:
  absl::Mutex mu_;
  absl::Status error_;
  int tries_ = 0;
  std::map<std::string, std::string> records_;
};

class FakeLink final : public CoordinatorLink {
 public:
  // Asked for every report; the default commits.
  std::function<absl::StatusOr<Disposition>(const AttemptReport&)> answer;

  absl::StatusOr<Disposition> Report(const AttemptReport& report) override {
    absl::StatusOr<Disposition> result = answer ? answer(report) : Disposition::kCommitted;
    absl::MutexLock lock(&mu_);
    reports_.push_back(report);
    return result;
  }
  // The first n reports.
  std::vector<AttemptReport> WaitReports(size_t n) {
    absl::MutexLock lock(&mu_);
    const auto done = [&] { return reports_.size() >= n; };
    mu_.AwaitWithTimeout(absl::Condition(&done), kPatience);
    return reports_;
  }

 private:
  absl::Mutex mu_;
  std::vector<AttemptReport> reports_;
};

inline Assignment MakeAssignment(int64_t candidate, CandidateKind kind = CandidateKind::kSearch, int attempt = 1) {
  Assignment assignment;
  assignment.id = {"job-1", candidate, attempt};
  assignment.token = absl::StrCat("token-", candidate, "-", attempt);
  assignment.kind = kind;
  assignment.benchmarks = {"b"};
  assignment.spec = std::make_shared<const JobSpec>();
  assignment.record_key = RecordKey("job-1", candidate, attempt, assignment.token);
  return assignment;
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_AGENT_FAKES_H_
