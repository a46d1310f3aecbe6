// convert: the job that a configuration of mergekit-evolve stands for.
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/exit_code.h"
#include "client/job_input.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/config/yaml_message.h"

namespace merganser {
namespace {

absl::StatusOr<int> Convert(const JobInput& input) {
  MG_ASSIGN_OR_RETURN(const JobFile file, ReadJobInput(input, PathsAre::kOnWorkers));
  if (!file.evolve) {
    return absl::InvalidArgumentError(absl::StrCat(input.file, ": is a job already; convert reads mergekit-evolve's"));
  }
  Print(absl::StrCat("# From mergekit-evolve's ", std::filesystem::path(input.file).filename().string(),
                     " by `merganser convert`; docs/search.md has what else a job can say.\n",
                     WriteYaml(ToProto(file.spec))));
  return exit_code::kOk;
}

}  // namespace

void AddConvertCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<JobInput>();
  CLI::App* verb = AddVerb(app, "convert", "Writes the job that a configuration of mergekit-evolve stands for",
                           "  merganser convert evolve.yml > job.yaml\n"
                           "  merganser convert evolve.yml --task-search-path tasks --max-fevals 400 > job.yaml\n\n"
                           "run, validate and submit read such a file as it is; the job is to go on from there.",
                           options, &Convert, chosen);
  AddJobInput(verb, options.get());
}

}  // namespace merganser
