// A child for child_evaluator_test: does what the benchmark's name says.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

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
    Evaluation evaluation;
    evaluation.results.push_back({what, {{"acc", static_cast<double>(recipe.stacks.size())}, {"pid", getpid()}}, {}});
    return evaluation;
  }
};

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "broken") return 78;
  merganser::OddEvaluator evaluator;
  return merganser::ServeEvaluator(atoi(argv[argc - 1]), &evaluator);
}
