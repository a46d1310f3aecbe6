#include "coordinator/http/dashboard.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/codec/job_codec.h"
#include "common/draw/charts.h"
#include "coordinator/http/dashboard_assets.h"
#include "coordinator/http/dashboard_json.h"
#include "coordinator/http/job_front.h"
#include "coordinator/http/job_indexes.h"

namespace merganser {
namespace {

using Json = DashboardJson;

constexpr int64_t kRowsMax = 500;          // of a table, per request; of events in an update, as many as the page keeps
constexpr size_t kFirstEvents = 50;        // of the first update
constexpr size_t kChartPointsMax = 2'400;  // two for each pixel across: what a screen can show of 100,000
constexpr size_t kFrontPointsMax = 1'000;  // each an element of the picture
constexpr size_t kGenerationsMax = 1'000;
constexpr absl::Duration kPoll = absl::Milliseconds(500);  // between looks of a stream
constexpr absl::Duration kPing = absl::Seconds(10);        // a proxy drops a connection on which nothing comes

int HttpStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

HttpResponse JsonResponse(const Json& json, int status = 200) {
  HttpResponse response{status, "application/json; charset=utf-8", Dump(json)};
  response.headers = {{"Cache-Control", "no-store"}};
  return response;
}

HttpResponse ErrorResponse(const absl::Status& status) {
  return JsonResponse({{"error", std::string(status.message())}}, HttpStatus(status));
}

HttpResponse AssetResponse(const DashboardAsset& asset) {
  HttpResponse response{200, std::string(asset.content_type), std::string(asset.bytes)};
  response.headers = {{"Cache-Control", "no-cache"},
                      {"Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                      {"Referrer-Policy", "no-referrer"}};
  return response;
}

// The number that the query's `name` holds.
absl::StatusOr<int64_t> Number(const HttpRequest& request, const std::string& name, int64_t fallback, int64_t high) {
  const std::optional<int64_t> number = request.QueryNumber(name, fallback, 0, high);
  if (number.has_value()) return *number;
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": '", request.Query(name), "' is not a whole number from 0 to ", high));
}

// {"value" (null: it would take too long), "reference": by objective} of a job with several; null while nothing is on the
// front.
Json FrontVolumeJson(const JobSummary& job, const JobIndex& index) {
  const std::optional<JobFront> front = FrontOf(job.spec, index);
  if (!front.has_value()) return nullptr;
  Json json = {{"value", front->volume ? Json(*front->volume) : Json(nullptr)}, {"reference", Json::object()}};
  for (size_t i = 0; i < front->objectives.size(); ++i) json["reference"][front->objectives[i]] = front->reference[i];
  return json;
}

class Dashboard {
 public:
  Dashboard(JobManager* manager, RecordStore* records, DashboardOptions options)
      : manager_(*manager), records_(*records), options_(std::move(options)) {}

  HttpResponse Respond(const HttpRequest& request) {
    const std::string host = request.Header("host");
    if (options_.host_allowed && !options_.host_allowed(host)) {
      return ErrorResponse(absl::PermissionDeniedError(
          absl::StrCat("this dashboard is not reached as '", host, "': use the address that the coordinator listens at")));
    }
    for (const DashboardAsset& asset : DashboardAssets()) {
      if (asset.path != request.path) continue;
      return request.method == "POST" ? ErrorResponse(absl::InvalidArgumentError("nothing to post to"))
                                      : AssetResponse(asset);
    }
    absl::string_view path = request.path;
    if (!absl::ConsumePrefix(&path, "/api/")) return ErrorResponse(absl::NotFoundError("no such page"));
    const absl::StatusOr<std::string> who = Authorize(request, /*change=*/request.method == "POST");
    if (!who.ok()) return ErrorResponse(who.status());
    std::vector<std::string> words;
    for (const absl::string_view word : absl::StrSplit(path, '/')) words.push_back(DecodeUrl(word));
    const absl::StatusOr<HttpResponse> response = request.method == "POST" ? Change(words, *who) : Read(request, words);
    return response.ok() ? *response : ErrorResponse(response.status());
  }

 private:
  // Who asks.
  absl::StatusOr<std::string> Authorize(const HttpRequest& request, bool change) const {
    if (change && request.Header("x-merganser") != "dashboard") {
      return absl::PermissionDeniedError("a change needs the header \"X-Merganser: dashboard\"");
    }
    if (!options_.authorize) return "";
    const std::string header = request.Header("authorization");
    absl::string_view token = header;
    if (!token.empty() && !absl::ConsumePrefix(&token, "Bearer ")) {
      return absl::UnauthenticatedError("authorization is not \"Bearer TOKEN\"");
    }
    return options_.authorize(token, change);
  }

  absl::StatusOr<HttpResponse> Change(const std::vector<std::string>& words, const std::string& who) {
    if (words.size() != 3 || words[0] != "jobs") return absl::NotFoundError("no such action");
    absl::StatusOr<JobSummary> job = absl::NotFoundError("no such action");
    if (words[2] == "cancel") job = manager_.CancelJob(words[1], who);
    if (words[2] == "pause") job = manager_.PauseJob(words[1], who);
    if (words[2] == "resume") job = manager_.ResumeJob(words[1], who);
    if (!job.ok()) return job.status();
    return JsonResponse(JobJson(*job, 0, absl::Now()));
  }

  absl::StatusOr<HttpResponse> Read(const HttpRequest& request, const std::vector<std::string>& words) {
    const size_t n = words.size();
    if (n == 1 && words[0] == "server") return ServerInfo(request);
    if (n == 1 && words[0] == "workers") {
      MG_ASSIGN_OR_RETURN(const std::vector<WorkerStatus> workers, manager_.ListWorkers());
      return JsonResponse({{"workers", WorkersJson(workers)}});
    }
    if (n == 1 && words[0] == "jobs") {
      MG_ASSIGN_OR_RETURN(const int64_t offset, Number(request, "offset", 0, INT64_MAX));
      MG_ASSIGN_OR_RETURN(const int64_t limit, Number(request, "limit", 50, kRowsMax));
      MG_ASSIGN_OR_RETURN(const Json jobs, Jobs(static_cast<size_t>(offset), static_cast<size_t>(limit)));
      return JsonResponse(jobs);
    }
    if (n == 1 && words[0] == "stream") return Stream(request);
    if (n < 2 || words[0] != "jobs") return absl::NotFoundError("no such page");
    const std::string& job = words[1];
    if (n == 2) return JobPage(job);
    const std::string& what = words[2];
    if (n == 3 && what == "fitness") return Fitness(request, job);
    if (n == 3 && what == "pareto.svg") return Pareto(job);
    if (n == 3 && what == "candidates") return Candidates(request, job);
    if (n == 3 && what == "events") return Events(request, job);
    if (n == 3 && what == "compare") return CompareTwo(request, job);
    if (n == 4 && what == "candidates") return OneCandidate(job, words[3]);
    if (n == 5 && what == "candidates" && words[4] == "samples") return Samples(request, job, words[3]);
    return absl::NotFoundError("no such page");
  }

  absl::StatusOr<HttpResponse> ServerInfo(const HttpRequest& request) {
    HttpRequest change = request;
    change.headers["x-merganser"] = "dashboard";
    return JsonResponse({{"version", kVersion},
                         {"store", options_.store_uri},
                         {"epoch", manager_.epoch()},
                         {"leading", manager_.leading()},
                         {"may_change", Authorize(change, true).ok()}});
  }

  absl::StatusOr<Json> Jobs(size_t offset, size_t limit) {
    MG_ASSIGN_OR_RETURN(std::vector<JobSummary> jobs, manager_.ListJobs());
    std::reverse(jobs.begin(), jobs.end());  // the newest first
    Json list = Json::array();
    for (size_t i = offset; i < jobs.size() && i < offset + limit; ++i) list.push_back(JobJson(jobs[i], 0, absl::Now()));
    return Json{{"total", jobs.size()}, {"jobs", std::move(list)}};
  }

  // `make` gives the answer from the job as it is and its index.
  absl::StatusOr<HttpResponse> Look(const std::string& job,
                                    const std::function<Json(const JobSummary&, const JobIndex&)>& make) {
    Json json;
    MG_RETURN_IF_ERROR(
        options_.indexes->Look(job, [&](const JobSummary& summary, const JobIndex& index) { json = make(summary, index); }));
    return JsonResponse(json);
  }

  absl::StatusOr<HttpResponse> JobPage(const std::string& job) {
    return Look(job, [](const JobSummary& summary, const JobIndex& index) {
      Json json = JobDetailsJson(summary, index, kGenerationsMax);
      json["job"] = JobJson(summary, index.Rate(absl::Now()), absl::Now());
      json["front_volume"] = FrontVolumeJson(summary, index);
      return json;
    });
  }

  absl::StatusOr<HttpResponse> Fitness(const HttpRequest& request, const std::string& job) {
    MG_ASSIGN_OR_RETURN(const int64_t objective, Number(request, "objective", 0, 100));
    return Look(job, [&](const JobSummary&, const JobIndex& index) {
      return FitnessJson(index, static_cast<size_t>(objective), kChartPointsMax);
    });
  }

  absl::StatusOr<HttpResponse> Pareto(const std::string& job) {
    std::string svg;
    MG_RETURN_IF_ERROR(options_.indexes->Look(job, [&](const JobSummary& summary, const JobIndex& index) {
      std::map<int64_t, ChartPoint> points;
      const auto add = [&](int64_t number) {
        const CandidateRow row = *index.Find(number);
        points[number] = {number, row.generation, row.fitness};
      };
      for (const FitnessPoint& point : index.Thinned(0, kFrontPointsMax)) add(point.number);
      for (const int64_t number : index.front()) add(number);
      std::vector<ChartPoint> list;
      for (auto& [number, point] : points) list.push_back(std::move(point));
      std::vector<ChartBaseline> baselines;
      for (const CandidateRow& row : index.Rows({CandidateKind::kSource, CandidateKind::kAverage})) {
        baselines.push_back({row.label, row.fitness});
      }
      std::vector<std::string> objectives;
      for (const Objective& o : summary.spec.objectives) objectives.push_back(absl::StrCat(o.benchmark, ".", o.metric));
      svg = ParetoSvg(list, baselines, objectives);
    }));
    HttpResponse response{200, "image/svg+xml; charset=utf-8", std::move(svg)};
    response.headers = {{"Cache-Control", "no-store"}};
    return response;
  }

  absl::StatusOr<HttpResponse> Candidates(const HttpRequest& request, const std::string& job) {
    RowQuery query;
    query.search = request.Query("search");
    if (const std::string kind = request.Query("kind"); !kind.empty()) {
      MG_ASSIGN_OR_RETURN(query.kind, ParseCandidateKind(kind));
    }
    if (const std::string state = request.Query("state"); !state.empty()) {
      MG_ASSIGN_OR_RETURN(query.state, ParseCandidateState(state));
    }
    const std::string order = request.Query("order");
    if (!order.empty() && order != "number" && order != "fitness" && order != "generation" && order != "seconds") {
      return absl::InvalidArgumentError(
          absl::StrCat("order: '", order, "' is none of number, fitness, generation, seconds"));
    }
    if (!order.empty()) query.order = order;
    query.descending = request.Query("descending") == "1";
    MG_ASSIGN_OR_RETURN(const int64_t objective, Number(request, "objective", 0, 100));
    MG_ASSIGN_OR_RETURN(const int64_t offset, Number(request, "offset", 0, INT64_MAX / 2));
    MG_ASSIGN_OR_RETURN(const int64_t limit, Number(request, "limit", 50, kRowsMax));
    query.objective = static_cast<size_t>(objective);
    query.offset = static_cast<size_t>(offset);
    query.limit = static_cast<size_t>(limit);
    return Look(job, [&](const JobSummary&, const JobIndex& index) {
      const JobIndex::Page page = index.Select(query);
      Json rows = Json::array();
      for (const CandidateRow& row : page.rows) rows.push_back(RowJson(row));
      return Json{{"total", page.total}, {"all", index.size()}, {"rows", std::move(rows)}};
    });
  }

  // Newest first; "before": those with a smaller number.
  absl::StatusOr<HttpResponse> Events(const HttpRequest& request, const std::string& job) {
    EventQuery query;
    MG_ASSIGN_OR_RETURN(query.before, Number(request, "before", INT64_MAX, INT64_MAX));
    MG_ASSIGN_OR_RETURN(const int64_t limit, Number(request, "limit", 50, kRowsMax));
    query.limit = static_cast<size_t>(limit);
    query.kind = request.Query("kind");
    if (!query.kind.empty() &&
        std::find(std::begin(kEventKinds), std::end(kEventKinds), query.kind) == std::end(kEventKinds)) {
      return absl::InvalidArgumentError(
          absl::StrCat("kind: '", query.kind, "' is none of ", absl::StrJoin(kEventKinds, ", ")));
    }
    query.search = request.Query("search");
    if (!request.Query("candidate").empty()) {
      MG_ASSIGN_OR_RETURN(query.candidate, Number(request, "candidate", 0, INT64_MAX));
    }
    return Look(job, [&](const JobSummary&, const JobIndex& index) {
      return Json{{"seq", index.seq()},
                  {"oldest", index.events().empty() ? 0 : index.events().front().seq},
                  {"events", EventsJson(index.SelectEvents(query))}};
    });
  }

  absl::StatusOr<Candidate> GetCandidate(const std::string& job, absl::string_view number) {
    int64_t parsed = 0;
    if (!absl::SimpleAtoi(number, &parsed)) {
      return absl::InvalidArgumentError(absl::StrCat("'", number, "' is not the number of a candidate"));
    }
    return manager_.GetCandidate(job, parsed);
  }

  absl::StatusOr<HttpResponse> OneCandidate(const std::string& job, absl::string_view number) {
    MG_ASSIGN_OR_RETURN(const JobSummary summary, manager_.GetJob(job));
    if (number == "best" && !summary.best_candidate.has_value()) {
      return JsonResponse({{"candidate", nullptr}, {"job", JobJson(summary, 0, absl::Now())}});
    }
    MG_ASSIGN_OR_RETURN(const Candidate candidate,
                        number == "best" ? manager_.GetCandidate(job, *summary.best_candidate) : GetCandidate(job, number));
    return JsonResponse({{"candidate", CandidateJson(summary, candidate)}, {"job", JobJson(summary, 0, absl::Now())}});
  }

  // Of the candidate's record; `benchmark` "": the first.
  absl::StatusOr<std::pair<BenchmarkResult, std::vector<std::string>>> Result(const std::string& job,
                                                                              absl::string_view number,
                                                                              const std::string& benchmark) {
    MG_ASSIGN_OR_RETURN(const Candidate candidate, GetCandidate(job, number));
    if (candidate.record_key.empty()) {
      return absl::NotFoundError(absl::StrCat("candidate ", number, " has no samples: it is ", ToString(candidate.state)));
    }
    MG_ASSIGN_OR_RETURN(const std::string bytes, records_.GetRecord(candidate.record_key));
    v1::ResultRecord record;
    if (!record.ParseFromString(bytes)) {
      return absl::DataLossError(absl::StrCat("record '", candidate.record_key, "' is damaged"));
    }
    Evaluation evaluation = FromProto(record.evaluation());
    std::pair<BenchmarkResult, std::vector<std::string>> found;
    bool is_there = false;
    for (BenchmarkResult& result : evaluation.results) {
      found.second.push_back(result.benchmark);
      if (is_there || (!benchmark.empty() && result.benchmark != benchmark)) continue;
      found.first = std::move(result);
      is_there = true;
    }
    if (is_there) return found;
    return absl::NotFoundError(absl::StrCat("candidate ", number, " was not evaluated on '", benchmark, "'"));
  }

  absl::StatusOr<HttpResponse> Samples(const HttpRequest& request, const std::string& job, absl::string_view number) {
    MG_ASSIGN_OR_RETURN(const int64_t offset, Number(request, "offset", 0, INT64_MAX / 2));
    MG_ASSIGN_OR_RETURN(const int64_t limit, Number(request, "limit", 20, kRowsMax));
    MG_ASSIGN_OR_RETURN(const auto result, Result(job, number, request.Query("benchmark")));
    return JsonResponse({{"benchmark", result.first.benchmark},
                         {"benchmarks", result.second},
                         {"total", result.first.samples.size()},
                         {"samples", SamplesJson(result.first, static_cast<size_t>(offset), static_cast<size_t>(limit))}});
  }

  absl::StatusOr<HttpResponse> CompareTwo(const HttpRequest& request, const std::string& job) {
    MG_ASSIGN_OR_RETURN(const int64_t offset, Number(request, "offset", 0, INT64_MAX / 2));
    MG_ASSIGN_OR_RETURN(const int64_t limit, Number(request, "limit", 20, kRowsMax));
    MG_ASSIGN_OR_RETURN(const auto a, Result(job, request.Query("a"), request.Query("benchmark")));
    MG_ASSIGN_OR_RETURN(const auto b, Result(job, request.Query("b"), a.first.benchmark));
    const Comparison comparison =
        Compare(a.first, b.first, request.Query("show"), static_cast<size_t>(offset), static_cast<size_t>(limit));
    std::vector<std::string> shared;
    for (const std::string& benchmark : a.second) {
      if (std::find(b.second.begin(), b.second.end(), benchmark) != b.second.end()) shared.push_back(benchmark);
    }
    return JsonResponse({{"benchmark", a.first.benchmark},
                         {"benchmarks", shared},
                         {"both", comparison.both},
                         {"only_a", comparison.only_a},
                         {"only_b", comparison.only_b},
                         {"neither", comparison.neither},
                         {"total", comparison.total},
                         {"pairs", comparison.pairs}});
  }

  // Server-sent events. With "job": that job, and its events after "after", whenever something happened to it; else the list
  // of jobs. With both the workers.
  absl::StatusOr<HttpResponse> Stream(const HttpRequest& request) {
    const std::string job = request.Query("job");
    MG_ASSIGN_OR_RETURN(const int64_t after, Number(request, "after", 0, INT64_MAX));
    if (!job.empty()) MG_RETURN_IF_ERROR(manager_.GetJob(job).status());
    HttpResponse response{200, "text/event-stream; charset=utf-8", ""};
    response.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
    response.stream = [this, job, after](HttpStream& out) {
      int64_t seq = after;
      std::string last;
      absl::Time spoke = absl::Now();
      do {
        const absl::StatusOr<Json> update = job.empty() ? Overview() : Update(job, &seq);
        std::string text =
            update.ok()
                ? absl::StrCat("event: update\ndata: ", Dump(*update), "\n\n")
                : absl::StrCat("event: away\ndata: ", Dump({{"error", std::string(update.status().message())}}), "\n\n");
        if (text == last) {
          if (absl::Now() - spoke < kPing) continue;
          text = ": still here\n\n";
        } else {
          last = text;
        }
        spoke = absl::Now();
        if (!out.Write(text)) return;
      } while (out.Wait(kPoll));
    };
    return response;
  }

  absl::StatusOr<Json> Overview() {
    MG_ASSIGN_OR_RETURN(Json json, Jobs(0, 50));
    MG_ASSIGN_OR_RETURN(const std::vector<WorkerStatus> workers, manager_.ListWorkers());
    json["workers"] = WorkersJson(workers);
    return json;
  }

  absl::StatusOr<Json> Update(const std::string& job, int64_t* seq) {
    Json json;
    MG_RETURN_IF_ERROR(options_.indexes->Look(job, [&](const JobSummary& summary, const JobIndex& index) {
      std::vector<const EventLine*> lines;
      const size_t lines_max = *seq == 0 ? kFirstEvents : static_cast<size_t>(kRowsMax);
      for (auto line = index.events().rbegin(); line != index.events().rend(); ++line) {
        if (line->seq <= *seq || lines.size() == lines_max) break;
        lines.push_back(&*line);
      }
      *seq = index.seq();
      json = {{"job", JobJson(summary, index.Rate(absl::Now()), absl::Now())}, {"events", EventsJson(lines)}};
    }));
    return json;
  }

  JobManager& manager_;
  RecordStore& records_;
  const DashboardOptions options_;
};

}  // namespace

HttpServer::RequestHandler MakeDashboard(JobManager* manager, RecordStore* records, DashboardOptions options) {
  if (options.indexes == nullptr) options.indexes = std::make_shared<JobIndexes>(manager);
  // Shared by the copies of the handler, and with them by the server's threads.
  auto dashboard = std::make_shared<Dashboard>(manager, records, std::move(options));
  return [dashboard](const HttpRequest& request) { return dashboard->Respond(request); };
}

}  // namespace merganser
