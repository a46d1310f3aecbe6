// export: a candidate of a job as a checkpoint on this machine.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/candidate_name.h"
#include "client/connection.h"
#include "client/local_options.h"
#include "client/model_card.h"
#include "client/run_files.h"
#include "client/run_outputs.h"
#include "client/verb.h"
#include "client/write_checkpoint.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/transfer/checkpoint_files.h"

namespace merganser {
namespace {

struct ExportOptions {
  ConnectionOptions connection;
  std::string candidate, out;  // JOB[/CANDIDATE]
  std::string form = "checkpoint";
  bool overwrite = false;
  LocalOptions local;
};

absl::StatusOr<int> Export(const ExportOptions& options) {
  MG_ASSIGN_OR_RETURN(const CandidateName name, ParseCandidateName(options.candidate));
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::Job job_proto, reader->GetJob(name.job));
  MG_ASSIGN_OR_RETURN(const JobSummary job, FromProto(job_proto));
  const int64_t number = name.number.value_or(job.best_candidate.value_or(-1));
  if (number < 0)
    return absl::NotFoundError(absl::StrCat("job ", job.id, " has no best candidate yet; name one: ", job.id, "/NUMBER"));
  MG_ASSIGN_OR_RETURN(const v1::Candidate candidate_proto, reader->GetCandidate(job.id, number));
  MG_ASSIGN_OR_RETURN(const Candidate candidate, FromProto(candidate_proto));
  if (candidate.recipe.stacks.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("candidate ", number, " of ", job.id, " only loads the job; it has no recipe"));
  }
  ExportRequest request;
  request.recipe = candidate.recipe;
  // Of the models that the search was of, not of what lies at their paths by now.
  if (job.facts.has_value()) HoldToContents(job.facts->contents, &request.recipe.models);
  request.out_dir = options.out;
  request.overwrite = options.overwrite;
  if (options.form != "checkpoint") request.form = options.form;
  RunScores scores;
  if (number == job.best_candidate) {  // the held-out scores are of this one
    MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
    MG_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, ReadCandidates(*reader, job.id));
    scores = ScoresOf(job, candidates, *library);
  }
  request.text_files = ExportTextFiles(job, candidate, scores.table, scores.held_out);
  return WriteCheckpoint(std::move(request), options.local);
}

}  // namespace

void AddExportCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* verb = AddVerb(app, "export", "Writes a candidate (the best, unless one is named) as a checkpoint",
                           "  merganser export job-7 --out out/best\n  merganser export ja-math/118 --out "
                           "out/c118 --store "
                           "sqlite:out/ja-math/run.db",
                           options, &Export, chosen);
  verb->add_option("JOB[/CANDIDATE]", options->candidate, "Id or name of the job, and the candidate's number")->required();
  verb->add_option("--out", options->out, "Folder; made whole or not at all")->required();
  verb->add_flag("--overwrite", options->overwrite, "Replace the folder if it is there");
  verb->add_option("--form", options->form,
                   "checkpoint: scales of a path folded in; evomistral: the path beside distinct layers, as published")
      ->check(CLI::IsMember({"checkpoint", "evomistral"}))
      ->capture_default_str();
  AddLocalOptions(verb, &options->local, /*with_device=*/false);
  AddConnectionOptions(verb, &options->connection, /*with_store=*/true);
}

}  // namespace merganser
