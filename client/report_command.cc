// report: a job at a glance, as one HTML file.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/front_report.h"
#include "client/print_message.h"
#include "client/report_html.h"
#include "client/run_outputs.h"
#include "client/verb.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"

namespace merganser {
namespace {

struct ReportOptions {
  ConnectionOptions connection;
  std::string job, out;
};

absl::StatusOr<int> Report(const ReportOptions& options) {
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::Job job_proto, reader->GetJob(options.job));
  MG_ASSIGN_OR_RETURN(const JobSummary job, FromProto(job_proto));
  MG_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, ReadCandidates(*reader, job.id));
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());  // for the intervals
  const RunScores scores = ScoresOf(job, candidates, *library);
  const auto front = DescribeFront(job.spec, candidates, [&](const std::string& key) { return reader->GetRecord(key); });
  const std::string path = options.out.empty() ? absl::StrCat(job.spec.name, "-report.html") : options.out;
  MG_RETURN_IF_ERROR(WriteFileAtomically(path, ReportHtml(job, candidates, scores.table, scores.held_out, front)));
  Print(absl::StrCat(path, "\n"));
  return exit_code::kOk;
}

}  // namespace

void AddReportCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = AddVerb(app, "report", "Writes a job's report as one HTML file: fitness, best recipe, scores",
                           "  merganser report job-7 --out report.html\n"
                           "  merganser report ja-math --store sqlite:out/ja-math/run.db",
                           options, &Report, chosen);
  verb->add_option("JOB", options->job, "Id or name; a job that still runs is shown as it is")->required();
  verb->add_option("--out", options->out, "File; default: NAME-report.html here");
  AddConnectionOptions(verb, &options->connection, /*with_store=*/true);
}

}  // namespace merganser
