// The dashboard's API over a made-up job: what it answers, and what it refuses.
#include "coordinator/http/dashboard.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/codec/event_outline.h"
#include "common/codec/job_codec.h"
#include "common/store/memory/memory_store.h"
#include "coordinator/http/dashboard_assets.h"
#include "coordinator/http/dashboard_json.h"
#include "coordinator/http/job_front.h"
#include "coordinator/http/job_index.h"
#include "coordinator/http/job_indexes.h"
#include "coordinator/job/job_state.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/http/listed_jobs.h"
#include "tests/coordinator/http/made_job.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Answers for one job from its log.
class LoggedJob : public ListedJobs {
 public:
  explicit LoggedJob(const MadeJob& made) : made_(made), state_("job-1", made.spec) {
    int64_t seq = 0;
    for (const JobEvent& event : made.events) EXPECT_TRUE(state_.Apply(++seq, event).ok()) << seq;
    jobs = {state_.Summary()};
  }
  absl::StatusOr<JobSummary> GetJob(const std::string& job) override {
    if (job != "job-1" && job != made_.spec.name) return absl::NotFoundError(absl::StrCat("no job '", job, "'"));
    return state_.Summary();
  }
  absl::StatusOr<EventBatch> WaitForEvents(const std::string&, int64_t after, absl::Duration) override {
    EventBatch batch;
    batch.job = state_.Summary();
    // In small batches, as a long log comes.
    for (size_t i = static_cast<size_t>(after); i < made_.events.size() && batch.events.size() < 7; ++i) {
      batch.events.emplace_back(static_cast<int64_t>(i) + 1, made_.events[i]);
    }
    return batch;
  }
  absl::StatusOr<Candidate> GetCandidate(const std::string&, int64_t number) override {
    const Candidate* candidate = state_.Find(number);
    if (candidate == nullptr) return absl::NotFoundError(absl::StrCat("no candidate ", number));
    return state_.Whole(number);
  }
  absl::StatusOr<JobSummary> CancelJob(const std::string& job, const std::string& by) override {
    return Do("cancel", job, by);
  }
  absl::StatusOr<JobSummary> PauseJob(const std::string& job, const std::string& by) override {
    return Do("pause", job, by);
  }
  absl::StatusOr<JobSummary> ResumeJob(const std::string& job, const std::string& by) override {
    return Do("resume", job, by);
  }
  const JobState& state() const { return state_; }
  std::vector<std::string> done;  // "cancel by submitter/alice"

 private:
  absl::StatusOr<JobSummary> Do(const std::string& what, const std::string& job, const std::string& by) {
    done.push_back(absl::StrCat(what, " by ", by));
    return GetJob(job);
  }
  const MadeJob& made_;
  JobState state_;
};

class MadeRecords : public RecordStore {
 public:
  explicit MadeRecords(const MadeJob& made) : made_(made) {}
  absl::Status PutRecord(const std::string&, absl::string_view) override { return absl::UnimplementedError("read only"); }
  absl::StatusOr<std::string> GetRecord(const std::string& key) override {
    const auto it = made_.records.find(key);
    if (it == made_.records.end()) return absl::NotFoundError("no such record");
    return it->second;
  }

 private:
  const MadeJob& made_;
};

class DashboardTest : public testing::Test {
 protected:
  HttpResponse Get(const std::string& target, const std::string& token = "", const std::string& method = "GET") {
    HttpRequest request = *ParseRequestHead(absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: 127.0.0.1:9090"));
    if (!token.empty()) request.headers["authorization"] = absl::StrCat("Bearer ", token);
    if (method == "POST" && with_header_) request.headers["x-merganser"] = "dashboard";
    return MakeDashboard(&jobs_, &records_, options_)(request);
  }
  DashboardJson GetJson(const std::string& target) {
    const HttpResponse response = Get(target);
    EXPECT_EQ(response.status, 200) << target << " " << response.body;
    return DashboardJson::parse(response.body, nullptr, false);
  }

  const MadeJob made_ = MakeJob("job-1", {.candidates = 60, .objectives = 2});
  LoggedJob jobs_{made_};
  MadeRecords records_{made_};
  DashboardOptions options_;
  bool with_header_ = true;
};

TEST_F(DashboardTest, ServesItsOwnFilesAndAsksNobodyElse) {
  size_t bytes = 0;
  for (const DashboardAsset& asset : DashboardAssets()) {
    const HttpResponse response = Get(std::string(asset.path));
    EXPECT_EQ(response.status, 200) << asset.path;
    EXPECT_FALSE(response.body.empty()) << asset.path;
    EXPECT_THAT(response.headers,
                testing::Contains(testing::Pair("Content-Security-Policy", HasSubstr("default-src 'none'"))));
    for (const char* outside : {"src=\"http", "href=\"http", "@import", "from 'http"}) {
      EXPECT_THAT(response.body, Not(HasSubstr(outside))) << asset.path;
    }
    bytes += response.body.size();
  }
  EXPECT_LT(bytes, 300'000u) << "of the page, not compressed";
}

TEST_F(DashboardTest, ListsJobsNewestFirst) {
  jobs_.jobs.push_back(jobs_.jobs[0]);
  jobs_.jobs[1].id = "job-2";
  const DashboardJson json = GetJson("/api/jobs");
  EXPECT_EQ(json["total"], 2);
  EXPECT_EQ(json["jobs"][0]["id"], "job-2");
  EXPECT_EQ(json["jobs"][1]["state"], "succeeded");
  EXPECT_EQ(json["jobs"][1]["search_finished"], 60);
  EXPECT_TRUE(json["jobs"][1]["left_seconds"].is_null());
  EXPECT_EQ(GetJson("/api/jobs?limit=1&offset=1")["jobs"][0]["id"], "job-1");
}

TEST_F(DashboardTest, AJobsPageHasBaselinesHeldOutScoresGenerationsFrontAndReasons) {
  const DashboardJson json = GetJson("/api/jobs/made");
  EXPECT_EQ(json["job"]["id"], "job-1");
  EXPECT_EQ(json["baselines"].size(), 4u);
  EXPECT_EQ(json["baselines"][3]["label"], "average");
  EXPECT_EQ(json["held_out"].size(), 5u);
  EXPECT_EQ(json["held_out"][4]["model"], "winner");
  const double value = json["held_out"][4]["value"];
  EXPECT_LT(json["held_out"][4]["interval"][0], value);
  EXPECT_GT(json["held_out"][4]["interval"][1], value);
  EXPECT_EQ(json["generations"][0].size(), 6u);
  EXPECT_EQ(json["generations"][0][0]["count"], 9);
  EXPECT_EQ(json["failures"][0]["count"].get<int>() + json["failures"][1]["count"].get<int>(), 6);
  EXPECT_GT(json["front"].size(), 1u);
  // Both objectives lie in [0, 1]: the volume is at least the best candidate's rectangle, and less than everything.
  const double best = json["front"][0]["fitness"][0].get<double>() * json["front"][0]["fitness"][1].get<double>();
  EXPECT_GE(json["front_volume"]["value"], best);
  EXPECT_LT(json["front_volume"]["value"], 1.0);
  EXPECT_EQ(json["front_volume"]["reference"].size(), 2u);
  EXPECT_EQ(json["front_volume"]["reference"].front(), 0.0);
  EXPECT_THAT(json["settings"].get<std::string>(), HasSubstr("name: made"));
}

TEST_F(DashboardTest, AnErrorIsInItsMetricsIntervalAndNoMetric) {
  MadeJob made = made_;
  for (JobEvent& event : made.events) {
    auto* const finished = std::get_if<CandidateFinished>(&event.body);
    if (finished == nullptr || finished->metrics.count("test") == 0) continue;
    finished->metrics["test"] = {{"rougeL", 0.5}, {"rougeL_stderr", 0.1}, {"perplexity", 40.0}};
  }
  LoggedJob jobs(made);
  const HttpResponse response =
      MakeDashboard(&jobs, &records_, options_)(*ParseRequestHead("GET /api/jobs/made HTTP/1.1\r\nHost: 127.0.0.1:9090"));
  const DashboardJson lines = DashboardJson::parse(response.body)["held_out"];
  ASSERT_EQ(lines.size(), 10u);  // two metrics of five models
  EXPECT_EQ(lines[0]["metric"], "perplexity");
  EXPECT_TRUE(lines[0]["interval"].is_null());  // no share, and nobody said its error
  EXPECT_EQ(lines[1]["metric"], "rougeL");
  EXPECT_NEAR(lines[1]["interval"][0].get<double>(), 0.5 - 0.196, 1e-4);
  EXPECT_NEAR(lines[1]["interval"][1].get<double>(), 0.5 + 0.196, 1e-4);
}

TEST_F(DashboardTest, AProgramsNumbersHaveNoSamplesAndNoIntervalOfOurs) {
  MadeJob made = made_;
  made.spec.held_out[0].use = "command";
  LoggedJob jobs(made);
  const HttpResponse response =
      MakeDashboard(&jobs, &records_, options_)(*ParseRequestHead("GET /api/jobs/made HTTP/1.1\r\nHost: 127.0.0.1:9090"));
  const DashboardJson line = DashboardJson::parse(response.body)["held_out"][0];
  EXPECT_GT(line["value"].get<double>(), 0);
  EXPECT_TRUE(line["samples"].is_null());
  EXPECT_TRUE(line["interval"].is_null());
}

TEST_F(DashboardTest, CandidatesAreSearchedFilteredSortedAndPaged) {
  const DashboardJson best = GetJson("/api/jobs/job-1/candidates?kind=search&order=fitness&descending=1&limit=5");
  EXPECT_EQ(best["total"], 60);
  ASSERT_EQ(best["rows"].size(), 5u);
  for (size_t i = 1; i < 5; ++i) EXPECT_GE(best["rows"][i - 1]["fitness"][0], best["rows"][i]["fitness"][0]);
  EXPECT_EQ(GetJson("/api/jobs/job-1/candidates?search=g2")["total"], 10);
  EXPECT_EQ(GetJson("/api/jobs/job-1/candidates?state=failed")["total"], 6);
  EXPECT_EQ(GetJson("/api/jobs/job-1/candidates?search=%3Cnan%3E&state=failed")["rows"][0]["state"], "failed");
  const DashboardJson last = GetJson("/api/jobs/job-1/candidates?kind=search&order=fitness&descending=1&offset=55&limit=5");
  EXPECT_EQ(last["rows"][4]["state"], "failed") << "failed ones are last";
}

TEST_F(DashboardTest, EventsAreFilteredByKindTextAndCandidate) {
  const auto kinds = [&](const std::string& query) {
    std::set<std::string> kinds;
    const DashboardJson page = GetJson("/api/jobs/job-1/events?limit=200&" + query);
    for (const auto& event : page["events"]) kinds.insert(event["kind"]);
    return kinds;
  };
  EXPECT_THAT(kinds(""), ::testing::IsSupersetOf({"proposal", "attempt", "result", "job"}));
  EXPECT_THAT(kinds("kind=attempt"), ElementsAre("attempt"));
  const DashboardJson one = GetJson("/api/jobs/job-1/events?candidate=12");
  EXPECT_FALSE(one["events"].empty());
  for (const auto& event : one["events"]) EXPECT_EQ(event["candidate"], 12);
  const DashboardJson found = GetJson("/api/jobs/job-1/events?search=SUCCEEDED&limit=5");
  EXPECT_EQ(found["events"].size(), 5u);
  for (const auto& event : found["events"]) EXPECT_THAT(event["text"].get<std::string>(), HasSubstr("succeeded"));
  const HttpResponse wrong = Get("/api/jobs/job-1/events?kind=atempt");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_THAT(wrong.body, HasSubstr("'atempt' is none of proposal, attempt, result, race, job"));
}

TEST_F(DashboardTest, WhoComesBackToAStreamMissesNoEvent) {
  const HttpServer::RequestHandler dashboard = MakeDashboard(&jobs_, &records_, options_);
  const auto seqs = [&](const std::string& target) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    HttpStream out(ends[0], /*stop_event=*/-1);
    const HttpRequest request = *ParseRequestHead(absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: 127.0.0.1:9090"));
    std::thread server([&] { dashboard(request).stream(out); });
    std::string text;
    for (char c; !absl::EndsWith(text, "\n\n") && read(ends[1], &c, 1) == 1;) text.push_back(c);
    close(ends[1]);  // it leaves
    server.join();
    close(ends[0]);
    std::vector<int64_t> seqs;
    absl::string_view data = text;
    EXPECT_TRUE(absl::ConsumePrefix(&data, "event: update\ndata: ")) << text;
    const DashboardJson update = DashboardJson::parse(data);
    for (const auto& event : update["events"]) seqs.push_back(event["seq"].get<int64_t>());
    return seqs;
  };
  const std::vector<int64_t> first = seqs("/api/stream?job=job-1");
  EXPECT_EQ(first.size(), 50u) << "as many as a page shows at first";
  const std::vector<int64_t> rest = seqs("/api/stream?job=job-1&after=20");
  EXPECT_EQ(rest.size(), made_.events.size() - 20);
}

TEST_F(DashboardTest, ACandidateHasPicturesTablesAndItsRecipe) {
  const DashboardJson json = GetJson(absl::StrCat("/api/jobs/job-1/candidates/", *jobs_.state().best()));
  EXPECT_THAT(json["candidate"]["pictures"].get<std::string>(), HasSubstr("<svg"));
  EXPECT_THAT(json["candidate"]["tables"].get<std::string>(), HasSubstr("<th scope=\"row\">layer.5</th>"));
  EXPECT_THAT(json["candidate"]["recipe"].get<std::string>(), HasSubstr("method: dare_ties"));
  EXPECT_EQ(json["candidate"]["attempts"].size(), 1u);
}

TEST_F(DashboardTest, TwoCandidatesAreComparedSampleBySample) {
  const DashboardJson all = GetJson("/api/jobs/job-1/compare?a=1&b=3&benchmark=task&show=all&limit=100");
  EXPECT_EQ(all["total"], 20);
  EXPECT_EQ(all["both"].get<int>() + all["only_a"].get<int>() + all["only_b"].get<int>() + all["neither"].get<int>(), 20);
  const DashboardJson differ = GetJson("/api/jobs/job-1/compare?a=1&b=3&benchmark=task&show=differ&limit=100");
  EXPECT_EQ(differ["total"].get<int>(), all["only_a"].get<int>() + all["only_b"].get<int>());
  for (const DashboardJson& pair : differ["pairs"]) EXPECT_NE(pair["a"]["correct"], pair["b"]["correct"]);
  EXPECT_EQ(GetJson("/api/jobs/job-1/candidates/1/samples?limit=3")["samples"].size(), 3u);
}

TEST(CompareTest, RecordsOfOtherSamplesArePairedByTheSamplesTheyShare) {
  const auto result = [](std::vector<int64_t> numbers, const std::vector<bool>& right) {
    BenchmarkResult r{"task", {}, {}, std::move(numbers)};
    for (const bool correct : right) r.samples.push_back({.correct = correct});
    return r;
  };
  const Comparison pairs =
      Compare(result({2, 5, 9}, {true, true, false}), result({5, 7, 9}, {false, true, false}), "all", 0, 10);
  EXPECT_EQ(pairs.total, 2);
  EXPECT_EQ(pairs.only_a, 1);
  EXPECT_EQ(pairs.neither, 1);
  EXPECT_EQ(pairs.pairs[0]["index"], 5);
  EXPECT_EQ(pairs.pairs[1]["index"], 9);
  EXPECT_EQ(SamplesJson(result({2, 5}, {true, false}), 1, 5)[0]["index"], 5);
}

TEST_F(DashboardTest, ErrorsNameWhatIsWrong) {
  EXPECT_EQ(Get("/api/jobs/nothing").status, 404);
  EXPECT_EQ(Get("/api/nothing").status, 404);
  EXPECT_EQ(Get("/nothing").status, 404);
  EXPECT_EQ(Get("/api/jobs/job-1/candidates/x").status, 400);
  EXPECT_EQ(Get("/api/jobs/job-1/candidates?limit=100000").status, 400);
  EXPECT_THAT(Get("/api/jobs/job-1/candidates?order=size").body, HasSubstr("none of number, fitness"));
  EXPECT_THAT(Get("/api/jobs/job-1/compare?a=1&b=x").body, HasSubstr("'x' is not the number of a candidate"));
  EXPECT_EQ(Get("/api/jobs/job-1/candidates/0/samples").status, 404);
}

TEST_F(DashboardTest, ATokenMustAllowIt) {
  options_.authorize = [](absl::string_view token, bool change) -> absl::StatusOr<std::string> {
    if (token.empty()) return absl::UnauthenticatedError("a token is needed");
    if (change && token != "submitter") return absl::PermissionDeniedError("role viewer may not do this");
    return "submitter/alice";
  };
  EXPECT_EQ(Get("/").status, 200) << "the page itself holds nothing of a job";
  EXPECT_EQ(Get("/api/jobs").status, 401);
  EXPECT_EQ(Get("/api/stream").status, 401);
  EXPECT_EQ(Get("/api/jobs", "viewer").status, 200);
  for (const char* change : {"cancel", "pause", "resume"}) {
    EXPECT_EQ(Get(absl::StrCat("/api/jobs/job-1/", change), "viewer", "POST").status, 403) << change;
  }
  EXPECT_THAT(jobs_.done, testing::IsEmpty());
  for (const char* change : {"cancel", "pause", "resume"}) {
    EXPECT_EQ(Get(absl::StrCat("/api/jobs/job-1/", change), "submitter", "POST").status, 200) << change;
  }
  EXPECT_THAT(jobs_.done, ElementsAre("cancel by submitter/alice", "pause by submitter/alice", "resume by submitter/alice"));
  EXPECT_EQ(Get("/api/jobs/job-1/forget", "submitter", "POST").status, 404);
}

TEST_F(DashboardTest, APageFromElsewhereCanNeitherChangeNorLook) {
  with_header_ = false;
  EXPECT_EQ(Get("/api/jobs/job-1/cancel", "", "POST").status, 403) << "a form cannot send the header";
  EXPECT_THAT(jobs_.done, testing::IsEmpty());
  options_.host_allowed = [](absl::string_view host) { return host == "localhost:9090"; };
  EXPECT_EQ(Get("/api/jobs").status, 403) << "another name for this server";
}

TEST(JobIndexTest, ThinningKeepsTheBestAndTheWorst) {
  const MadeJob made = MakeJob("job-1", {.candidates = 2000});
  JobIndex index;
  int64_t seq = 0;
  for (const JobEvent& event : made.events) index.Apply(++seq, event);
  const auto all = index.Thinned(0, 1'000'000), few = index.Thinned(0, 100);
  EXPECT_EQ(all.size(), 1980u);
  EXPECT_GE(few.size(), 100u);
  EXPECT_LE(few.size(), 150u) << "with each that was the best so far";
  const auto by_fitness = [](const FitnessPoint& a, const FitnessPoint& b) { return a.fitness < b.fitness; };
  EXPECT_EQ(std::max_element(few.begin(), few.end(), by_fitness)->fitness,
            std::max_element(all.begin(), all.end(), by_fitness)->fitness);
  EXPECT_EQ(std::min_element(few.begin(), few.end(), by_fitness)->fitness,
            std::min_element(all.begin(), all.end(), by_fitness)->fitness);
  EXPECT_TRUE(std::is_sorted(few.begin(), few.end(),
                             [](const FitnessPoint& a, const FitnessPoint& b) { return a.number < b.number; }));
}

TEST(JobIndexTest, NoLineIsMadeOfWhatIsTooOld) {
  JobIndex index;
  CandidatesProposed proposed;
  proposed.candidates.resize(1);
  index.Apply(1, {absl::UnixEpoch(), proposed}, JobIndex::kEventLinesMax + 2);
  EXPECT_EQ(index.size(), 1u);
  index.Apply(2, {absl::UnixEpoch(), PhaseStarted{}}, JobIndex::kEventLinesMax + 2);
  index.Apply(3, {absl::UnixEpoch(), PhaseStarted{}}, JobIndex::kEventLinesMax + 2);
  ASSERT_EQ(index.events().size(), 1u);
  EXPECT_EQ(index.events().front().seq, 3);
}

TEST(CandidateColumnsTest, HoldsWhatCandidatesHaveInCommonOnce) {
  CandidateColumns columns;
  for (int64_t number = 0; number < 100; ++number) {
    CandidateColumns::Cells& cells = columns.Add(number);
    cells.worker = columns.Intern("worker-1");
    columns.SetFitness(number, {0.5, static_cast<double>(number)});
  }
  EXPECT_EQ(columns.texts(), 2u) << "\"\" and the worker";
  EXPECT_LE(sizeof(CandidateColumns::Cells), 40u);
  const CandidateColumns moved = std::move(columns);
  EXPECT_EQ(moved.Row(7).worker, "worker-1");
  EXPECT_THAT(moved.Row(7).fitness, ElementsAre(0.5, 7.0));
  EXPECT_FALSE(moved.HasFinite(7, 2));
}

// A store whose log is the made job's.
TEST(JobIndexesTest, ALongLogIsReadFromTheStoreAndGivesTheSameIndex) {
  const MadeJob made = MakeJob("job-1", {.candidates = 2000});
  MemoryStore store(Clock::Real());
  const int64_t epoch = store.Lead("test", absl::Hours(1)).value();
  ASSERT_EQ(store.CreateJob(epoch, "", made.spec.name, ProtoJobCodec().EncodeSpec(made.spec)).value(), "job-1");
  std::vector<std::string> events;
  for (const JobEvent& event : made.events) events.push_back(ProtoJobCodec().EncodeEvent(event));
  ASSERT_TRUE(store.Append(epoch, "job-1", 0, events).ok());
  class OnlyTheEnd : public LoggedJob {  // what the manager is asked for is little
   public:
    using LoggedJob::LoggedJob;
    absl::StatusOr<EventBatch> WaitForEvents(const std::string&, int64_t, absl::Duration) override {
      return absl::UnavailableError("asked for events");
    }
  };
  OnlyTheEnd manager(made);
  LoggedJob whole(made);
  JobIndexes from_store(&manager, &store), from_manager(&whole);
  std::vector<CandidateRow> rows, want;
  std::vector<std::string> lines, want_lines;
  const auto look = [](JobIndexes& indexes, std::vector<CandidateRow>* rows, std::vector<std::string>* lines) {
    return indexes.Look("job-1", [&](const JobSummary& summary, const JobIndex& index) {
      EXPECT_EQ(index.seq(), summary.seq);
      *rows = index.Select({.limit = 10'000}).rows;
      for (const EventLine* line : index.SelectEvents({.limit = 1'000'000})) lines->push_back(line->text);
    });
  };
  ASSERT_TRUE(look(from_store, &rows, &lines).ok());
  ASSERT_TRUE(look(from_manager, &want, &want_lines).ok());
  ASSERT_EQ(rows.size(), want.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(RowJson(rows[i]), RowJson(want[i]));
  EXPECT_EQ(lines, want_lines);
}

TEST(EventOutlineTest, LeavesOutRecipesAndGenomesAndNothingElse) {
  const MadeJob made = MakeJob("job-1", {.candidates = 200});
  for (JobEvent event : made.events) {
    const std::string bytes = ProtoJobCodec().EncodeEvent(event);
    const std::string outline = EventOutline(bytes);
    if (auto* proposed = std::get_if<CandidatesProposed>(&event.body)) {
      for (Candidate& candidate : proposed->candidates) candidate.recipe = {}, candidate.genome.clear();
    }
    EXPECT_EQ(outline, ProtoJobCodec().EncodeEvent(event));
  }
  EXPECT_EQ(EventOutline("\x12\xff no message"), "\x12\xff no message");
  EXPECT_EQ(EventOutline(""), "");
}

TEST(JobIndexTest, TheFrontHoldsWhatNoOtherBeats) {
  JobIndex index;
  CandidatesProposed proposed;
  const std::vector<std::vector<double>> fitness = {{0.1, 0.9}, {0.5, 0.5}, {0.4, 0.4}, {0.9, 0.1},
                                                    {0.5, 0.5}, {0.6, 0.6}, {NAN, 1}};
  for (size_t i = 0; i < fitness.size(); ++i) {
    Candidate candidate;
    candidate.number = static_cast<int64_t>(i);
    proposed.candidates.push_back(candidate);
  }
  index.Apply(1, {absl::UnixEpoch(), proposed});
  for (size_t i = 0; i < fitness.size(); ++i) {
    CandidateFinished finished;
    finished.candidate = static_cast<int64_t>(i);
    finished.fitness = fitness[i];
    index.Apply(static_cast<int64_t>(i) + 2, {absl::UnixEpoch(), finished});
  }
  EXPECT_THAT(index.front(), ElementsAre(0, 3, 5));
  index.Apply(3, {absl::UnixEpoch(), PhaseStarted{}});
  EXPECT_EQ(index.seq(), static_cast<int64_t>(fitness.size()) + 1) << "an event that was applied is skipped";
}

TEST(JobFrontTest, ALongFrontIsThinnedEvenlyAndKeepsItsEnds) {
  JobSpec spec;
  spec.objectives = {{"a", "acc"}, {"b", "acc"}};
  JobIndex index(spec);
  EXPECT_FALSE(FrontOf(spec, index).has_value()) << "nothing is on it";
  CandidatesProposed proposed;
  proposed.candidates.resize(100);
  for (int i = 0; i < 100; ++i) proposed.candidates[static_cast<size_t>(i)].number = i;
  int64_t seq = 0;
  index.Apply(++seq, {absl::UnixEpoch(), proposed});
  for (int i = 0; i < 100; ++i) {
    CandidateFinished finished;
    finished.candidate = (i * 37) % 100;  // not in order of the front
    finished.state = CandidateState::kSucceeded;
    finished.fitness = {static_cast<double>(finished.candidate) / 99, 1 - static_cast<double>(finished.candidate) / 99};
    index.Apply(++seq, {absl::UnixEpoch(), finished});
  }
  const JobFront front = FrontOf(spec, index).value();
  EXPECT_EQ(front.size, 100);
  EXPECT_THAT(front.objectives, ElementsAre("a.acc", "b.acc"));
  ASSERT_EQ(front.points.size(), JobFront::kPointsMax);
  EXPECT_THAT(front.points.front(), ElementsAre(0, 1));
  EXPECT_THAT(front.points.back(), ElementsAre(1, 0));
  EXPECT_TRUE(std::is_sorted(front.points.begin(), front.points.end()));
  // A staircase of 99 steps below the line from (0, 1) to (1, 0): 1/2 less half a step.
  EXPECT_NEAR(front.volume.value(), 0.5 - 0.5 / 99, 1e-12);
  spec.objectives.resize(1);
  EXPECT_FALSE(FrontOf(spec, index).has_value()) << "one objective has a best";
}

TEST(JobIndexTest, WhoMissesAConstraintIsNotOnTheFront) {
  JobSpec spec;
  spec.constraints.resize(1);
  spec.constraints[0].benchmark = "english";
  spec.constraints[0].metric = "acc";
  spec.constraints[0].at_least_model = "base";
  JobIndex index(spec);
  CandidatesProposed proposed;
  for (int64_t number = 0; number < 3; ++number) {
    Candidate candidate;
    candidate.number = number;
    candidate.kind = number == 0 ? CandidateKind::kSource : CandidateKind::kSearch;
    candidate.label = number == 0 ? "base" : "";
    proposed.candidates.push_back(candidate);
  }
  index.Apply(1, {absl::UnixEpoch(), proposed});
  const auto finish = [&](int64_t seq, int64_t number, std::vector<double> fitness, double english) {
    CandidateFinished finished;
    finished.candidate = number;
    finished.fitness = std::move(fitness);
    finished.metrics["english"]["acc"] = english;
    index.Apply(seq, {absl::UnixEpoch(), finished});
  };
  finish(2, 0, {0.1, 0.1}, 0.5);
  finish(3, 1, {0.9, 0.9}, 0.4);  // better, but it lost what base can do
  finish(4, 2, {0.3, 0.3}, 0.5);
  EXPECT_THAT(index.front(), ElementsAre(2));
}

}  // namespace
}  // namespace merganser
