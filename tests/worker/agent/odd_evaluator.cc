// A child for child_evaluator_test: does what the benchmark's name says.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "worker/agent/child_evaluator.h"

namespace merganser {
namespace {

class OddEvaluator final : public CandidateEvaluator {
 public:
  absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token) override {
    phase("load");
    JobFacts facts;
    facts.num_layers = 7;
    facts.architecture = spec.name;
    return facts;
  }
  absl::StatusOr<Evaluation> Evaluate(const JobSpec&, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override {
    phase("evaluate");
    const std::string what = benchmarks.at(0);
    if (what == "killed") kill(getpid(), SIGKILL);
    if (what == "leaves") {  // as a program that scores, which goes on when the evaluator is killed
      if (system("sleep 600 & echo $! > \"$ODD_EVALUATOR_FILE\"") != 0) return absl::InternalError("no shell");
      kill(getpid(), SIGKILL);
    }
    if (what == "throws") throw std::runtime_error("CUDA error");
    if (what == "internal") return absl::InternalError("the device is lost");
    if (what == "infeasible") return absl::InvalidArgumentError("weights are NaN");
    if (what == "stops") {
      while (!stop.stop_requested()) absl::SleepFor(absl::Milliseconds(5));
      return absl::CancelledError("stopped");
    }
    if (what == "hangs") {
      while (true) absl::SleepFor(absl::Seconds(1));
    }
    if (what == "expects") {  // until it is told what comes next; acc is then its number of stacks
      absl::MutexLock lock(&mu_);
      const auto told = [this] { return expected_.has_value(); };
      if (!mu_.AwaitWithTimeout(absl::Condition(&told), absl::Minutes(1))) return absl::NotFoundError("told nothing");
      Evaluation evaluation;
      evaluation.results.push_back({what, {{"acc", static_cast<double>(expected_->stacks.size())}}, {}});
      expected_.reset();
      return evaluation;
    }
    if (what == "forgets") {
      absl::MutexLock lock(&mu_);
      return expected_.has_value() ? absl::InternalError("told") : absl::NotFoundError("told nothing");
    }
    Evaluation evaluation;
    evaluation.results.push_back({what, {{"acc", static_cast<double>(recipe.stacks.size())}, {"pid", getpid()}}, {}});
    return evaluation;
  }
  void Expect(const Recipe& next) override {
    absl::MutexLock lock(&mu_);
    expected_ = next;
  }

 private:
  absl::Mutex mu_;
  std::optional<Recipe> expected_;
};

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "broken") return 78;
  merganser::OddEvaluator evaluator;
  return merganser::ServeEvaluator(atoi(argv[argc - 1]), &evaluator);
}
