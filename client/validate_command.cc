// validate: everything that can be wrong with a job, before it costs anything.
#include <memory>
#include <optional>
#include <string>

#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/job_input.h"
#include "client/job_plan.h"
#include "client/json_output.h"
#include "client/local_options.h"
#include "client/prepared_job.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr absl::Duration kCalibrationLimit = absl::Seconds(30);

struct ValidateOptions {
  JobInput job;
  std::string format = "table";
  LocalOptions local;
  bool no_calibration = false;
};

absl::StatusOr<int> ValidateJob(const ValidateOptions& options) {
  Interrupt interrupt("stopped");
  MG_ASSIGN_OR_RETURN(const JobFile file, ReadJobInput(options.job, PathsAre::kHere));
  const absl::StatusOr<PreparedJob> job = PrepareJob(
      file, options.local, options.no_calibration ? std::nullopt : std::optional(kCalibrationLimit), interrupt.token());
  if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
  MG_RETURN_IF_ERROR(job.status());
  if (!PrintJson(options.format, JobPlanJson(job->plan))) Print(JobPlanText(job->plan));
  return exit_code::kOk;
}

}  // namespace

void AddValidateCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App* verb = AddVerb(app, "validate", "Checks a job, its models and data, and says what it will do and cost",
                           "  merganser validate job.yaml\n  merganser validate job.yaml -o json | jq .dimension\n"
                           "  merganser submit job.yaml --dry-run        # what a coordinator says of it",
                           options, &ValidateJob, chosen);
  AddJobInput(verb, &options->job);
  verb->add_flag("--no-calibration", options->no_calibration, "Do not measure a candidate (at most 30 seconds)");
  AddLocalOptions(verb, &options->local);
  AddMergeOptions(verb, &options->local);
  AddCommandOption(verb, &options->local);
  AddFormatOption(verb, &options->format);
}

}  // namespace merganser
