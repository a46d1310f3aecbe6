// Jobs of a coordinator, over gRPC.
#ifndef MERGANSER_CLIENT_SERVER_JOBS_H_
#define MERGANSER_CLIENT_SERVER_JOBS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/job_reader.h"
#include "common/rpc/channel.h"
#include "common/rpc/error_details.h"
#include "common/rpc/status_codec.h"
#include "merganser/v1/job_service.grpc.pb.h"

namespace merganser {

// Of every call but WatchJob.
inline constexpr absl::Duration kCallTimeout = absl::Seconds(30);

// The error with what its reader can do about it: where `server` is set, and which flags let somebody in.
absl::Status WithAdvice(const absl::Status& status, const std::string& server);

// A unary call of `stub` within kCallTimeout, repeated where the server says when (too many calls); errors as WithAdvice
// has them.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> CallServer(const ClientChannel& channel, const std::string& server, Stub* stub,
                                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                    const Request& request) {
  Response response;
  const absl::Time deadline = absl::Now() + kCallTimeout;
  absl::Status status;
  while (true) {
    grpc::ClientContext context;
    channel.Prepare(&context, deadline - absl::Now());
    status = FromGrpc((stub->*method)(&context, request, &response));
    const std::optional<absl::Duration> wait = RetryDelayOf(status);
    if (!wait.has_value() || absl::Now() + *wait >= deadline) break;
    absl::SleepFor(*wait);
  }
  if (!status.ok()) return WithAdvice(status, server);
  return response;
}

class ServerJobs final : public JobReader {
 public:
  // `reconnect` finds the coordinator that leads now, when Follow's went away; null: always the same one. `first_max`: how
  // long Follow waits for one that answers, but does not lead, before it has heard of the job. Once it has, it goes on until
  // its deadline, whoever is away (a stand-by leads after about 15 s).
  ServerJobs(ClientChannel channel, std::string server, std::function<absl::StatusOr<ClientChannel>()> reconnect = nullptr,
             absl::Duration first_max = absl::Minutes(1))
      : reconnect_(std::move(reconnect)),
        first_max_(first_max),
        channel_(std::move(channel)),
        server_(std::move(server)),
        stub_(v1::JobService::NewStub(channel_.channel)) {}

  absl::StatusOr<v1::Job> GetJob(const std::string& job) override;
  absl::StatusOr<std::vector<v1::Job>> ListJobs() override;
  absl::StatusOr<std::vector<v1::Candidate>> ListCandidates(const std::string& job, const CandidateQuery& query) override;
  absl::StatusOr<v1::Candidate> GetCandidate(const std::string& job, int64_t number) override;
  absl::StatusOr<v1::GetCandidateResponse> DescribeCandidate(const std::string& job, int64_t number) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override;
  absl::Status Follow(const std::string& job, int64_t after_seq, absl::Time deadline, std::stop_token stop,
                      const UpdateFunction& on_update) override;

  absl::StatusOr<v1::Job> CreateJob(const v1::CreateJobRequest& request);
  absl::StatusOr<v1::Job> CancelJob(const std::string& job);
  absl::StatusOr<v1::Job> PauseJob(const std::string& job);
  absl::StatusOr<v1::Job> ResumeJob(const std::string& job);
  absl::StatusOr<v1::UpdateJobResponse> UpdateJob(const v1::UpdateJobRequest& request);

 private:
  const std::function<absl::StatusOr<ClientChannel>()> reconnect_;
  const absl::Duration first_max_;
  ClientChannel channel_;
  const std::string server_;
  std::unique_ptr<v1::JobService::StubInterface> stub_;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_SERVER_JOBS_H_
