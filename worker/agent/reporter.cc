#include "worker/agent/reporter.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

// Errors of a record's write that another try may cure.
bool MayPass(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

Reporter::Reporter(RecordStore* store, CoordinatorLink* link, AgentObserver* observer, const ReporterOptions& options,
                   std::function<void(const AttemptId&)> done)
    : store_(store),
      link_(link),
      observer_(observer),
      options_(options),
      done_(std::move(done)),
      spool_(options.spool_dir, options.spool_bytes_max),
      thread_([this] { Run(); }) {}

Reporter::~Reporter() { Stop(); }

void Reporter::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

Reporter::Item Reporter::MakeItem(AttemptReport report, std::string record) {
  const absl::Duration now = Clock::Real().Monotonic();
  const uint64_t seed = StableHash64(report.token);
  return Item{std::move(report),
              std::move(record),
              false,
              false,
              now,
              now,
              Backoff(options_.backoff_first, options_.backoff_max, seed)};
}

void Reporter::Add(AttemptReport report, std::string record) {
  Item item = MakeItem(std::move(report), std::move(record));
  absl::MutexLock lock(&mu_);
  if (!item.record.empty()) ++unstored_;
  items_.push_back(std::move(item));
  changed_ = true;
}

bool Reporter::HasRoom() const { return unstored_ < kUnstoredMax; }

bool Reporter::WaitForRoom() {
  absl::MutexLock lock(&mu_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || HasRoom(); };
  mu_.Await(absl::Condition(&ready));
  return !stopping_;
}

void Reporter::LoadSpool() {
  if (const absl::Status usable = spool_.Probe(); !usable.ok()) {
    MG_LOG(WARNING) << "no spool: while the store is away results wait in memory and are lost with this process error=\""
                    << usable.message() << '"';
  }
  for (std::string& record : spool_.LoadAll()) {
    v1::ResultRecord proto;
    if (!proto.ParseFromString(record) || proto.token().empty()) {
      MG_LOG(ERROR) << "spool file damaged bytes=" << record.size();
      continue;
    }
    AttemptReport report;
    report.id = {proto.job_id(), proto.candidate(), proto.attempt()};
    report.token = proto.token();
    report.worker_id = proto.worker();
    report.record_key = RecordKey(report.id.job_id, report.id.candidate, report.id.attempt, report.token);
    report.record_sha256 = Sha256Hex(record);
    MG_LOG(INFO) << "spooled result found job=" << report.id.job_id << " candidate=" << report.id.candidate;
    Item item = MakeItem(std::move(report), "");
    item.spooled = true;
    absl::MutexLock lock(&mu_);
    items_.push_back(std::move(item));
  }
  if (observer_ != nullptr) observer_->OnSpool(spool_.count());
}

std::list<Reporter::Item>::iterator Reporter::FindDue(absl::Duration now, absl::Duration* next) {
  *next = absl::InfiniteDuration();
  for (auto it = items_.begin(); it != items_.end(); ++it) {
    if (it->due <= now) return it;
    *next = std::min(*next, it->due - now);
  }
  return items_.end();
}

void Reporter::Run() {
  LoadSpool();
  const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || changed_; };
  while (true) {
    std::list<Item> current;
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) break;
      changed_ = false;
      absl::Duration next;
      const auto due = FindDue(Clock::Real().Monotonic(), &next);
      if (due == items_.end()) {
        mu_.AwaitWithTimeout(absl::Condition(&wake), next);
        continue;
      }
      current.splice(current.begin(), items_, due);
    }
    Item& item = current.front();
    const bool held_bytes = !item.record.empty();
    bool settled = false;
    try {
      settled = Process(item);
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "report failed error=" << e.what();
    }
    if (settled) {
      done_(item.report.id);
    } else {
      item.due = Clock::Real().Monotonic() + item.backoff.Next();
    }
    absl::MutexLock lock(&mu_);
    if (held_bytes && (settled || item.record.empty())) --unstored_;
    if (!settled) items_.splice(items_.end(), current);
  }
  std::list<Item> left;
  {
    absl::MutexLock lock(&mu_);
    left.swap(items_);
  }
  for (Item& item : left) {
    if (!item.record.empty()) SpoolRecord(item);
  }
}

void Reporter::SpoolRecord(Item& item) {
  const absl::Status status = spool_.Put(item.report.record_key, item.record);
  if (!status.ok()) {
    if (!options_.spool_dir.empty()) {
      MG_LOG(WARNING) << "cannot spool error=\"" << status.message() << '"';
    }
    return;  // stays in memory
  }
  item.spooled = true;
  item.record.clear();
  item.record.shrink_to_fit();
  if (observer_ != nullptr) observer_->OnSpool(spool_.count());
}

bool Reporter::StoreRecord(Item& item) {
  std::string from_spool;
  absl::Status status;
  if (item.spooled) {
    absl::StatusOr<std::string> bytes = spool_.Get(item.report.record_key);
    status = bytes.status();
    if (bytes.ok()) from_spool = *std::move(bytes);
  }
  if (status.ok()) {
    status = store_->PutRecord(item.report.record_key, item.spooled ? from_spool : item.record);
    if (observer_ != nullptr) observer_->OnRecordWrite(MayPass(status) ? status : absl::OkStatus());
  }
  if (status.ok()) {
    item.stored = true;
    item.record.clear();
    return true;
  }
  if (MayPass(status)) {
    if (item.backoff.tries() == 0) {
      MG_LOG(WARNING) << "record not stored yet key=" << item.report.record_key << " error=\"" << status.message() << '"';
    }
    if (!item.spooled) SpoolRecord(item);
    return false;
  }
  item.report.failure = FailureClass::kTransient;
  item.report.message = absl::StrCat("cannot write the record: ", status.message());
  return true;
}

bool Reporter::Process(Item& item) {
  if (!item.report.failure.has_value() && !item.stored && !StoreRecord(item)) return false;
  const absl::StatusOr<Disposition> disposition = link_->Report(item.report);
  const AttemptId& id = item.report.id;
  if (!disposition.ok()) {
    const absl::StatusCode code = disposition.status().code();
    const bool final = code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kNotFound;
    if (final || item.backoff.tries() == 0) {
      MG_LOG(WARNING) << "report not taken job=" << id.job_id << " candidate=" << id.candidate << " attempt=" << id.attempt
                      << " error=\"" << disposition.status().message() << '"';
    }
    if (!final) return false;
  } else if (*disposition == Disposition::kRejected) {
    MG_LOG(ERROR) << "report rejected job=" << id.job_id << " candidate=" << id.candidate << " attempt=" << id.attempt;
  }
  spool_.Remove(item.report.record_key);
  if (observer_ != nullptr) {
    observer_->OnSpool(spool_.count());
    observer_->OnReported(disposition.ok() ? ToString(*disposition) : "refused", Clock::Real().Monotonic() - item.added);
  }
  return true;
}

}  // namespace merganser
