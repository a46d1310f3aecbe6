#include "client/store_command.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/output.h"
#include "client/print_message.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/store/open_store.h"
#include "coordinator/job/copy_store.h"
#include "coordinator/job/history.h"

namespace merganser {
namespace {

constexpr absl::Duration kSourceLease = absl::Minutes(1);  // of a store that is migrated, renewed while it is copied

struct StoreOptions {
  std::string from, to, backup, format = "table";
  bool no_records = false, salvage = false;
};

// --- verify -----------------------------------------------------------------------------------------

struct Checked {
  StoredJob job;
  HistoryReport report;
};

absl::StatusOr<std::vector<Checked>> CheckAll(ResultsStore* store, bool records) {
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> jobs, store->ListJobs());
  std::vector<Checked> all;
  HistoryOptions options;
  options.records = records;
  for (const StoredJob& job : jobs) {
    MG_ASSIGN_OR_RETURN(HistoryReport report, CheckHistory(store, ProtoJobCodec(), job, options));
    all.push_back({job, std::move(report)});
  }
  return all;
}

int CountFindings(const std::vector<Checked>& all) {
  int findings = 0;
  for (const Checked& checked : all) findings += static_cast<int>(checked.report.findings.size());
  return findings;
}

absl::StatusOr<int> Verify(const StoreOptions& options) {
  OpenStoreOptions open;
  open.read_only = true;
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> store, OpenStore(options.from, open));
  MG_ASSIGN_OR_RETURN(const std::vector<Checked> all, CheckAll(store.get(), !options.no_records));
  const int findings = CountFindings(all);
  if (options.format != "table") {
    Json jobs = Json::array();
    for (const Checked& c : all) {
      Json list = Json::array();
      for (const HistoryFinding& f : c.report.findings) {
        list.push_back({{"invariant", f.invariant}, {"seq", f.seq}, {"message", f.message}});
      }
      jobs.push_back({{"job", c.job.id},
                      {"name", c.job.name},
                      {"events", c.report.events},
                      {"results", c.report.results},
                      {"records", c.report.records},
                      {"over", c.report.over},
                      {"findings", list}});
    }
    PrintJson(options.format, {{"store", store->uri()}, {"findings", findings}, {"jobs", jobs}});
    return findings == 0 ? exit_code::kOk : exit_code::kJobFailed;
  }
  Table table({"job", "name", ">events", ">results", ">records", "over", ">findings"});
  for (const Checked& c : all) {
    table.Add({c.job.id, c.job.name, absl::StrCat(c.report.events), absl::StrCat(c.report.results),
               options.no_records ? "-" : absl::StrCat(c.report.records), c.report.over ? "yes" : "no",
               absl::StrCat(c.report.findings.size())});
  }
  Print(table.Render());
  for (const Checked& c : all) {
    for (const HistoryFinding& finding : c.report.findings) Print(absl::StrCat(ToString(finding), "\n"));
  }
  std::fprintf(stderr, "%s: %s\n", store->uri().c_str(),
               findings == 0 ? "all is well"
                             : absl::StrCat(findings,
                                            " findings; `merganser store restore` brings back a "
                                            "backup, `merganser store migrate --salvage` what comes before the damage")
                                   .c_str());
  return findings == 0 ? exit_code::kOk : exit_code::kJobFailed;
}

// --- backup, restore, migrate -----------------------------------------------------------------------

// `on_page` is called now and then, where something must be kept up meanwhile; may be null.
absl::StatusOr<CopyStoreReport> CopyWithProgress(ResultsStore* from, ResultsStore* to, bool salvage,
                                                 const std::function<void()>& on_page = nullptr,
                                                 ResultsStore* backup = nullptr) {
  const bool terminal = DescribeTerminal(STDERR_FILENO).interactive;
  CopyStoreOptions options;
  options.salvage = salvage;
  options.backup = backup;
  options.on_progress = [&](const std::string& job, int64_t events) {
    if (on_page) on_page();
    if (terminal) std::fprintf(stderr, "\r%s: %lld events ", job.c_str(), static_cast<long long>(events));
  };
  absl::StatusOr<CopyStoreReport> report = CopyStore(from, to, ProtoJobCodec(), options);
  if (terminal) std::fputs("\r\033[K", stderr);
  MG_RETURN_IF_ERROR(report.status());
  MG_ASSIGN_OR_RETURN(const std::vector<Checked> copied, CheckAll(to, /*records=*/true));
  if (const int findings = CountFindings(copied); findings > 0 && report->damage.empty()) {
    return absl::DataLossError(
        absl::StrCat("the copy has ", findings, " findings: `merganser store verify ", to->uri(), "`"));
  }
  return report;
}

void Say(const CopyStoreReport& report, const std::string& to) {
  Print(absl::StrCat(report.jobs, " jobs, ", report.events, " events, ", report.records, " records in ", to, "\n"));
  for (const std::string& mended : report.mended) std::fprintf(stderr, "taken from the backup: %s\n", mended.c_str());
  for (const std::string& damage : report.damage) std::fprintf(stderr, "left out: %s\n", damage.c_str());
}

// A copy in the memory of this process ends with it.
absl::Status CheckTarget(const std::string& uri) {
  if (!absl::StartsWith(uri, "memory:")) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", uri, "' ends with this command; copy into sqlite:FILE or redis://HOST:PORT"));
}

std::string FileOf(const std::string& path) { return absl::StartsWith(path, "sqlite:") ? path.substr(7) : path; }

absl::StatusOr<int> Backup(const StoreOptions& options) {
  MG_RETURN_IF_ERROR(CheckTarget(options.to));
  const std::string file = FileOf(options.to), unfinished = file + ".unfinished";
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    return absl::AlreadyExistsError(absl::StrCat(file, ": there is a file already; a backup never replaces one"));
  }
  OpenStoreOptions open;
  open.read_only = true;
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> from, OpenStore(options.from, open));
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(unfinished + end, error);
  CopyStoreReport report;
  {
    MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> to, OpenStore("sqlite:" + unfinished));
    MG_ASSIGN_OR_RETURN(report, CopyWithProgress(from.get(), to.get(), options.salvage));
  }  // closed: one file, without a log beside it
  std::filesystem::rename(unfinished, file, error);
  if (error) return absl::InternalError(absl::StrCat(file, ": ", error.message()));
  std::filesystem::remove(unfinished + ".lock", error);
  Say(report, file);
  return exit_code::kOk;
}

absl::StatusOr<int> Restore(const StoreOptions& options) {
  MG_RETURN_IF_ERROR(CheckTarget(options.to));
  OpenStoreOptions open;
  open.read_only = true;
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> from, OpenStore("sqlite:" + FileOf(options.from), open));
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> to, OpenStore(options.to));
  MG_ASSIGN_OR_RETURN(const CopyStoreReport report, CopyWithProgress(from.get(), to.get(), options.salvage));
  Say(report, to->uri());
  return exit_code::kOk;
}

absl::StatusOr<int> Migrate(const StoreOptions& options) {
  MG_RETURN_IF_ERROR(CheckTarget(options.to));
  std::unique_ptr<ResultsStore> backup;
  if (!options.backup.empty()) {
    OpenStoreOptions read_only;
    read_only.read_only = true;
    MG_ASSIGN_OR_RETURN(backup, OpenStore("sqlite:" + FileOf(options.backup), read_only));
  }
  // Leads the source as well, so that no coordinator goes on there; a damaged one cannot always be led.
  OpenStoreOptions open;
  open.read_only = options.salvage;
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> from, OpenStore(options.from, open));
  int64_t epoch = 0;
  if (!options.salvage) {
    const absl::StatusOr<int64_t> led = from->Lead("merganser store migrate", kSourceLease);
    if (absl::IsUnavailable(led.status())) {
      return absl::UnavailableError(
          absl::StrCat(from->uri(), ": ", led.status().message(),
                       "; stop that coordinator first, or copy with `merganser store backup`, which may "
                       "run beside one"));
    }
    MG_ASSIGN_OR_RETURN(epoch, led);
  }
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> to, OpenStore(options.to));
  const absl::StatusOr<CopyStoreReport> report = CopyWithProgress(
      from.get(), to.get(), options.salvage,
      [&] {
        if (epoch > 0) (void)from->RenewLead(epoch, kSourceLease);
      },
      backup.get());
  if (epoch > 0) {
    const absl::Status led = from->RenewLead(epoch, kSourceLease);
    (void)from->ReleaseLead(epoch);
    if (absl::IsAborted(led)) {
      return absl::AbortedError(absl::StrCat("a coordinator led ", from->uri(), " meanwhile: stop it and repeat this"));
    }
  }
  MG_RETURN_IF_ERROR(report.status());
  Say(*report, to->uri());
  std::fprintf(stderr, "point the coordinator at %s now; what %s holds is unchanged\n", to->uri().c_str(),
               from->uri().c_str());
  return exit_code::kOk;
}

}  // namespace

void AddStoreCommand(CLI::App& app, Action* chosen) {
  CLI::App* store = app.add_subcommand("store", "Checks, saves and moves a results store");
  store->require_subcommand(1);
  store->footer(
      "\nStores are named by URI: sqlite:out/my-job/run.db, redis://host:6379/0.\n`merganser store VERB --help` explains a "
      "verb.");
  const auto add = [&](const char* name, const char* purpose, const char* example,
                       absl::StatusOr<int> (*run)(const StoreOptions&)) {
    auto options = std::make_shared<StoreOptions>();
    return std::make_pair(AddVerb(*store, name, purpose, example, options, run, chosen), options);
  };
  auto [verify, v] =
      add("verify", "Replays every log and compares every result with its record; exit 1 if anything is wrong",
          "  merganser store verify sqlite:out/ja-math/run.db\n  merganser store verify redis://host:6379 -o json", &Verify);
  verify->add_option("STORE", v->from, "The store's URI; it may be in use")->required();
  verify->add_flag("--no-records", v->no_records, "Only the logs");
  AddFormatOption(verify, &v->format);

  auto [backup, b] = add("backup", "Copies a store, in use or not, into one file, and checks the copy",
                         "  merganser store backup redis://host:6379 backup-2026-01-31.db", &Backup);
  backup->add_option("STORE", b->from, "The store's URI")->required();
  backup->add_option("FILE", b->to, "The new file: a SQLite store, so `--store sqlite:FILE` reads it")->required();

  auto [restore, r] = add("restore", "Copies a backup into an empty store; repeat it if it is interrupted",
                          "  merganser store restore backup-2026-01-31.db redis://host:6379", &Restore);
  restore->add_option("FILE", r->from, "What `store backup` wrote")->required();
  restore->add_option("STORE", r->to, "The store's URI; it must be empty and led by nobody")->required();

  auto [migrate, m] = add("migrate", "Copies a store into another one while nobody leads either",
                          "  merganser store migrate sqlite:out/ja-math/run.db redis://host:6379\n"
                          "  merganser store migrate --salvage sqlite:broken.db sqlite:mended.db\n"
                          "  merganser store migrate --salvage --backup monday.db redis://host:6379 redis://host:6379/1",
                          &Migrate);
  migrate->add_option("FROM", m->from, "URI")->required();
  migrate->add_option("TO", m->to, "URI of an empty store")->required();
  for (CLI::App* verb : {verify, backup, restore, migrate}) verb->group("Verbs");
  for (auto& [verb, options] : {std::pair(backup, b), std::pair(restore, r), std::pair(migrate, m)}) {
    verb->add_flag("--salvage", options->salvage, "Where a log is damaged, copy what comes before the damage");
  }
  migrate
      ->add_option("--backup", m->backup,
                   "With --salvage: what `store backup` wrote earlier; damaged events are taken from it")
      ->needs("--salvage");
}

}  // namespace merganser
