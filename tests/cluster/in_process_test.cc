// The whole job in one process, on the example's checkpoints: job loop, agent, engine and SQLite,
// without the command line.
#include "common/codec/job_codec.h"
#include "common/config/job_file.h"
#include "common/store/open_store.h"
#include "coordinator/job/job_manager.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/testing/process.h"
#include "worker/agent/agent.h"
#include "worker/agent/in_process_link.h"
#include "worker/evaluate/local_library.h"

namespace merganser {
namespace {

TEST(InProcessTest, ExampleJobFindsAMergeThatBeatsEverySource) {
  const std::string dir = testing_support::FreshDir("in_process");
  const auto file = ReadJobFile(WriteJob(dir, /*candidates=*/180, /*samples=*/120));
  ASSERT_TRUE(file.ok()) << file.status();
  auto store = OpenStore("sqlite:" + dir + "/run.db", {});
  ASSERT_TRUE(store.ok()) << store.status();
  const auto library = LoadLocalLibrary();
  ASSERT_TRUE(library.ok()) << library.status();
  LocalOptions local;
  local.device = "cpu";
  auto evaluator = (*library)->CreateEvaluator(local);
  ASSERT_TRUE(evaluator.ok()) << evaluator.status();

  JobManagerOptions options;
  options.reattach_window = absl::ZeroDuration();
  const auto manager = JobManager::Create(store->get(), &ProtoJobCodec(), &Clock::Real(), nullptr, options);
  ASSERT_EQ(manager->Start(), absl::OkStatus());
  InProcessLink link(manager.get());
  AgentOptions agent_options;
  agent_options.info.id = "embedded";
  Agent agent(evaluator->get(), store->get(), agent_options, &link);
  ASSERT_EQ(link.Connect(&agent), absl::OkStatus());

  auto job = manager->CreateJob("", file->spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  int64_t seq = 0;
  while (!IsTerminal(job->phase)) {
    const auto batch = manager->WaitForEvents(job->id, seq, absl::Minutes(10));
    ASSERT_TRUE(batch.ok()) << batch.status();
    ASSERT_FALSE(batch->events.empty()) << "no progress for ten minutes";
    seq = batch->events.back().first;
    *job = batch->job;
  }
  EXPECT_EQ(job->phase, JobPhase::kSucceeded) << job->message;

  std::map<std::string, double> held_out;
  const auto candidates = manager->ListCandidates(job->id);
  ASSERT_TRUE(candidates.ok());
  for (const Candidate& c : *candidates) {
    if (c.kind == CandidateKind::kHeldOut) held_out[c.label] = c.metrics.at("ja_math_test").at("acc_ja");
  }
  for (const char* other : {"base", "ja", "math", "average"}) {
    EXPECT_GT(held_out.at("winner"), held_out.at(other) + 0.1) << other;
  }
  std::printf(
      "winner %.3f average %.3f; seconds: materialize %.2f prefill %.2f decode %.2f tokenize %.2f "
      "score %.2f record %.2f\n",
      held_out["winner"], held_out["average"], job->timings.materialize, job->timings.prefill, job->timings.decode,
      job->timings.tokenize, job->timings.score, job->timings.record);
  link.Disconnect();
  agent.Stop();
  manager->Stop();
  ExpectNothingLost(**store, ReadLog(**store, job->id), 180);
}

}  // namespace
}  // namespace merganser
