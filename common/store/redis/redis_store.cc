#include "common/store/redis/redis_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/store/redis/functions_lua.h"
#include "common/store/store_errors.h"

namespace merganser {
namespace {

constexpr int64_t kRedisSchemaVersion = 1;

int64_t Number(absl::string_view text) {
  int64_t value = 0;
  return absl::SimpleAtoi(text, &value) ? value : 0;
}

// At least a millisecond: Redis counts in them, and 0 would mean "already over".
std::string Milliseconds(absl::Duration lease) {
  return absl::StrCat(std::max<int64_t>(1, absl::ToInt64Milliseconds(lease)));
}

// The Status of a function's answer other than OK that every function may give.
absl::Status StatusOf(const std::vector<std::string>& answer, int64_t epoch, const std::string& job_id) {
  if (answer[0] == "OK") return absl::OkStatus();
  if (answer[0] == "STALE" && answer.size() > 1) {
    return store_errors::StaleEpoch(epoch, Number(answer[1]));
  }
  if (answer[0] == "NOT_FOUND") return store_errors::NoJob(job_id);
  return absl::InternalError(absl::StrCat("redis function answered '", answer[0], "'"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RedisStore>> RedisStore::Open(const RedisOptions& options, bool read_only) {
  std::unique_ptr<RedisStore> store(new RedisStore(std::make_shared<RedisPool>(options), read_only));
  MG_RETURN_IF_ERROR(store->CheckSchema());
  if (!read_only) MG_RETURN_IF_ERROR(store->LoadLibrary());
  return store;
}

absl::Status RedisStore::CheckSchema() {
  const std::string key = pool_->Key("schema");
  MG_ASSIGN_OR_RETURN(RedisReply reply, pool_->Command({"GET", key}));
  if (reply.kind == RedisReply::Kind::kNil && !read_only_) {  // a store that is full is opened too, if it is one
    MG_RETURN_IF_ERROR(pool_->Command({"SETNX", key, absl::StrCat(kRedisSchemaVersion)}).status());
    MG_ASSIGN_OR_RETURN(reply, pool_->Command({"GET", key}));
  }
  if (const int64_t version = Number(reply.text); version > kRedisSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(uri(), ": has schema version ", version, " under prefix '",
                                                      pool_->options().prefix, "'; this build knows versions up to ",
                                                      kRedisSchemaVersion));
  }
  if (reply.kind == RedisReply::Kind::kNil) {
    return absl::FailedPreconditionError(
        absl::StrCat(uri(), ": holds no results store under prefix '", pool_->options().prefix, "'"));
  }
  return absl::OkStatus();
}

absl::Status RedisStore::LoadLibrary() {
  const absl::StatusOr<RedisReply> version = pool_->Command({"FCALL", "mg_version", "0"});
  if (absl::IsUnimplemented(version.status())) {
    return absl::FailedPreconditionError(absl::StrCat(uri(),
                                                      ": is older than Redis 7.0, which has the functions that a results "
                                                      "store needs"));
  }
  if (!version.ok() && !absl::IsNotFound(version.status())) return version.status();
  if (version.ok() && version->integer >= kRedisLibraryVersion) return absl::OkStatus();
  return Annotate(pool_->Command({"FUNCTION", "LOAD", "REPLACE", kRedisFunctions}).status(), "loading the function library");
}

absl::Status RedisStore::CheckWritable() const {
  if (!read_only_) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(uri(), ": is open for reading only"));
}

absl::StatusOr<std::vector<std::string>> RedisStore::Call(absl::string_view function, const std::vector<std::string>& keys,
                                                          absl::Span<const absl::string_view> args) {
  MG_RETURN_IF_ERROR(CheckWritable());
  const std::string key_count = absl::StrCat(keys.size());
  std::vector<absl::string_view> command = {"FCALL", function, key_count};
  command.insert(command.end(), keys.begin(), keys.end());
  command.insert(command.end(), args.begin(), args.end());
  absl::StatusOr<RedisReply> reply = pool_->Command(command);
  if (absl::IsNotFound(reply.status())) {  // FUNCTION FLUSH, or a server that lost its data
    MG_RETURN_IF_ERROR(LoadLibrary());
    reply = pool_->Command(command);
  }
  MG_RETURN_IF_ERROR(reply.status());
  std::vector<std::string> answer;
  for (RedisReply& element : reply->elements) answer.push_back(std::move(element.text));
  if (answer.empty()) {
    return absl::InternalError(absl::StrCat(uri(), ": ", function, " gave no answer"));
  }
  return answer;
}

std::string RedisStore::JobKey(absl::string_view job_id, absl::string_view what) const {
  return absl::StrCat(pool_->options().prefix, "{", job_id, "}:", what);
}

absl::Status RedisStore::CheckJob(const std::string& job_id) {
  MG_ASSIGN_OR_RETURN(const RedisReply reply, pool_->Command({"EXISTS", JobKey(job_id, "job")}));
  return reply.integer == 1 ? absl::OkStatus() : store_errors::NoJob(job_id);
}

absl::Status RedisStore::PutRecord(const std::string& key, absl::string_view bytes) {
  MG_RETURN_IF_ERROR(CheckWritable());
  return records_.PutRecord(key, bytes);
}

absl::StatusOr<std::string> RedisStore::GetRecord(const std::string& key) { return records_.GetRecord(key); }

std::vector<absl::StatusOr<std::string>> RedisStore::GetRecords(absl::Span<const std::string> keys) {
  return records_.GetRecords(keys);
}

absl::StatusOr<int64_t> RedisStore::Lead(const std::string& holder, absl::Duration lease) {
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> answer,
                      Call("mg_lead", {pool_->Key("leader")}, {holder, Milliseconds(lease), RandomToken()}));
  if (answer[0] == "HELD" && answer.size() > 2) {
    return store_errors::HeldBy(answer[1], absl::Milliseconds(Number(answer[2])));
  }
  MG_RETURN_IF_ERROR(StatusOf(answer, 0, ""));
  return answer.size() > 1 ? Number(answer[1]) : 0;
}

absl::Status RedisStore::RenewLead(int64_t epoch, absl::Duration lease) {
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> answer,
                      Call("mg_renew", {pool_->Key("leader")}, {absl::StrCat(epoch), Milliseconds(lease)}));
  return StatusOf(answer, epoch, "");
}

absl::Status RedisStore::ReleaseLead(int64_t epoch) {
  return Call("mg_release_lead", {pool_->Key("leader")}, {absl::StrCat(epoch)}).status();
}

absl::StatusOr<std::string> RedisStore::CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                                  absl::string_view spec) {
  // A caller without an id still must not get two jobs because a reply was lost and the client
  // repeated.
  const std::string request = request_id.empty() ? absl::StrCat("auto-", RandomToken()) : request_id;
  MG_ASSIGN_OR_RETURN(std::vector<std::string> answer,
                      Call("mg_create_job",
                           {pool_->Key("leader"), pool_->Key("job_count"), pool_->Key("jobs"),
                            absl::StrCat(pool_->options().prefix, "req:", request)},
                           {absl::StrCat(epoch), pool_->options().prefix, name, spec}));
  MG_RETURN_IF_ERROR(StatusOf(answer, epoch, ""));
  if (answer.size() < 2) return absl::InternalError("mg_create_job gave no id");
  return std::move(answer[1]);
}

absl::StatusOr<std::vector<StoredJob>> RedisStore::ListJobs() {
  MG_ASSIGN_OR_RETURN(const RedisReply ids, pool_->Command({"ZRANGE", pool_->Key("jobs"), "0", "-1"}));
  std::vector<StoredJob> jobs;
  for (const RedisReply& id : ids.elements) {
    MG_ASSIGN_OR_RETURN(RedisReply job, pool_->Command({"HMGET", JobKey(id.text, "job"), "name", "spec", "create_ms"}));
    if (job.elements.size() != 3 || job.elements[2].kind == RedisReply::Kind::kNil) {
      return absl::DataLossError(absl::StrCat(uri(), ": key '", JobKey(id.text, "job"), "' is missing although '",
                                              pool_->Key("jobs"), "' names it"));
    }
    jobs.push_back({id.text, std::move(job.elements[0].text), std::move(job.elements[1].text),
                    absl::FromUnixMillis(Number(job.elements[2].text))});
  }
  return jobs;
}

absl::Status RedisStore::Append(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                                absl::Span<const std::string> events, absl::Span<const std::string> required_records) {
  std::vector<std::string> keys = {pool_->Key("leader"), JobKey(job_id, "job"), JobKey(job_id, "ev")};
  for (const std::string& required : required_records) keys.push_back(pool_->Key(required));
  const std::string epoch_text = absl::StrCat(epoch), seq_text = absl::StrCat(expected_seq);
  std::vector<absl::string_view> args = {epoch_text, seq_text};
  args.insert(args.end(), events.begin(), events.end());
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> answer, Call("mg_append", keys, args));
  const int64_t end = answer.size() > 1 ? Number(answer[1]) : 0;
  if (answer[0] == "CONFLICT") return store_errors::LogConflict(job_id, expected_seq, end);
  if (answer[0] == "RANGE") return store_errors::BeyondLog(job_id, expected_seq, end);
  if (answer[0] == "NO_RECORD") {
    return store_errors::RequiredRecordAbsent(
        end >= 1 && end <= static_cast<int64_t>(required_records.size()) ? required_records[end - 1] : "");
  }
  return StatusOf(answer, epoch, job_id);
}

absl::StatusOr<std::vector<StoredEvent>> RedisStore::ReadEvents(const std::string& job_id, int64_t after_seq,
                                                                int64_t limit) {
  std::vector<StoredEvent> events;
  if (limit > 0) {
    const std::string key = JobKey(job_id, "ev");
    const std::string first = absl::StrCat(std::max<int64_t>(after_seq, 0) + 1, "-0");
    MG_ASSIGN_OR_RETURN(RedisReply reply, pool_->Command({"XRANGE", key, first, "+", "COUNT", absl::StrCat(limit)}));
    events.reserve(reply.elements.size());
    for (RedisReply& entry : reply.elements) {
      // An entry is [id, [field, value]].
      if (entry.elements.size() != 2 || entry.elements[1].elements.size() != 2) {
        if (!events.empty()) return events;
        return absl::DataLossError(absl::StrCat(uri(), ": key '", key,
                                                "' holds an entry that is "
                                                "not an event after seq ",
                                                after_seq));
      }
      const absl::string_view id = entry.elements[0].text;
      events.push_back({Number(id.substr(0, id.find('-'))), std::move(entry.elements[1].elements[1].text)});
    }
  }
  if (events.empty()) MG_RETURN_IF_ERROR(CheckJob(job_id));
  return events;
}

absl::Status RedisStore::PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) {
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> answer,
                      Call("mg_snapshot", {pool_->Key("leader"), JobKey(job_id, "job"), JobKey(job_id, "snap")},
                           {absl::StrCat(epoch), absl::StrCat(snapshot.seq), snapshot.body}));
  return StatusOf(answer, epoch, job_id);
}

absl::StatusOr<std::optional<StoredSnapshot>> RedisStore::GetSnapshot(const std::string& job_id) {
  MG_ASSIGN_OR_RETURN(RedisReply reply, pool_->Command({"HMGET", JobKey(job_id, "snap"), "seq", "body"}));
  if (reply.elements.size() != 2 || reply.elements[0].kind == RedisReply::Kind::kNil) {
    MG_RETURN_IF_ERROR(CheckJob(job_id));
    return std::nullopt;
  }
  return StoredSnapshot{Number(reply.elements[0].text), std::move(reply.elements[1].text)};
}

absl::Status RedisStore::PutFleet(int64_t epoch, absl::string_view body) {
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize("fleet", body));
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> answer,
                      Call("mg_fleet", {pool_->Key("leader"), pool_->Key("fleet")}, {absl::StrCat(epoch), body}));
  return StatusOf(answer, epoch, "");
}

absl::StatusOr<std::string> RedisStore::GetFleet() {
  MG_ASSIGN_OR_RETURN(RedisReply reply, pool_->Command({"GET", pool_->Key("fleet")}));
  return std::move(reply.text);
}

}  // namespace merganser
