// One WatchJob call.
#ifndef MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_
#define MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_

#include <memory>
#include <string>

#include "coordinator/rpc/write_stream.h"
#include "merganser/v1/job_service.pb.h"

namespace merganser {

// A pool's thread waits for events and writes them one by one.
class WatchStream final : public WriteStream<v1::WatchJobResponse> {
 public:
  // Starts it on a thread of `watchers`; ResourceExhausted to the client when none is free. `services` outlives it.
  static std::shared_ptr<WatchStream> Start(const ServiceContext* services, CallPool* watchers,
                                            grpc::CallbackServerContext* context, const v1::WatchJobRequest& request);

  // Use Start.
  WatchStream(const ServiceContext* services, const v1::WatchJobRequest& request);

 private:
  // Waits at most so long for events before it looks whether the client is still there.
  static constexpr absl::Duration kPoll = absl::Milliseconds(500);

  absl::Status Body() override;

  const std::string job_;
  const int64_t after_seq_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_
