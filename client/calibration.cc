#include "client/calibration.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/sample_draw.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

absl::StatusOr<Calibration> Calibrate(const JobSpec& spec, CandidateEvaluator& evaluator, absl::Duration limit,
                                      std::stop_token stop) {
  std::vector<std::string> benchmarks = SearchBenchmarks(spec);
  if (spec.samples.per_generation > 0) {
    for (std::string& benchmark : benchmarks) benchmark = SampledBenchmark(benchmark, 0);
  }
  std::stop_source cut;
  absl::Notification done;
  const std::stop_callback forward(stop, [&] { cut.request_stop(); });
  std::jthread timer([&] {
    if (!done.WaitForNotificationWithTimeout(limit)) cut.request_stop();
  });
  const absl::Duration start = Clock::Real().Monotonic();
  const absl::StatusOr<Evaluation> evaluation = evaluator.Evaluate(
      spec, AverageRecipe(spec), benchmarks, [](absl::string_view) {}, cut.get_token());
  const absl::Duration took = Clock::Real().Monotonic() - start;
  done.Notify();
  if (evaluation.ok()) return Calibration{took, false, evaluation->generated_tokens};
  if (absl::IsCancelled(evaluation.status()) && !stop.stop_requested()) return Calibration{took, true};
  return evaluation.status();
}

}  // namespace merganser
