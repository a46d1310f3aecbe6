// What a job will do, resolved before work starts: what `validate` prints and the first screen of
// `run`.
#ifndef MERGANSER_CLIENT_JOB_PLAN_H_
#define MERGANSER_CLIENT_JOB_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/calibration.h"
#include "client/message_json.h"
#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {

// One search of the job.
struct StagePlan {
  SearchStage spec;
  std::vector<GeneLabel> genes;
  int population = 0;
  int64_t population_max = 0;  // what evaluation slots may raise it to; 0: nothing raises it
  int64_t candidates = 0;      // 0: only time or a target bounds it
  int64_t generations = 0;     // likewise
  bool by_samples = false;     // it is the budget of samples that bounds them
};

struct JobPlan {
  JobSpec spec;
  JobFacts facts;
  std::vector<StagePlan> stages;
  int64_t candidates = 0;                  // of all stages; 0: only time or a target bounds one of them
  std::optional<Calibration> calibration;  // of this machine; nullopt: not measured
};

// `facts`: what the evaluator found when it loaded the job. Errors start with the field's path, as
// those of the search space and of the optimizer do.
absl::StatusOr<JobPlan> MakeJobPlan(const JobSpec& spec, const JobFacts& facts);

// "embed, layer.0 ... layer.31, out": runs of numbered groups in one piece.
std::string CondenseGroups(const std::vector<std::string>& groups);

std::string JobPlanText(const JobPlan& plan);
Json JobPlanJson(const JobPlan& plan);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_JOB_PLAN_H_
