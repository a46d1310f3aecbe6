// make_store PATH [CANDIDATES]: an SQLite store with four jobs that never ran: "search" (CANDIDATES of 32 layers; 10,000
// unless set), "two-objectives", "path" and "waits" (for a worker). For the dashboard's tests and for looking at it:
//
//   .build/release/tests/make_store /tmp/made.db && build/bin/merganser-coordinator --store sqlite:/tmp/made.db
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/codec/job_codec.h"
#include "common/store/open_store.h"
#include "tests/coordinator/http/made_job.h"

namespace merganser {
namespace {

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "make_store: " << status << "\n";
  std::exit(1);
}

void Store(ResultsStore& store, int64_t epoch, const MadeJobOptions& options) {
  // The id is given by the store; a made job's records are named by it.
  const absl::StatusOr<std::vector<StoredJob>> jobs = store.ListJobs();
  Check(jobs.status());
  const MadeJob job = MakeJob(absl::StrCat("job-", jobs->size() + 1), options);
  const auto id = store.CreateJob(epoch, "", options.name, ProtoJobCodec().EncodeSpec(job.spec));
  Check(id.status());
  for (const auto& [key, bytes] : job.records) Check(store.PutRecord(key, bytes));
  constexpr size_t kBatch = 1000;
  for (size_t begin = 0; begin < job.events.size(); begin += kBatch) {
    std::vector<std::string> events;
    for (size_t i = begin; i < job.events.size() && i < begin + kBatch; ++i) {
      events.push_back(ProtoJobCodec().EncodeEvent(job.events[i]));
    }
    Check(store.Append(epoch, *id, static_cast<int64_t>(begin), events));
  }
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: make_store PATH [CANDIDATES]\n";
    return 2;
  }
  int64_t candidates = 10'000;
  if (argc > 2 && !absl::SimpleAtoi(argv[2], &candidates)) return 2;
  const auto store = OpenStore(absl::StrCat("sqlite:", argv[1]));
  Check(store.status());
  const auto epoch = (*store)->Lead("make_store", absl::Minutes(5));
  Check(epoch.status());
  Store(**store, *epoch, {.name = "search", .candidates = candidates, .layers = 32, .samples = 200});
  Store(**store, *epoch, {.name = "two-objectives", .candidates = 400, .objectives = 2});
  Store(**store, *epoch, {.name = "path", .candidates = 60, .layers = 16, .path = true});
  Check((*store)->CreateJob(*epoch, "", "waits", ProtoJobCodec().EncodeSpec(MakeJob("", {.name = "waits"}).spec)).status());
  Check((*store)->ReleaseLead(*epoch));
  return 0;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }
