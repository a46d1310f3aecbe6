#include "worker/agent/agent.h"

#include <filesystem>
#include <memory>
#include <stdexcept>

#include "common/base/sha256.h"
#include "common/base/version.h"
#include "common/codec/job_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/agent/fakes.h"
#include "worker/agent/worker_metrics.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    options_.info = {"worker-1", "host/1", kVersion, "cpu", 1};
    options_.reporter.backoff_first = absl::Milliseconds(1);
    options_.reporter.backoff_max = absl::Milliseconds(5);
    spool_ = absl::StrCat(testing::TempDir(), "/spool-", RandomToken());
  }
  ~AgentTest() override {
    agent_.reset();
    std::filesystem::remove_all(spool_);
  }
  Agent& Start() {
    agent_ = std::make_unique<Agent>(&evaluator_, &store_, options_, &link_);
    return *agent_;
  }
  void EvaluationsWaitAt(Gate* gate) {
    evaluator_.on_evaluate = [gate](const Recipe&, std::stop_token stop) -> absl::StatusOr<Evaluation> {
      gate->Wait(stop);
      return Evaluation();
    };
  }
  size_t SpoolFiles() const {
    std::error_code error;
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(spool_, error)) n += entry.is_regular_file();
    return n;
  }

  FakeEvaluator evaluator_;
  FakeRecordStore store_;
  FakeLink link_;
  AgentOptions options_;
  std::string spool_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(AgentTest, WritesTheRecordBeforeItReports) {
  bool record_was_there = false;
  link_.answer = [&](const AttemptReport& report) -> absl::StatusOr<Disposition> {
    record_was_there = store_.GetRecord(report.record_key).ok();
    return Disposition::kCommitted;
  };
  Start().Assign(MakeAssignment(3));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_TRUE(record_was_there);
  EXPECT_EQ(reports[0].worker_id, "worker-1");
  EXPECT_FALSE(reports[0].failure.has_value());
  const std::string record = *store_.GetRecord(reports[0].record_key);
  EXPECT_EQ(reports[0].record_sha256, Sha256Hex(record));
  const auto summary = ProtoJobCodec().DecodeRecord(record);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->candidate, 3);
  EXPECT_EQ(summary->token, "token-3-1");
  EXPECT_EQ(summary->metrics.at("b").at("acc"), 0);
  v1::ResultRecord proto;
  ASSERT_TRUE(proto.ParseFromString(record));
  EXPECT_EQ(proto.evaluation_version(), kEvaluationVersion);
  EXPECT_EQ(proto.version(), kVersion);
  EXPECT_TRUE(agent_->WaitIdle(kPatience));
}

TEST_F(AgentTest, PrepareCandidateReportsFacts) {
  Start().Assign(MakeAssignment(0, CandidateKind::kPrepare));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  const auto summary = ProtoJobCodec().DecodeRecord(*store_.GetRecord(reports[0].record_key));
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_TRUE(summary->facts.has_value());
  EXPECT_EQ(summary->facts->num_layers, 2);
}

TEST_F(AgentTest, NextCandidateEvaluatesWhileThePreviousOneIsReported) {
  Gate report;
  link_.answer = [&](const AttemptReport& r) -> absl::StatusOr<Disposition> {
    if (r.id.candidate == 1) report.Wait(std::stop_token());
    return Disposition::kCommitted;
  };
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2));
  EXPECT_TRUE(evaluator_.WaitStarted(2));  // although candidate 1 is not answered yet
  const auto running = agent_->running();
  ASSERT_FALSE(running.empty());
  EXPECT_EQ(running[0].id.candidate, 1);
  EXPECT_EQ(running[0].phase, "record");
  report.Open();
  EXPECT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_THAT(link_.WaitReports(2), SizeIs(2));
}

TEST_F(AgentTest, TheEvaluatorIsToldWhatWaitsBehindACandidate) {
  Gate gates[5];
  evaluator_.on_evaluate = [&](const Recipe& recipe, std::stop_token stop) -> absl::StatusOr<Evaluation> {
    gates[recipe.tokenizer_from.at(0) - '0'].Wait(stop);
    return Evaluation();
  };
  const auto assignment = [](int64_t candidate, const std::string& job) {
    Assignment a = MakeAssignment(candidate);
    a.id.job_id = job;
    a.recipe.tokenizer_from = absl::StrCat(candidate);
    return a;
  };
  Start().Assign(assignment(1, "job-1"));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  EXPECT_THAT(evaluator_.expected(), IsEmpty());
  agent_->Assign(assignment(2, "job-1"));  // it comes while 1 is evaluated
  EXPECT_THAT(evaluator_.expected(), ElementsAre("2"));
  agent_->Assign(assignment(3, "job-1"));  // waits behind 2
  agent_->Assign(assignment(4, "job-2"));
  gates[1].Open();
  ASSERT_TRUE(evaluator_.WaitStarted(2));
  EXPECT_THAT(evaluator_.expected(), ElementsAre("2", "3"));
  for (Gate& gate : gates) gate.Open();
  EXPECT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_THAT(evaluator_.expected(), ElementsAre("2", "3"));  // 4 is of another job
}

TEST_F(AgentTest, ListsQueuedAndEvaluatingAttemptsWithTheirPhases) {
  Gate gate;
  EvaluationsWaitAt(&gate);
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  const auto running = agent_->running();
  ASSERT_THAT(running, SizeIs(2));
  EXPECT_EQ(running[0].phase, "evaluate");
  EXPECT_EQ(running[0].token, "token-1-1");
  EXPECT_EQ(running[1].phase, "queued");
  EXPECT_EQ(agent_->idle_time(), absl::ZeroDuration());
  gate.Open();
  EXPECT_TRUE(agent_->WaitIdle(kPatience));
}

TEST_F(AgentTest, DuplicateAssignmentIsIgnored) {
  Gate gate;
  EvaluationsWaitAt(&gate);
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(1));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  agent_->Assign(MakeAssignment(1));
  EXPECT_THAT(agent_->running(), SizeIs(1));
  gate.Open();
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_THAT(link_.WaitReports(1), SizeIs(1));
  EXPECT_EQ(store_.size(), 1u);
}

TEST_F(AgentTest, StoreAwaySpoolsTheResultAndSendsItLater) {
  options_.spool_dir = spool_;
  store_.Fail(absl::UnavailableError("redis is away"));
  Start().Assign(MakeAssignment(1));
  ASSERT_TRUE(store_.WaitTries(3));
  EXPECT_EQ(SpoolFiles(), 1u);
  EXPECT_EQ(agent_->running().at(0).phase, "record");  // so its lease is kept
  agent_->Assign(MakeAssignment(2));                   // evaluation goes on
  ASSERT_TRUE(evaluator_.WaitStarted(2));
  store_.Fail(absl::OkStatus());
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_EQ(store_.size(), 2u);
  EXPECT_EQ(SpoolFiles(), 0u);
  const auto reports = link_.WaitReports(2);
  ASSERT_THAT(reports, SizeIs(2));
  for (const auto& report : reports) EXPECT_EQ(report.record_sha256, Sha256Hex(*store_.GetRecord(report.record_key)));
}

TEST_F(AgentTest, SpooledResultIsSentByTheNextProcess) {
  options_.spool_dir = spool_;
  store_.Fail(absl::UnavailableError("redis is away"));
  Start().Assign(MakeAssignment(7));
  ASSERT_TRUE(store_.WaitTries(2));
  agent_.reset();
  ASSERT_EQ(SpoolFiles(), 1u);
  EXPECT_THAT(link_.WaitReports(0), IsEmpty());

  store_.Fail(absl::OkStatus());
  options_.info.id = "worker-2";
  Start();
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].id, (AttemptId{"job-1", 7, 1}));
  EXPECT_EQ(reports[0].token, "token-7-1");
  EXPECT_EQ(reports[0].worker_id, "worker-1");  // who holds the lease
  EXPECT_EQ(reports[0].record_sha256, Sha256Hex(*store_.GetRecord(reports[0].record_key)));
  agent_.reset();
  EXPECT_EQ(SpoolFiles(), 0u);
}

TEST_F(AgentTest, EvaluationWaitsOnceTooManyResultsAreUnstored) {
  options_.spool_dir = "";
  store_.Fail(absl::UnavailableError("redis is away"));
  Start();
  for (int i = 0; i < Reporter::kUnstoredMax + 2; ++i) agent_->Assign(MakeAssignment(i));
  ASSERT_TRUE(evaluator_.WaitStarted(Reporter::kUnstoredMax));
  ASSERT_TRUE(store_.WaitTries(3 * Reporter::kUnstoredMax));
  int queued = 0;
  for (const auto& attempt : agent_->running()) queued += attempt.phase == "queued";
  EXPECT_EQ(queued, 2);
  store_.Fail(absl::OkStatus());
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_EQ(store_.size(), static_cast<size_t>(Reporter::kUnstoredMax + 2));
}

TEST_F(AgentTest, RecordThatTheStoreRefusesIsATransientFailure) {
  store_.Fail(absl::PermissionDeniedError("NOPERM"));
  Start().Assign(MakeAssignment(1));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].failure, FailureClass::kTransient);
  EXPECT_EQ(reports[0].message, "cannot write the record: NOPERM");
}

TEST_F(AgentTest, ReportIsRepeatedUntilTheCoordinatorAnswers) {
  int tries = 0;
  link_.answer = [&](const AttemptReport&) -> absl::StatusOr<Disposition> {
    if (++tries < 4) return absl::UnavailableError("no coordinator");
    return Disposition::kDuplicate;
  };
  Start().Assign(MakeAssignment(1));
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_EQ(tries, 4);
  EXPECT_EQ(store_.size(), 1u);
}

TEST_F(AgentTest, RejectedOrUnknownReportIsForgotten) {
  link_.answer = [](const AttemptReport& report) -> absl::StatusOr<Disposition> {
    if (report.id.candidate == 1) return Disposition::kRejected;
    return absl::NotFoundError("no such job");
  };
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2));
  EXPECT_TRUE(agent_->WaitIdle(kPatience));
}

TEST_F(AgentTest, CancelStopsARunningAndDropsAQueuedAttempt) {
  Gate never;
  evaluator_.on_evaluate = [&](const Recipe&, std::stop_token stop) -> absl::StatusOr<Evaluation> {
    if (!never.Wait(stop)) return absl::CancelledError("stopped");
    return Evaluation();
  };
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  agent_->Cancel({"job-1", 2, 1});
  EXPECT_THAT(agent_->running(), SizeIs(1));
  agent_->Cancel({"job-1", 1, 1});
  agent_->Cancel({"job-1", 99, 1});  // unknown: nothing happens
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  EXPECT_THAT(link_.WaitReports(0), IsEmpty());
  EXPECT_EQ(store_.size(), 0u);
}

TEST_F(AgentTest, DrainFinishesWhatRunsAndReleasesTheRest) {
  Gate gate;
  EvaluationsWaitAt(&gate);
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  agent_->Drain();
  EXPECT_TRUE(agent_->draining());
  auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].id.candidate, 2);
  EXPECT_EQ(reports[0].failure, FailureClass::kReleased);
  agent_->Assign(MakeAssignment(3));
  reports = link_.WaitReports(2);
  ASSERT_THAT(reports, SizeIs(2));
  EXPECT_EQ(reports[1].failure, FailureClass::kReleased);
  EXPECT_EQ(reports[1].message, "the worker drains");
  gate.Open();
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
  reports = link_.WaitReports(3);
  ASSERT_THAT(reports, SizeIs(3));
  EXPECT_EQ(reports[2].id.candidate, 1);
  EXPECT_FALSE(reports[2].failure.has_value());
}

TEST_F(AgentTest, AssignmentsBeyondTheQueueAreReleased) {
  options_.queue_max = 1;
  Gate gate;
  EvaluationsWaitAt(&gate);
  Start().Assign(MakeAssignment(1));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  agent_->Assign(MakeAssignment(2));
  agent_->Assign(MakeAssignment(3));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].id.candidate, 3);
  EXPECT_EQ(reports[0].message, "the worker's queue is full");
  gate.Open();
  ASSERT_TRUE(agent_->WaitIdle(kPatience));
}

TEST_F(AgentTest, StopEndsAnEvaluationThatWaits) {
  Gate never;
  evaluator_.on_evaluate = [&](const Recipe&, std::stop_token stop) -> absl::StatusOr<Evaluation> {
    never.Wait(stop);
    return absl::CancelledError("stopped");
  };
  Start().Assign(MakeAssignment(1));
  ASSERT_TRUE(evaluator_.WaitStarted(1));
  agent_->Stop();
  agent_->Stop();
  EXPECT_THAT(link_.WaitReports(0), IsEmpty());
}

TEST_F(AgentTest, WhatAnEvaluatorThrowsIsATransientFailure) {
  evaluator_.on_evaluate = [](const Recipe&, std::stop_token) -> absl::StatusOr<Evaluation> {
    throw std::runtime_error("CUDA error");
  };
  evaluator_.on_prepare = []() -> absl::StatusOr<JobFacts> { throw 7; };
  Start().Assign(MakeAssignment(1));
  agent_->Assign(MakeAssignment(2, CandidateKind::kPrepare));
  const auto reports = link_.WaitReports(2);
  ASSERT_THAT(reports, SizeIs(2));
  EXPECT_EQ(reports[0].failure, FailureClass::kTransient);
  EXPECT_EQ(reports[0].message, "the evaluator threw: CUDA error");
  EXPECT_EQ(reports[1].failure, FailureClass::kTransient);
  EXPECT_EQ(reports[1].message, "the evaluator threw something that is no exception");
}

TEST_F(AgentTest, OversizedRecordIsInfeasibleAndSaysSo) {
  evaluator_.on_evaluate = [](const Recipe&, std::stop_token) -> absl::StatusOr<Evaluation> {
    Evaluation evaluation;
    SampleOutcome sample;
    sample.completion = std::string((size_t{64} << 20) + 1, 'x');
    evaluation.results = {{"b", {{"acc", 1}}, {sample}}};
    return evaluation;
  };
  Start().Assign(MakeAssignment(1));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].failure, FailureClass::kInfeasible);
  EXPECT_THAT(reports[0].message, HasSubstr("bytes, more than 67108864"));
}

struct ClassCase {
  absl::Status status;
  FailureClass want;
};
class FailureClassTest : public AgentTest, public testing::WithParamInterface<ClassCase> {};
TEST_P(FailureClassTest, FollowsTheCode) {
  evaluator_.on_evaluate = [](const Recipe&, std::stop_token) -> absl::StatusOr<Evaluation> { return GetParam().status; };
  Start().Assign(MakeAssignment(1));
  const auto reports = link_.WaitReports(1);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].failure, GetParam().want);
  EXPECT_EQ(reports[0].message, GetParam().status.message());
  EXPECT_EQ(store_.size(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Codes, FailureClassTest,
                         testing::Values(ClassCase{absl::InvalidArgumentError("nan"), FailureClass::kInfeasible},
                                         ClassCase{absl::FailedPreconditionError("no dictionary"), FailureClass::kTransient},
                                         ClassCase{absl::OutOfRangeError("too large"), FailureClass::kInfeasible},
                                         ClassCase{absl::NotFoundError("no model"), FailureClass::kTransient},
                                         ClassCase{absl::PermissionDeniedError("root"), FailureClass::kTransient},
                                         ClassCase{absl::UnimplementedError("family"), FailureClass::kInfeasible},
                                         ClassCase{absl::DataLossError("file"), FailureClass::kInfeasible},
                                         ClassCase{absl::ResourceExhaustedError("memory"), FailureClass::kOutOfMemory},
                                         ClassCase{absl::UnavailableError("away"), FailureClass::kUnavailable},
                                         ClassCase{absl::AbortedError("the evaluator died"), FailureClass::kCrashed},
                                         ClassCase{absl::InternalError("bug"), FailureClass::kTransient},
                                         ClassCase{absl::CancelledError("own"), FailureClass::kTransient}),
                         [](const auto& info) { return absl::StatusCodeToString(info.param.status.code()); });

TEST_F(AgentTest, MetricsCountAttemptsTokensAndTheSpool) {
  WorkerMetrics metrics;
  evaluator_.on_evaluate = [](const Recipe&, std::stop_token) -> absl::StatusOr<Evaluation> {
    Evaluation evaluation;
    evaluation.prompt_tokens = 100;
    evaluation.generated_tokens = 20;
    evaluation.merged_bytes = 1000;
    evaluation.timings.decode = 1.5;
    return evaluation;
  };
  Agent agent(&evaluator_, &store_, options_, &link_, &metrics);
  agent.Assign(MakeAssignment(1));
  ASSERT_TRUE(agent.WaitIdle(kPatience));
  std::map<std::string, double> values;
  for (const auto& family : metrics.registry().Collect()) {
    EXPECT_THAT(family.name, testing::MatchesRegex("merganser_[a-z_]+"));
    for (const auto& metric : family.metric) {
      std::string key = family.name;
      for (const auto& label : metric.label) key += "/" + label.value;
      values[key] = family.type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value;
    }
  }
  EXPECT_EQ(values["merganser_worker_attempts_total/succeeded"], 1);
  EXPECT_EQ(values["merganser_worker_reports_total/committed"], 1);
  EXPECT_EQ(values["merganser_eval_tokens_total/prompt"], 100);
  EXPECT_EQ(values["merganser_eval_tokens_total/generated"], 20);
  EXPECT_EQ(values["merganser_worker_phase_seconds_total/decode"], 1.5);
  EXPECT_EQ(values["merganser_merge_bytes_total"], 1000);
  EXPECT_EQ(values["merganser_spool_results"], 0);
  EXPECT_EQ(values[absl::StrCat("merganser_build_info/", kVersion)], 1);
}

}  // namespace
}  // namespace merganser
