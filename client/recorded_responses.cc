#include "client/recorded_responses.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/message_json.h"
#include "client/store_jobs.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/store/open_store.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

absl::StatusOr<std::vector<bool>> OutcomesOf(const std::string& bytes, const std::string& key,
                                             const v1::Objective& objective) {
  v1::ResultRecord record;
  if (!record.ParseFromString(bytes)) return absl::DataLossError(absl::StrCat("record '", key, "' is damaged"));
  for (const v1::BenchmarkResult& result : record.evaluation().results()) {
    if (result.benchmark() != objective.benchmark()) continue;
    if (result.numbers_size() > 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("record '", key, "' has ", result.samples_size(), " samples of benchmark '", objective.benchmark(),
                       "', drawn by the job (samples); a replay needs a job that scored every candidate on all of them"));
    }
    std::vector<bool> correct;
    for (const v1::SampleOutcome& sample : result.samples()) {
      const auto value = sample.values().find(objective.metric());
      correct.push_back(value == sample.values().end() ? sample.correct() : value->second >= 0.5);
    }
    return correct;
  }
  return absl::DataLossError(absl::StrCat("record '", key, "' has no results of benchmark '", objective.benchmark(), "'"));
}

}  // namespace

absl::StatusOr<RecordedOutcomes> ReadRecordedOutcomes(const std::string& store_uri, const std::string& job) {
  OpenStoreOptions options;
  options.read_only = true;
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<ResultsStore> records, OpenStore(StoreUriOf(store_uri), options));
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<JobReader> jobs, StoreJobs::Open(store_uri));
  MG_ASSIGN_OR_RETURN(const v1::Job summary, jobs->GetJob(job));
  if (summary.spec().objectives().empty()) return absl::DataLossError(absl::StrCat("job '", job, "' has no objective"));
  const auto read = [&](const std::string& kind, const auto& name, std::vector<Response>* into) -> absl::Status {
    CandidateQuery query;
    query.kind = kind;
    query.state = "succeeded";
    query.order_by = "number";
    MG_ASSIGN_OR_RETURN(const std::vector<v1::Candidate> candidates, jobs->ListCandidates(job, query));
    for (const v1::Candidate& candidate : candidates) {
      if (candidate.record_key().empty()) continue;  // took the result of an equal recipe, which is a row already
      MG_ASSIGN_OR_RETURN(const std::string bytes, records->GetRecord(candidate.record_key()));
      Response response{name(candidate), {candidate.genome().begin(), candidate.genome().end()}, {}};
      MG_ASSIGN_OR_RETURN(response.correct, OutcomesOf(bytes, candidate.record_key(), summary.spec().objectives(0)));
      into->push_back(std::move(response));
    }
    return absl::OkStatus();
  };
  RecordedOutcomes outcomes;
  MG_RETURN_IF_ERROR(read(
      "search", [](const v1::Candidate& c) { return absl::StrCat("candidate ", c.number()); }, &outcomes.recipes));
  MG_RETURN_IF_ERROR(Annotate(CheckResponses(outcomes.recipes), absl::StrCat("job '", job, "'")));
  MG_RETURN_IF_ERROR(read(
      "source", [](const v1::Candidate& c) { return std::string(c.label()); }, &outcomes.models));
  return outcomes;
}

std::string FormatOutcomes(const RecordedOutcomes& outcomes) {
  std::string text;
  const auto bits = [](const Response& response) {
    std::string digits;
    for (const bool correct : response.correct) digits += correct ? '1' : '0';
    return digits;
  };
  for (const Response& model : outcomes.models) {
    absl::StrAppend(&text, DumpJson({{"model", model.recipe}, {"correct", bits(model)}}, -1));
  }
  for (const Response& recipe : outcomes.recipes) {
    absl::StrAppend(&text, DumpJson({{"recipe", recipe.recipe}, {"genome", recipe.genome}, {"correct", bits(recipe)}}, -1));
  }
  return text;
}

absl::StatusOr<RecordedOutcomes> ReadOutcomesFile(const std::string& file) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  RecordedOutcomes outcomes;
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (line.empty()) continue;
    const auto bad = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":", line_number, ": ", what));
    };
    const Json json = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    const bool is_model = json.is_object() && json.contains("model") && json["model"].is_string();
    const bool is_recipe = json.is_object() && json.contains("genome") && json["genome"].is_array();
    if (is_model == is_recipe || !json.contains("correct") || !json["correct"].is_string()) {
      return bad(
          "is not {\"recipe\": name, \"genome\": [numbers], \"correct\": \"0110...\"} or {\"model\": name, \"correct\": "
          "...}");
    }
    Response response;
    response.recipe = is_model ? json["model"].get<std::string>() : json.value("recipe", absl::StrCat("line ", line_number));
    for (const Json& gene : is_recipe ? json["genome"] : Json::array()) {
      if (!gene.is_number()) return bad("genome holds something else than numbers");
      response.genome.push_back(gene.get<double>());
    }
    for (const char bit : json["correct"].get<std::string>()) {
      if (bit != '0' && bit != '1') return bad("correct holds something else than 0 and 1");
      response.correct.push_back(bit == '1');
    }
    (is_model ? outcomes.models : outcomes.recipes).push_back(std::move(response));
  }
  MG_RETURN_IF_ERROR(Annotate(CheckResponses(outcomes.recipes), file));
  for (const Response& model : outcomes.models) {
    const size_t samples = outcomes.recipes.front().correct.size();
    if (model.correct.size() == samples) continue;
    return absl::InvalidArgumentError(absl::StrCat(file, ": model '", model.recipe, "': ", model.correct.size(),
                                                   " samples where the recipes have ", samples));
  }
  return outcomes;
}

}  // namespace merganser
