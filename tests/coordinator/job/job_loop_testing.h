// A job loop under a fake clock, with workers that do what a test makes them do.
#ifndef MERGANSER_TESTS_COORDINATOR_JOB_JOB_LOOP_TESTING_H_
#define MERGANSER_TESTS_COORDINATOR_JOB_JOB_LOOP_TESTING_H_

#include <string>

#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {

class JobLoopTest : public ::testing::Test {
 protected:
  // Ticks and heartbeats for `seconds`; nobody works.
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (auto& [id, worker] : world_.workers) {
        world_.loop->WorkerHeartbeat(id, worker->running(), worker->draining);
      }
      world_.loop->Tick();
    }
  }
  // The prepare candidate of a new job, assigned to `worker`.
  Assignment First(FakeWorker& worker, const JobSpec& spec = SphereSpec()) {
    job_ = world_.Submit(spec).id;
    world_.loop->Tick();
    EXPECT_THAT(worker.held, ::testing::SizeIs(1));
    return worker.held.empty() ? Assignment{} : worker.held.front();
  }
  Candidate Get(int64_t number) { return *world_.loop->GetCandidate(job_, number); }
  AttemptReport Honest(const FakeWorker& worker, const Assignment& a) { return *world_.Evaluate(worker, a); }

  World world_;
  std::string job_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_COORDINATOR_JOB_JOB_LOOP_TESTING_H_
