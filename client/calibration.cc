#include "client/calibration.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

absl::StatusOr<Calibration> Calibrate(const JobSpec& spec, CandidateEvaluator& evaluator, absl::Duration limit,
                                      std::stop_token stop) {
  std::vector<std::string> benchmarks;
  for (const BenchmarkSpec& b : spec.benchmarks) benchmarks.push_back(b.name);
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
  if (evaluation.ok()) return Calibration{took, false};
  if (absl::IsCancelled(evaluation.status()) && !stop.stop_requested()) return Calibration{took, true};
  return evaluation.status();
}

}  // namespace merganser
