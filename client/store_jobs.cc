#include "client/store_jobs.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/store/open_store.h"
#include "coordinator/job/log_damage.h"
#include "coordinator/job/ranking.h"

namespace merganser {
namespace {

constexpr int64_t kEventsPage = 1000;
constexpr absl::Duration kPollInterval = absl::Milliseconds(500);

// Summary() leaves out what only a coordinator's driver knows; the log says most of it.
JobSummary SummaryOf(const JobState& state, const StoredJob& stored) {
  JobSummary summary = state.Summary();
  if (state.seq() == 0) summary.create_time = stored.create_time;
  if (!state.generations().empty() && !state.generations().front().empty()) {
    if (summary.population == 0) summary.population = static_cast<int>(state.generations().front().size());
    summary.dimension = static_cast<int>(state.Find(state.generations().front().front())->genome.size());
  }
  summary.search_total = summary.spec.budget.candidates;
  if (summary.spec.budget.generations > 0 && summary.population > 0) {
    const int64_t by_generations = summary.spec.budget.generations * summary.population;
    summary.search_total = summary.search_total == 0 ? by_generations : std::min(summary.search_total, by_generations);
  }
  return summary;
}

// DataLoss naming job and event; the state is unchanged then.
absl::StatusOr<JobEvent> TakeIn(const StoredEvent& stored, JobState* state) {
  const absl::StatusOr<JobEvent> event = ProtoJobCodec().DecodeEvent(stored.body);
  if (!event.ok()) {
    return absl::DataLossError(absl::StrCat(state->id(), " event ", stored.seq, ": ", event.status().message()));
  }
  MG_RETURN_IF_ERROR(state->Apply(stored.seq, *event));
  return event;
}

std::string DamageAfter(const JobState& state, const absl::Status& status) {
  return absl::StrCat(state.id(), " after event ", state.seq(), ": ", status.message());
}

}  // namespace

v1::Job StoreJobs::JobProto(const Loaded& job, const StoredJob& stored) const {
  JobSummary summary = SummaryOf(job.state, stored);
  if (!job.damage.empty()) {
    summary.phase = JobPhase::kDamaged;
    summary.message = DamagedJobMessage(stored.id, job.damage, store_->uri());
  }
  return ToProto(summary);
}

std::string StoreUriOf(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::is_directory(text, ignored)) return absl::StrCat("sqlite:", text, "/run.db");
  return std::filesystem::is_regular_file(text, ignored) ? absl::StrCat("sqlite:", text) : text;
}

absl::StatusOr<std::unique_ptr<JobReader>> StoreJobs::Open(const std::string& uri) {
  OpenStoreOptions options;
  options.read_only = true;
  std::error_code ignored;
  if (uri.find(':') == std::string::npos && !std::filesystem::exists(uri, ignored)) {
    return absl::NotFoundError(absl::StrCat("--store: there is no '", uri,
                                            "'; it is the folder of a run, sqlite:FILE or "
                                            "redis://HOST:PORT"));
  }
  MG_ASSIGN_OR_RETURN(std::unique_ptr<ResultsStore> store, OpenStore(StoreUriOf(uri), options));
  return std::unique_ptr<JobReader>(std::make_unique<StoreJobs>(std::move(store)));
}

absl::StatusOr<StoredJob> StoreJobs::Find(const std::string& job) {
  MG_ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, store_->ListJobs());
  std::vector<std::string> known;
  for (auto it = jobs.rbegin(); it != jobs.rend(); ++it) {
    if (it->id == job || it->name == job) return *it;
    known.push_back(it->name);
  }
  return absl::NotFoundError(absl::StrCat("no job '", job, "' in ", store_->uri(), DidYouMean(job, known)));
}

absl::StatusOr<StoreJobs::Loaded> StoreJobs::Load(const StoredJob& stored) {
  const absl::StatusOr<JobSpec> spec = ProtoJobCodec().DecodeSpec(stored.spec);
  if (!spec.ok()) {
    JobSpec unread;
    unread.name = stored.name;
    return Loaded{JobState(stored.id, unread), absl::StrCat(stored.id, " spec: ", spec.status().message())};
  }
  Loaded job{JobState(stored.id, *spec), ""};
  while (true) {
    const absl::StatusOr<std::vector<StoredEvent>> events = store_->ReadEvents(stored.id, job.state.seq(), kEventsPage);
    if (absl::IsDataLoss(events.status())) {
      job.damage = DamageAfter(job.state, events.status());
      return job;
    }
    MG_RETURN_IF_ERROR(events.status());
    for (const StoredEvent& stored_event : *events) {
      if (const absl::StatusOr<JobEvent> event = TakeIn(stored_event, &job.state); !event.ok()) {
        job.damage = std::string(event.status().message());
        return job;
      }
    }
    if (static_cast<int64_t>(events->size()) < kEventsPage) return job;
  }
}

absl::StatusOr<v1::Job> StoreJobs::GetJob(const std::string& job) {
  MG_ASSIGN_OR_RETURN(const StoredJob stored, Find(job));
  MG_ASSIGN_OR_RETURN(const Loaded loaded, Load(stored));
  return JobProto(loaded, stored);
}

absl::StatusOr<std::vector<v1::Job>> StoreJobs::ListJobs() {
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> stored_jobs, store_->ListJobs());
  std::vector<v1::Job> jobs;
  for (const StoredJob& stored : stored_jobs) {
    MG_ASSIGN_OR_RETURN(const Loaded loaded, Load(stored));
    jobs.push_back(JobProto(loaded, stored));
  }
  return jobs;
}

absl::StatusOr<std::vector<v1::Candidate>> StoreJobs::ListCandidates(const std::string& job, const CandidateQuery& query) {
  if (!query.kind.empty()) MG_RETURN_IF_ERROR(ParseCandidateKind(query.kind).status());
  if (!query.state.empty()) MG_RETURN_IF_ERROR(ParseCandidateState(query.state).status());
  MG_ASSIGN_OR_RETURN(const StoredJob stored, Find(job));
  MG_ASSIGN_OR_RETURN(const Loaded loaded, Load(stored));
  const JobState& state = loaded.state;
  std::vector<const Candidate*> selected;
  for (const Candidate& c : state.candidates()) {
    if (!query.kind.empty() && ToString(c.kind) != query.kind) continue;
    if (!query.state.empty() && ToString(c.state) != query.state) continue;
    selected.push_back(&c);
  }
  if (query.order_by == "fitness") {
    std::stable_sort(selected.begin(), selected.end(), [&](const Candidate* a, const Candidate* b) {
      return FitnessBefore(state.spec(), state.candidates(), *a, *b);
    });
  }
  if (query.limit > 0 && static_cast<int64_t>(selected.size()) > query.limit) selected.resize(query.limit);
  std::vector<v1::Candidate> candidates;
  for (const Candidate* c : selected) candidates.push_back(ToProto(state.Whole(c->number)));
  return candidates;
}

absl::StatusOr<v1::Candidate> StoreJobs::GetCandidate(const std::string& job, int64_t number) {
  MG_ASSIGN_OR_RETURN(const StoredJob stored, Find(job));
  MG_ASSIGN_OR_RETURN(const Loaded loaded, Load(stored));
  const JobState& state = loaded.state;
  const Candidate* candidate = state.Find(number);
  if (candidate == nullptr) {
    return absl::NotFoundError(absl::StrCat("job ", stored.id, " has no candidate ", number, "; it has ",
                                            state.candidates().size(), ", numbered from 0"));
  }
  return ToProto(state.Whole(number));
}

absl::Status StoreJobs::Follow(const std::string& job, int64_t after_seq, absl::Time deadline, std::stop_token stop,
                               const UpdateFunction& on_update) {
  absl::Notification stopped;
  std::stop_callback on_stop(stop, [&] { stopped.Notify(); });
  MG_ASSIGN_OR_RETURN(const StoredJob stored, Find(job));
  MG_ASSIGN_OR_RETURN(Loaded loaded, Load(stored));
  v1::WatchJobResponse now;
  *now.mutable_job() = JobProto(loaded, stored);
  if (!on_update(now)) return absl::OkStatus();
  // From the first event on, so that each update carries the job as it was after it.
  loaded = Loaded{JobState(stored.id, loaded.state.spec()), ""};
  while (true) {
    const absl::StatusOr<std::vector<StoredEvent>> events = store_->ReadEvents(stored.id, loaded.state.seq(), kEventsPage);
    if (absl::IsDataLoss(events.status())) {
      loaded.damage = DamageAfter(loaded.state, events.status());
    } else if (!events.ok()) {
      return events.status();
    }
    for (size_t i = 0; events.ok() && i < events->size() && loaded.damage.empty(); ++i) {
      const StoredEvent& stored_event = (*events)[i];
      const absl::StatusOr<JobEvent> event = TakeIn(stored_event, &loaded.state);
      if (!event.ok()) {
        loaded.damage = std::string(event.status().message());
        break;
      }
      if (stored_event.seq <= after_seq) continue;
      v1::WatchJobResponse update;
      update.set_seq(stored_event.seq);
      *update.mutable_event() = ToProto(*event);
      *update.mutable_job() = JobProto(loaded, stored);
      if (!on_update(update)) return absl::OkStatus();
    }
    if (!loaded.damage.empty()) {
      v1::WatchJobResponse update;
      *update.mutable_job() = JobProto(loaded, stored);
      on_update(update);
      return absl::OkStatus();
    }
    if (loaded.state.over()) return absl::OkStatus();
    if (static_cast<int64_t>(events->size()) == kEventsPage) continue;
    if (absl::Now() >= deadline) return absl::DeadlineExceededError("time is up");
    if (stopped.WaitForNotificationWithTimeout(std::min(kPollInterval, deadline - absl::Now()))) {
      return absl::CancelledError("stopped");
    }
  }
}

}  // namespace merganser
