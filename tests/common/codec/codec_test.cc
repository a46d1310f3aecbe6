#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/recipe_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

Recipe FullRecipe() {
  Recipe recipe;
  recipe.models = {{"base", "/m/base"}, {"ja", "org/ja@main"}};
  GroupSettings settings;
  settings.group = {"layers.2-3", {ModelPart::kLayers}, 2, 4, "mlp"};
  settings.source_parameters = {{{"weight", 0.1 + 0.2}, {"density", 0.5}}};
  settings.parameters = {{"lambda", 1.25}};
  recipe.stacks = {{"merge", "ties", "base", {"ja"}, {settings}}, {"ja", "", "", {"ja"}, {}}};
  recipe.stacks[0].arithmetic = Arithmetic::kMergekit;
  recipe.path = {{0, 1, 1.0}, {1, 0, 0.75}};
  recipe.tokenizer_from = "ja";
  recipe.dtype = "float16";
  recipe.mask_seed = ~0ull;
  recipe.models[1].lora = "org/lora";
  recipe.models[1].rename = {{"", "language_model."}};
  recipe.stacks[0].layer_offsets = {{"ja", -2}};
  recipe.embedding_from = "ja";
  recipe.head_from = "merge";
  recipe.config_from = "base";
  recipe.head = "untied";
  recipe.vocabulary_from = "ja";
  recipe.tokenizer = {
      "union", {{"<x>", "ja", "<y>", -1, false, true}, {"<z>", "base", "", 3}, {"<0>", "", "", -1, true}, {"", "base"}}, 64};
  recipe.chat_template = "auto";
  return recipe;
}

JobSpec FullSpec() {
  JobSpec spec;
  spec.name = "job";
  spec.seed = 42;
  spec.models = {{"base", "/m/base"}, {"ja", "/m/ja"}};
  spec.parameter = {"ties",
                    "base",
                    {"ja"},
                    {Granularity::Kind::kFilters, 0, {"self_attn", "mlp"}},
                    {{"weight", {0, 2}}, {"density", {0.1, 1}}},
                    {{"lambda", 1.5}},
                    {},
                    ""};
  spec.dtype = "float32";
  spec.optimizer = {"cma_es",
                    {{"population", 12}, {"sigma0", 1.0 / 6}},
                    {{"preset", "published"}, {"update", "generation"}, {"bounds", "resample"}}};
  spec.objectives = {{"b", "acc_ja"}};
  BenchmarkSpec b{"b", "mgsm_ja", "/d.jsonl", "Q: {{question}}\n", 36, std::vector<std::string>{"\n\n"}, "sakana", "ja",
                  50,  "q",       "a"};
  spec.benchmarks = {b};
  b.name = "c";
  b.stop = std::vector<std::string>{};
  spec.held_out = {b};
  spec.budget = {400, 30, 90000, absl::Hours(2), 0.9};
  spec.max_attempts = 5;
  spec.config_from = "ja";
  using Space = DataFlowSpace;
  spec.data_flow = Space{
      {"merged", "ja"}, Space::Encoding::kPublished, 3, Space::Scales::kMatrix, {0.5, 1.5}, 0, Space::Ends::kSearch, 65};
  SearchStage stage;
  stage.parameter.methods = {"ties", "linear"};
  stage.parameter.sources = {"ja"};
  stage.parameter.start = "winner";
  stage.optimizer = {"random", {{"population", 8}}, {}};
  stage.budget.generations = 3;
  spec.then = {stage};
  spec.mode = SearchMode::kRolling;
  spec.objectives.push_back({"cost", "hops", 0.25});
  spec.samples = {200, Racing{32, 0.9}, "information"};
  spec.budget.gpu_time = absl::Hours(500);
  spec.constraints = {{"b", "acc", 0.5, std::nullopt, ""},
                      {"cost", "hops", std::nullopt, 40, ""},
                      {"b", "acc", std::nullopt, std::nullopt, "ja"}};
  spec.finalists = {8, "b", "acc"};
  spec.attempt_timeout = absl::Minutes(45);
  spec.priority = -3;
  spec.share = 2.5;
  spec.workers = {int64_t{80} << 30, "cuda", {{"pool", "a100"}}};
  return spec;
}

Candidate FullCandidate() {
  Candidate c;
  c.number = 7;
  c.kind = CandidateKind::kSearch;
  c.stage = 1;
  c.generation = 2;
  c.proposal = 30;
  c.genome = {0.1, 1.0 / 3};
  c.recipe = FullRecipe();
  c.benchmarks = {"b"};
  c.state = CandidateState::kSucceeded;
  c.attempts = {{1, "t1", "w1", absl::FromUnixNanos(1'700'000'000'123'456'789), true, FailureClass::kWorkerLost, "gone"},
                {2, "t2", "w2", absl::FromUnixSeconds(1'700'000'100), true, std::nullopt, "", true}};
  c.attempts[1].blocks = 2;
  c.attempts[1].scored = true;
  c.attempts[0].forgiven = true;
  c.blocks = 3;
  c.stop = RaceStop{5, 32, 96, 9, 2, -0.25};
  c.fitness = {0.58};
  c.metrics = {{"b", {{"acc", 0.6}, {"acc_ja", 0.58}}}};
  c.record_key = "result:{job-1}:7:2:t2";
  c.record_sha256 = "ab";
  c.timings = {1, 2, 3, 4, 5, 6};
  c.create_time = absl::FromUnixSeconds(1'700'000'000);
  c.end_time = absl::FromUnixSeconds(1'700'000'200);
  return c;
}

TEST(CodecTest, RecipesSurviveTheTrip) {
  const auto back = FromProto(ToProto(FullRecipe()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, FullRecipe());
}

TEST(CodecTest, JobSpecsSurviveTheTrip) {
  const auto back = ProtoJobCodec().DecodeSpec(ProtoJobCodec().EncodeSpec(FullSpec()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, FullSpec());
}

TEST(CodecTest, BlocksMaySplitByFilters) {
  JobSpec spec = FullSpec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 4, .filters = {"mlp"}};
  v1::JobSpec proto = ToProto(spec);
  const auto back = FromProto(proto);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->parameter.granularity, spec.parameter.granularity);
  auto& fields =
      *proto.mutable_space()->mutable_parameter()->mutable_granularity()->mutable_struct_value()->mutable_fields();
  fields["layers"] = fields["block"];
  EXPECT_EQ(
      FromProto(proto).status().message(),
      "space.parameter.granularity: unknown 'layers'; give model, layer, {block: n}, {filters: [substring, ...]} or both "
      "in one map");
  fields.erase("layers");
  fields["filters"].mutable_list_value()->clear_values();
  EXPECT_EQ(FromProto(proto).status().message(), "space.parameter.granularity.filters: empty");
}

TEST(CodecTest, OptimizersKeepTheirNamesAndOptions) {
  const std::vector<OptimizerSpec> specs = {
      {"cma_es",
       {{"restarts", 0}, {"mean", 0.25}},
       {{"covariance", "separable"}, {"discrete", "margin"}, {"learning_rate", "fixed"}}},
      {"nsga2", {{"population", 40}}, {}},
      {"mo_cma_es", {{"population", 20}, {"sigma0", 0.125}}, {}},
      {"gp", {}, {}},
      {"niche", {{"sigma0", 0.05}, {"inject", 0.25}}, {}},
      {"random", {{"population", 3}}, {}}};
  for (const OptimizerSpec& optimizer : specs) {
    JobSpec spec = FullSpec();
    spec.optimizer = optimizer;
    const auto back = ProtoJobCodec().DecodeSpec(ProtoJobCodec().EncodeSpec(spec));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->optimizer, optimizer) << optimizer.name;
  }
}

TEST(CodecTest, ANetworkOfScalesHasFourHiddenUnitsUnlessSaidOtherwise) {
  v1::JobSpec proto = ToProto(FullSpec());
  v1::DataFlowSpace* space = proto.mutable_space()->mutable_data_flow();
  space->set_scales("network");
  EXPECT_EQ(FromProto(proto)->data_flow->hidden_units, 4);
  space->set_hidden_units(9);
  const auto spec = FromProto(proto);
  EXPECT_EQ(spec->data_flow->hidden_units, 9);
  EXPECT_EQ(*FromProto(ToProto(*spec)), *spec);
  space->set_hidden_units(0);
  EXPECT_THAT(std::string(FromProto(proto).status().message()),
              testing::HasSubstr("space.data_flow.hidden_units: 0 is below 1"));
}

TEST(CodecTest, CandidatesSurviveTheTrip) {
  const auto back = FromProto(ToProto(FullCandidate()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, FullCandidate());
}

TEST(CodecTest, EverySortOfEventSurvivesTheTrip) {
  const absl::Time time = absl::FromUnixNanos(1'700'000'000'000'000'001);
  CandidateFinished finished{7, CandidateState::kSucceeded, 2, {0.5}, {{"b", {{"acc", 0.5}}}}, "key", "sha", "", {}, {}};
  JobFacts facts{
      6, 1000, 2000, 3000, {{"b", 200}}, {{"b", 9000}}, "MistralForCausalLM", {{"b", 20}}, {{"ja", "ab12"}}, {{"b", 7200}}};
  ScoresByBenchmark scores;
  scores["b"].Add("acc", {0, 7, 64}, {1, 0, 1});
  scores["b"].Add("rouge", {0, 7, 64}, {0.25, 0, 1.0 / 3});
  CandidateFinished stopped = finished;
  stopped.scores = scores;
  stopped.stop = RaceStop{3, 16, 48, 6, 0, -0.375};
  CandidateFinished prepared{0, CandidateState::kSucceeded, 1, {}, {}, "key", "sha", "", {}, facts};
  for (const JobEvent& event :
       {JobEvent{time, CandidatesProposed{{FullCandidate()}, 20, 16}}, JobEvent{time, AttemptStarted{7, 2, "t", "w"}},
        JobEvent{time, AttemptEnded{7, 1, FailureClass::kTransient, "why"}}, JobEvent{time, finished},
        JobEvent{time, prepared}, JobEvent{time, stopped},
        JobEvent{time, BlockScored{7, 2, scores, "key", "sha", {1, 2, 3}}}, JobEvent{time, BlockScored{.candidate = 8}},
        JobEvent{time, RaceAdvanced{{3, 7}, 4}}, JobEvent{time, PhaseStarted{JobPhase::kHeldOut, "m"}},
        JobEvent{time, AttemptStarted{7, 3, "t", "w", true}},
        JobEvent{time, AttemptEnded{7, 1, FailureClass::kOutOfMemory, "oom"}},
        JobEvent{time, ActionTaken{.kind = ActionKind::kPaused, .by = "admin/alice", .message = "m"}},
        JobEvent{time, ActionTaken{.kind = ActionKind::kUpdated,
                       .settings = JobSettings{{{400, 0, 0}, {}}, 5, absl::Minutes(3), -7, 0.5},
                       .reopens = true}}}) {
    const std::string bytes = ProtoJobCodec().EncodeEvent(event);
    const auto back = ProtoJobCodec().DecodeEvent(bytes);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, event);
    EXPECT_EQ(ProtoJobCodec().EncodeEvent(*back), bytes);  // equal values, equal bytes: a repeated append is recognized
  }
}

TEST(CodecTest, RecordsSayWhatEachSampleGotWhereTheMetricIsTheirMean) {
  v1::ResultRecord record;
  Evaluation evaluation;
  BenchmarkResult& result = evaluation.results.emplace_back();
  result.benchmark = "b";
  result.metrics = {{"acc", 0.5}, {"mcc", 0.2}, {"rouge", 0.375}};
  result.numbers = {3, 9};
  for (const double acc : {1.0, 0.0}) {
    SampleOutcome& sample = result.samples.emplace_back();
    sample.correct = acc == 1;
    sample.values = {{"acc", acc}, {"mcc", acc}, {"rouge", 0.25 + acc / 4}, {"p", acc}};
  }
  *record.mutable_evaluation() = ToProto(evaluation);
  EXPECT_EQ(FromProto(record.evaluation()), evaluation);
  ScoresByBenchmark expected;
  expected["b"].Add("acc", {3, 9}, {1, 0});
  expected["b"].Add("rouge", {3, 9}, {0.5, 0.25});
  EXPECT_EQ(ProtoJobCodec().DecodeRecord(SerializeDeterministic(record))->scores, expected);
  record.mutable_evaluation()->mutable_results(0)->clear_numbers();
  EXPECT_EQ(ProtoJobCodec().DecodeRecord(SerializeDeterministic(record))->scores["b"].scored.Numbers(),
            (std::vector<int64_t>{0, 1}));
  record.mutable_evaluation()->mutable_results(0)->add_numbers(3);
  record.mutable_evaluation()->mutable_results(0)->add_numbers(9);
  record.mutable_evaluation()->mutable_results(0)->set_numbers(1, 3);  // twice the same sample
  EXPECT_TRUE(ProtoJobCodec().DecodeRecord(SerializeDeterministic(record))->scores.empty());
}

TEST(CodecTest, DamagedBytesAreDataLossOrAnotherValue) {
  const std::string bytes = ProtoJobCodec().EncodeEvent({absl::UnixEpoch(), CandidatesProposed{{FullCandidate()}}});
  for (size_t n = 0; n < bytes.size(); n += 3) {
    const auto event = ProtoJobCodec().DecodeEvent(bytes.substr(0, n));
    if (!event.ok()) {
      EXPECT_EQ(event.status().code(), absl::StatusCode::kDataLoss);
    }
  }
  EXPECT_EQ(ProtoJobCodec().DecodeEvent("\xff\xff").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ProtoJobCodec().DecodeRecord("").status().code(), absl::StatusCode::kDataLoss);
}

TEST(CodecTest, UnknownWordsListTheKnownOnes) {
  EXPECT_THAT(std::string(ParseCandidateState("suceeded").status().message()), HasSubstr("did you mean 'succeeded'"));
  v1::Recipe recipe = ToProto(FullRecipe());
  recipe.mutable_stacks(0)->mutable_settings(0)->mutable_group()->set_parts(0, "layer");
  EXPECT_THAT(std::string(FromProto(recipe).status().message()),
              HasSubstr("stacks[0].settings[0].group.parts: unknown part 'layer'; did you mean 'layers'?"));
}

TEST(CodecTest, AnUnknownArithmeticIsNamed) {
  v1::Recipe recipe = ToProto(FullRecipe());
  recipe.mutable_stacks(0)->set_arithmetic("bf16");
  EXPECT_EQ(FromProto(recipe).status().message(), "stacks[0].arithmetic: 'bf16' is neither 'fp32' nor 'mergekit'");
  recipe.mutable_stacks(0)->set_arithmetic("fp32");
  EXPECT_EQ(FromProto(recipe)->stacks[0].arithmetic, Arithmetic::kFp32);
}

TEST(CodecTest, ARuleOfTokensWithoutATokenHasAModelOnly) {
  Recipe recipe = FullRecipe();
  recipe.tokenizer.tokens = {{"", "base", "<y>"}};
  EXPECT_THAT(std::string(FromProto(ToProto(recipe)).status().message()), HasSubstr("tokenizer.tokens[0].token: missing"));
}

TEST(CodecTest, MistakesInAJobNameTheField) {
  v1::JobSpec spec = ToProto(FullSpec());
  spec.mutable_space()->mutable_parameter()->mutable_bounds()->at("weight").mutable_values()->RemoveLast();
  EXPECT_THAT(std::string(FromProto(spec).status().message()),
              HasSubstr("space.parameter.bounds.weight: must be two numbers: [low, high]"));
  spec = ToProto(FullSpec());
  spec.mutable_space()->mutable_parameter()->mutable_granularity()->set_string_value("layers");
  EXPECT_THAT(std::string(FromProto(spec).status().message()), HasSubstr("did you mean 'layer'?"));
  spec = ToProto(FullSpec());
  spec.mutable_space()->mutable_data_flow()->set_scales("slots");
  EXPECT_THAT(std::string(FromProto(spec).status().message()),
              HasSubstr("space.data_flow.scales: unknown 'slots'; did you mean 'slot'?"));
  spec = ToProto(FullSpec());
  spec.mutable_then(0)->clear_space();
  EXPECT_THAT(std::string(FromProto(spec).status().message()), HasSubstr("then[0].space: missing"));
  spec = ToProto(FullSpec());
  spec.mutable_then(0)->mutable_budget()->set_samples(0);
  EXPECT_THAT(std::string(FromProto(spec).status().message()), HasSubstr("then[0].budget.samples: 0 is no budget"));
}

// What an unset field means.
TEST(CodecTest, ThePublishedEncodingBringsItsRepeatsAndScales) {
  v1::JobSpec spec = ToProto(FullSpec());
  v1::DataFlowSpace& space = *spec.mutable_space()->mutable_data_flow();
  space.Clear();
  space.add_sources("ja");
  space.set_encoding("published");
  EXPECT_EQ(FromProto(spec)->data_flow->repeats, 3);
  EXPECT_EQ(FromProto(spec)->data_flow->scales, DataFlowSpace::Scales::kMatrix);
  space.clear_encoding();
  EXPECT_EQ(FromProto(spec)->data_flow->encoding, DataFlowSpace::Encoding::kPath);
  EXPECT_EQ(FromProto(spec)->data_flow->repeats, 1);
  EXPECT_EQ(FromProto(spec)->data_flow->scales, DataFlowSpace::Scales::kNone);
}

}  // namespace
}  // namespace merganser
