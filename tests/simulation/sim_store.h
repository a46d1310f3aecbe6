// A results store on a simulated disk: writes are applied at once and become durable when they are
// acknowledged. A crash loses what was applied and not acknowledged; a failover goes back to a
// replica that lags behind.
#ifndef MERGANSER_TESTS_SIMULATION_SIM_STORE_H_
#define MERGANSER_TESTS_SIMULATION_SIM_STORE_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/store/memory/memory_store.h"
#include "common/store/results_store.h"

namespace merganser {

// The server: a MemoryStore that can be rebuilt from a prefix of the writes that it took. Not
// thread-safe.
class SimStore {
 public:
  // `clock` outlives it.
  explicit SimStore(const Clock* clock);

  // Runs one write. `acknowledged`: its answer reaches the caller, so it, and all before it, are on
  // disk.
  template <typename F>
  auto Write(F write, bool acknowledged) {
    auto result = write(*live_);
    if (IsOk(result)) writes_.push_back({[write](ResultsStore& store) { (void)write(store); }, clock_.passed()});
    if (acknowledged) synced_ = writes_.size();
    return result;
  }
  ResultsStore& live() { return *live_; }

  // The process dies and comes back with what was on disk.
  void Crash() { Rebuild(synced_); }
  // The replica has everything written so far.
  void Replicate() { replicated_ = writes_.size(); }
  // The replica takes over. True if acknowledged writes were lost.
  bool FailOver();

 private:
  // Leases and times are those of the moment of each write.
  class ReplayClock final : public Clock {
   public:
    explicit ReplayClock(const Clock* clock) : clock_(*clock) {}
    absl::Time Now() const override { return absl::UnixEpoch() + Monotonic(); }
    absl::Duration Monotonic() const override { return replay ? *replay : clock_.Monotonic(); }
    absl::Duration passed() const { return clock_.Monotonic(); }
    std::optional<absl::Duration> replay;

   private:
    const Clock& clock_;
  };
  struct Taken {
    std::function<void(ResultsStore&)> apply;
    absl::Duration at;
  };
  static bool IsOk(const absl::Status& status) { return status.ok(); }
  template <typename T>
  static bool IsOk(const absl::StatusOr<T>& result) {
    return result.ok();
  }
  void Rebuild(size_t count);

  ReplayClock clock_;
  std::unique_ptr<MemoryStore> live_;
  std::vector<Taken> writes_;
  size_t synced_ = 0;
  size_t replicated_ = 0;
};

// What one process sees of the server. `before` runs ahead of every call: it may let time pass,
// throw (the process dies in the call) or say that the call fails; `after` likewise once the call
// took effect.
class SimStoreClient final : public ResultsStore {
 public:
  enum class Fault { kNone, kBefore, kAfter };
  struct Hooks {
    std::function<Fault()> before = [] { return Fault::kNone; };
    std::function<void()> after = [] {};
  };
  SimStoreClient(SimStore* server, Hooks hooks) : server_(*server), hooks_(std::move(hooks)) {}

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override {
    return Write<absl::Status>([key, bytes = std::string(bytes)](ResultsStore& s) { return s.PutRecord(key, bytes); });
  }
  absl::StatusOr<std::string> GetRecord(const std::string& key) override {
    return Read<absl::StatusOr<std::string>>([&](ResultsStore& s) { return s.GetRecord(key); });
  }
  absl::StatusOr<int64_t> Lead(const std::string& holder, absl::Duration lease) override {
    return Write<absl::StatusOr<int64_t>>([holder, lease](ResultsStore& s) { return s.Lead(holder, lease); });
  }
  absl::Status RenewLead(int64_t epoch, absl::Duration lease) override {
    return Write<absl::Status>([epoch, lease](ResultsStore& s) { return s.RenewLead(epoch, lease); });
  }
  absl::Status ReleaseLead(int64_t epoch) override {
    return Write<absl::Status>([epoch](ResultsStore& s) { return s.ReleaseLead(epoch); });
  }
  absl::StatusOr<std::string> CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                        absl::string_view spec) override {
    return Write<absl::StatusOr<std::string>>(
        [=, spec = std::string(spec)](ResultsStore& s) { return s.CreateJob(epoch, request_id, name, spec); });
  }
  absl::StatusOr<std::vector<StoredJob>> ListJobs() override {
    return Read<absl::StatusOr<std::vector<StoredJob>>>([](ResultsStore& s) { return s.ListJobs(); });
  }
  absl::Status Append(int64_t epoch, const std::string& job_id, int64_t expected_seq, absl::Span<const std::string> events,
                      absl::Span<const std::string> required_records) override {
    return Write<absl::Status>([=, events = std::vector<std::string>(events.begin(), events.end()),
                                required = std::vector<std::string>(required_records.begin(), required_records.end())](
                                   ResultsStore& s) { return s.Append(epoch, job_id, expected_seq, events, required); });
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(const std::string& job_id, int64_t after_seq, int64_t limit) override {
    return Read<absl::StatusOr<std::vector<StoredEvent>>>(
        [&](ResultsStore& s) { return s.ReadEvents(job_id, after_seq, limit); });
  }
  absl::Status PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) override {
    return Write<absl::Status>([=](ResultsStore& s) { return s.PutSnapshot(epoch, job_id, snapshot); });
  }
  absl::StatusOr<std::optional<StoredSnapshot>> GetSnapshot(const std::string& job_id) override {
    return Read<absl::StatusOr<std::optional<StoredSnapshot>>>([&](ResultsStore& s) { return s.GetSnapshot(job_id); });
  }
  absl::Status PutFleet(int64_t epoch, absl::string_view body) override {
    return Write<absl::Status>([epoch, body = std::string(body)](ResultsStore& s) { return s.PutFleet(epoch, body); });
  }
  absl::StatusOr<std::string> GetFleet() override {
    return Read<absl::StatusOr<std::string>>([](ResultsStore& s) { return s.GetFleet(); });
  }
  std::string uri() const override { return "sim:"; }

 private:
  template <typename R, typename F>
  R Write(F write) {
    const Fault fault = hooks_.before();
    if (fault == Fault::kBefore) return absl::UnavailableError("the store is away");
    R result = server_.Write(std::move(write), fault == Fault::kNone);
    hooks_.after();
    if (fault == Fault::kAfter) return absl::UnavailableError("the answer was lost");
    return result;
  }
  template <typename R, typename F>
  R Read(F read) {
    if (hooks_.before() != Fault::kNone) return absl::UnavailableError("the store is away");
    return read(server_.live());
  }

  SimStore& server_;
  const Hooks hooks_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_SIMULATION_SIM_STORE_H_
