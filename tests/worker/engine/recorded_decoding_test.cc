// Steps of one token per sequence, padded, on fixed memory and recorded, are the steps that come one by one.
//
// The twin keeps the tensors that a step was recorded with, as a CUDA graph keeps their addresses: a recording that is run
// although the weights are elsewhere gives the old candidate's tokens here too.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "absl/strings/match.h"
#include "tests/worker/engine/engine_testing.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/aten_runner.h"
#include "worker/engine/device.h"
#include "worker/engine/generation_run.h"
#include "worker/engine/recorded_steps.h"
#include "worker/engine/step_recorder.h"

namespace merganser {
namespace {

using testing::HasSubstr;

struct Counts {
  int recordings = 0;
  int replays = 0;
};

// A recorder that says what it does.
class CountingRecorder : public StepRecorder {
 public:
  CountingRecorder(std::unique_ptr<StepRecorder> recorder, Counts* counts)
      : recorder_(std::move(recorder)), counts_(*counts) {}
  explicit CountingRecorder(Counts* counts) : CountingRecorder(std::make_unique<RepeatingRecorder>(), counts) {}

  std::unique_ptr<StepGraph> Record(const std::function<void()>& step) override {
    ++counts_.recordings;
    return std::make_unique<Graph>(recorder_->Record(step), counts_);
  }

 private:
  class Graph : public StepGraph {
   public:
    Graph(std::unique_ptr<StepGraph> graph, Counts& counts) : graph_(std::move(graph)), counts_(counts) {}
    void Replay() override {
      ++counts_.replays;
      graph_->Replay();
    }

   private:
    const std::unique_ptr<StepGraph> graph_;
    Counts& counts_;
  };
  const std::unique_ptr<StepRecorder> recorder_;
  Counts& counts_;
};

// What a device that cannot record does.
class FailingRecorder : public StepRecorder {
 public:
  explicit FailingRecorder(int* attempts) : attempts_(*attempts) {}
  std::unique_ptr<StepGraph> Record(const std::function<void()>& step) override {
    ++attempts_;
    step();
    throw std::runtime_error("operation not permitted when stream is capturing");
  }

 private:
  int& attempts_;
};

std::vector<LayerHop> WholePath(const ModelConfig& config) {
  std::vector<LayerHop> path;
  for (int i = 0; i < config.num_layers; ++i) path.push_back({i, 1.0f});
  return path;
}

struct Engine {
  ModelConfig config;
  EngineOptions options;
  std::unique_ptr<AtenRunner> runner;

  absl::Status Load(const WeightSource& weights, std::vector<LayerHop> path = {}) {
    return runner->LoadWeights({{{&weights}}, path.empty() ? WholePath(config) : path});
  }
  absl::StatusOr<std::vector<Generation>> Generate(const std::vector<GenerationRequest>& requests, std::stop_token stop = {},
                                                   const GenerationProgress& progress = nullptr) {
    GenerationTimings timings;
    return GenerationRun(*runner, options, config.vocab_size, config.hidden_size, timings)
        .Run(requests, /*reuse=*/false, stop, progress);
  }
};

// Through ATen in fp32, where rounding hides nothing. Without a recorder: every step as it comes.
Engine MakeEngine(const ModelConfig& config, int sequences, std::unique_ptr<StepRecorder> recorder, int64_t max_length = 96,
                  int max_hops = 0) {
  at::set_num_threads(1);  // torch's threads spin when the machine is busy
  Engine engine{config, {.max_sequences = sequences, .max_batch_tokens = 64, .eos_token_ids = {5, 11, 40}}};
  auto runner = AtenRunner::Create(config, c10::Device(c10::kCPU), at::kFloat, sequences + 1, max_length,
                                   max_hops > 0 ? max_hops : static_cast<int>(config.num_layers), std::move(recorder));
  EXPECT_TRUE(runner.ok()) << runner.status();
  engine.runner = std::move(*runner);
  return engine;
}

std::vector<GenerationRequest> Requests(int count, uint64_t seed, int max_new_tokens, int vocab = 64) {
  std::vector<GenerationRequest> requests;
  for (auto& prompt : RandomPrompts(count, seed, vocab)) {
    for (int32_t& token : prompt) token = std::max(token, 1);
    // Other lengths, so that sequences leave at other times.
    requests.push_back({prompt, max_new_tokens - static_cast<int>(requests.size()) * 5 % (max_new_tokens / 2), {}});
  }
  return requests;
}

void ExpectSame(const absl::StatusOr<std::vector<Generation>>& got, const absl::StatusOr<std::vector<Generation>>& want) {
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_TRUE(want.ok()) << want.status();
  ASSERT_EQ(got->size(), want->size());
  for (size_t i = 0; i < got->size(); ++i) {
    EXPECT_EQ((*got)[i].tokens, (*want)[i].tokens) << i;
    EXPECT_EQ((*got)[i].reason, (*want)[i].reason) << i;
  }
}

class ModelsTest : public testing::TestWithParam<const char*> {};

TEST_P(ModelsTest, RecordedStepsGiveTheSameTokens) {
  const auto checkpoint = Checkpoint::Open(std::string(MG_SOURCE_DIR) + "/" + GetParam());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const ModelConfig& config = (*checkpoint)->config();
  const CheckpointWeights weights(*checkpoint);
  std::vector<LayerHop> path = WholePath(config);
  if (config.num_hops > 0) path = *ReadStoredPath(weights, config.num_hops);
  const auto requests = Requests(11, 5, 24, static_cast<int>(config.vocab_size));
  for (const int sequences : {1, 3, 10}) {  // in 1 row; in 4, 2 and 1; in all 11 slots, 8 and so on
    Counts counts;
    Engine recorded =
        MakeEngine(config, sequences, std::make_unique<CountingRecorder>(&counts), 96, static_cast<int>(path.size()));
    Engine plain = MakeEngine(config, sequences, nullptr, 96, static_cast<int>(path.size()));
    ASSERT_TRUE(recorded.Load(weights, path).ok());
    ASSERT_TRUE(plain.Load(weights, path).ok());
    ExpectSame(recorded.Generate(requests), plain.Generate(requests));
    EXPECT_GT(counts.replays, 0) << sequences;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ModelsTest,
                         testing::Values("examples/ja-math/base", "examples/ja-math/ja", "examples/ja-math/math-en",
                                         "tests/worker/engine/testdata/biases", "tests/worker/engine/testdata/dynamic_rope",
                                         "tests/worker/engine/testdata/evomistral", "tests/worker/engine/testdata/gemma",
                                         "tests/worker/engine/testdata/gemma2", "tests/worker/engine/testdata/gemma3",
                                         "tests/worker/engine/testdata/longrope_long",
                                         "tests/worker/engine/testdata/qwen2_window", "tests/worker/engine/testdata/qwen3",
                                         "tests/worker/engine/testdata/sliding_window", "tests/worker/engine/testdata/tied"),
                         [](const auto& info) {
                           std::string name = info.param;
                           name = name.substr(name.rfind('/') + 1);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class RecordedDecodingTest : public testing::Test {
 protected:
  ModelConfig config_ = SmallConfig();
  const RandomWeights weights_{config_, 1};
  Counts counts_;
};

TEST_F(RecordedDecodingTest, LogitsAreThoseOfTheStepAsItComes) {
  for (const int64_t window : {0, 9}) {
    config_.sliding_window = window;
    config_.architecture = window > 0 ? "MistralForCausalLM" : "LlamaForCausalLM";
    Engine recorded = MakeEngine(config_, 5, std::make_unique<CountingRecorder>(&counts_));
    Engine plain = MakeEngine(config_, 5, nullptr);
    ASSERT_TRUE(recorded.Load(weights_).ok());
    ASSERT_TRUE(plain.Load(weights_).ok());
    const StepBatch prompts{{1, 2, 3, 4, 5, 6, 7, 8, 9}, {{4, 0, 4, 1}, {0, 0, 2, 1}, {2, 0, 3, 1}}};
    std::vector<RowResult> results(3);
    for (AtenRunner* runner : {recorded.runner.get(), plain.runner.get()}) {
      ASSERT_TRUE(runner->Step(prompts, {absl::MakeSpan(results)}).ok());
    }
    for (int i = 0; i < 30; ++i) {
      // Slots in any order, and not the same number in each step.
      StepBatch batch{{7 + i, 3, 60 - i}, {{4, 4 + i, 1, 1}, {0, 2 + i, 1, 1}, {2, 3 + i, 1, 1}}};
      batch.log_sums = true;
      std::vector<std::vector<float>> logits;
      std::vector<std::vector<RowResult>> rows;
      for (AtenRunner* runner : {recorded.runner.get(), plain.runner.get()}) {
        logits.emplace_back(3 * 64);
        rows.emplace_back(3);
        ASSERT_TRUE(runner->Step(batch, {absl::MakeSpan(rows.back()), {}, logits.back().data()}).ok());
      }
      EXPECT_LE(MaxDifference(logits[0], logits[1]), 1e-5) << i;
      for (int row = 0; row < 3; ++row) {
        EXPECT_EQ(rows[0][row].argmax, rows[1][row].argmax);
        EXPECT_NEAR(rows[0][row].log_sum, rows[1][row].log_sum, 1e-5);
      }
    }
  }
  EXPECT_EQ(counts_.recordings, 2);  // one bucket of each engine
  EXPECT_EQ(counts_.replays, 2 * (30 - RecordedSteps::kUses + 1));
}

TEST_F(RecordedDecodingTest, BoundsOfLongSequencesGrow) {
  config_.max_position_embeddings = 700;
  Engine recorded = MakeEngine(config_, 2, std::make_unique<CountingRecorder>(&counts_), 700);
  Engine plain = MakeEngine(config_, 2, nullptr, 700);
  ASSERT_TRUE(recorded.Load(weights_).ok());
  ASSERT_TRUE(plain.Load(weights_).ok());
  std::vector<int32_t> prompt(230);
  std::iota(prompt.begin(), prompt.end(), 0);
  for (int32_t& token : prompt) token = 1 + token * 7 % 63;
  recorded.options.eos_token_ids = plain.options.eos_token_ids = {};
  const std::vector<GenerationRequest> requests{{prompt, 330, {}}};
  ExpectSame(recorded.Generate(requests), plain.Generate(requests));
  EXPECT_EQ(counts_.recordings, 3);  // 256, 512, 700
}

TEST_F(RecordedDecodingTest, RefilledWeightsRunTheRecordingsOfTheFirst) {
  for (const char* kind : {"", "gemma3"}) {  // Gemma's norms are computed from the weights
    ModelConfig config = config_;
    if (*kind != '\0')
      config = (*Checkpoint::Open(std::string(MG_SOURCE_DIR) + "/tests/worker/engine/testdata/" + kind))->config();
    Counts counts;
    Engine recorded = MakeEngine(config, 4, std::make_unique<CountingRecorder>(&counts));
    Engine plain = MakeEngine(config, 4, nullptr);
    recorded.options.eos_token_ids = plain.options.eos_token_ids = {};  // steps of the same sizes for every candidate
    const auto requests = Requests(5, 3, 20, static_cast<int>(config.vocab_size));
    ASSERT_TRUE(recorded.Load(RandomWeights(config, 1)).ok());
    for (int i = 0; i < RecordedSteps::kUses; ++i) ASSERT_TRUE(recorded.Generate(requests).ok());
    const Counts first = counts;
    EXPECT_GT(first.recordings, 1) << kind;
    ASSERT_TRUE(recorded.Generate(requests).ok());
    const int steps = counts.replays - first.replays;  // of one run
    EXPECT_GT(steps, 20) << kind;
    for (const uint64_t seed : {2, 3}) {
      const RandomWeights candidate(config, seed);
      const int before = counts.replays;
      ASSERT_TRUE(recorded.Load(candidate).ok());
      ASSERT_TRUE(plain.Load(candidate).ok());
      ExpectSame(recorded.Generate(requests), plain.Generate(requests));
      EXPECT_EQ(counts.replays - before, steps) << kind << seed;
    }
    EXPECT_EQ(counts.recordings, first.recordings) << kind;
  }
}

TEST_F(RecordedDecodingTest, WeightsElsewhereAreRecordedAnew) {
  // Read in place: the second arena lies elsewhere, and a recording of the first would read the first.
  RandomWeights first(config_, 1), second(config_, 2);
  first.alias = second.alias = true;
  const auto requests = Requests(3, 3, 24);
  Engine recorded = MakeEngine(config_, 3, std::make_unique<CountingRecorder>(&counts_));
  Engine plain = MakeEngine(config_, 3, nullptr);
  recorded.options.eos_token_ids = plain.options.eos_token_ids = {};
  int before = 0;
  for (const RandomWeights* weights : {&first, &second}) {
    ASSERT_TRUE(recorded.Load(*weights).ok());
    ASSERT_TRUE(plain.Load(*weights).ok());
    ExpectSame(recorded.Generate(requests), plain.Generate(requests));
    EXPECT_GT(counts_.recordings, before);
    before = counts_.recordings;
  }
}

TEST_F(RecordedDecodingTest, EachPathHasItsRecordings) {
  const std::vector<std::vector<LayerHop>> paths{
      {{0, 1.0f}, {1, 1.0f}}, {{1, 1.0f}, {0, 0.5f}, {1, 2.0f}}, {{0, 1.0f}, {1, 0.5f}}};
  const auto requests = Requests(3, 3, 24);
  Engine recorded = MakeEngine(config_, 3, std::make_unique<CountingRecorder>(&counts_), 96, 4);
  Engine plain = MakeEngine(config_, 3, nullptr, 96, 4);
  const auto run = [&](const std::vector<LayerHop>& path) {
    ASSERT_TRUE(recorded.Load(weights_, path).ok());
    ASSERT_TRUE(plain.Load(weights_, path).ok());
    ExpectSame(recorded.Generate(requests), plain.Generate(requests));
  };
  for (const auto& path : paths) {
    const int before = counts_.recordings;
    for (int i = 0; i < RecordedSteps::kUses; ++i) run(path);
    EXPECT_GT(counts_.recordings, before);
  }
  const int all = counts_.recordings;
  for (const auto& path : paths) run(path);
  EXPECT_EQ(counts_.recordings, all) << "a path that came back was recorded again";
}

TEST_F(RecordedDecodingTest, PaddingRowsAreNotRead) {
  // Token 0, with which rows are padded, is NaN; no sequence holds it, because it ends them.
  RandomWeights broken(config_, 1);
  const auto embedding = broken.Elements("model.embed_tokens.weight");
  for (int64_t i = 0; i < config_.hidden_size; ++i) *embedding[i] = std::numeric_limits<float>::quiet_NaN();
  const auto requests = Requests(7, 3, 40);
  Engine recorded = MakeEngine(config_, 10, std::make_unique<CountingRecorder>(&counts_));  // 7 sequences or fewer in 8 rows
  Engine plain = MakeEngine(config_, 10, nullptr);
  recorded.options.eos_token_ids = plain.options.eos_token_ids = {0};
  ASSERT_TRUE(recorded.Load(broken).ok());
  ASSERT_TRUE(plain.Load(broken).ok());
  ExpectSame(recorded.Generate(requests), plain.Generate(requests));
  EXPECT_GT(counts_.replays, 0);
}

TEST_F(RecordedDecodingTest, WhatABrokenCandidateLeftInTheCacheIsNotRead) {
  RandomWeights broken(config_, 2);
  for (float* x : broken.Elements("model.layers.0.self_attn.v_proj.weight")) *x = std::numeric_limits<float>::quiet_NaN();
  const auto requests = Requests(5, 3, 40);
  Engine recorded = MakeEngine(config_, 5, std::make_unique<CountingRecorder>(&counts_));
  Engine plain = MakeEngine(config_, 5, nullptr);
  ASSERT_TRUE(recorded.Load(broken).ok());
  EXPECT_THAT(std::string(recorded.Generate({{std::vector<int32_t>(80, 3), 4, {}}}).status().message()),
              HasSubstr("not finite"));
  ASSERT_TRUE(recorded.Load(weights_).ok());
  ASSERT_TRUE(plain.Load(weights_).ok());
  ExpectSame(recorded.Generate(requests), plain.Generate(requests));
  // And a candidate that breaks in a recorded step says so.
  ASSERT_TRUE(recorded.Load(broken).ok());
  StepBatch batch{{3, 4}, {{0, 0, 1, 1}, {1, 0, 1, 1}}};
  std::vector<RowResult> rows(2);
  for (int i = 0; i <= RecordedSteps::kUses; ++i) {
    EXPECT_THAT(std::string(recorded.runner->Step(batch, {absl::MakeSpan(rows)}).message()), HasSubstr("not finite"));
  }
}

TEST_F(RecordedDecodingTest, AStoppedRunLeavesNothingBehind) {
  const auto requests = Requests(6, 3, 60);
  Engine recorded = MakeEngine(config_, 3, std::make_unique<CountingRecorder>(&counts_));
  Engine plain = MakeEngine(config_, 3, nullptr);
  ASSERT_TRUE(recorded.Load(weights_).ok());
  ASSERT_TRUE(plain.Load(weights_).ok());
  std::stop_source source;
  int steps = 0;
  const auto stopped = recorded.Generate(requests, source.get_token(), [&](size_t, size_t) {
    if (++steps == 20) source.request_stop();
  });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
  ExpectSame(recorded.Generate(requests), plain.Generate(requests));
}

TEST_F(RecordedDecodingTest, WithoutRecordingsTheStepsAreTheSameBits) {
  int attempts = 0;
  const auto requests = Requests(9, 3, 40);
  Engine failing = MakeEngine(config_, 4, std::make_unique<FailingRecorder>(&attempts));
  Engine recorded = MakeEngine(config_, 4, std::make_unique<CountingRecorder>(&counts_));
  std::vector<std::vector<float>> logits;
  for (Engine* engine : {&failing, &recorded}) {
    ASSERT_TRUE(engine->Load(weights_).ok());
    const auto generations = engine->Generate(requests);
    ASSERT_TRUE(generations.ok()) << generations.status();
    StepBatch batch{{3, 9, 8}, {{0, 0, 1, 1}, {1, 0, 1, 1}, {2, 0, 1, 1}}};
    std::vector<RowResult> rows(3);
    logits.emplace_back(3 * 64);
    ASSERT_TRUE(engine->runner->Step(batch, {absl::MakeSpan(rows), {}, logits.back().data()}).ok());
  }
  EXPECT_EQ(attempts, 1) << "one failure is enough";
  EXPECT_GT(counts_.replays, 0);
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(RecordedStepsTest, AKeyIsRecordedWhenItComesOftenAndForgottenWhenOthersCame) {
  Counts counts;
  RecordedSteps steps(std::make_unique<CountingRecorder>(&counts));
  int runs = 0;
  const auto use = [&](uint64_t model) {
    for (int i = 0; i < RecordedSteps::kUses; ++i) steps.Run({{model}, 1, 256}, [&runs] { ++runs; });
  };
  for (int i = 1; i < RecordedSteps::kUses; ++i) steps.Run({{0}, 1, 256}, [&runs] { ++runs; });
  EXPECT_EQ(counts.recordings, 0);
  EXPECT_EQ(runs, RecordedSteps::kUses - 1);
  steps.Run({{0}, 1, 256}, [&runs] { ++runs; });
  EXPECT_EQ(counts.recordings, 1);
  EXPECT_EQ(counts.replays, 1);
  for (uint64_t model = 1; model < RecordedSteps::kKept; ++model) use(model);
  EXPECT_EQ(counts.recordings, RecordedSteps::kKept);
  steps.Run({{0}, 1, 256}, [&runs] { ++runs; });
  EXPECT_EQ(counts.replays, RecordedSteps::kKept + 1) << "the last place is still a place";
  use(RecordedSteps::kKept);  // takes the place of 1, which came longest ago
  EXPECT_EQ(counts.recordings, RecordedSteps::kKept + 1);
  steps.Run({{0}, 1, 256}, [&runs] { ++runs; });
  EXPECT_EQ(counts.recordings, RecordedSteps::kKept + 1);
  use(1);
  EXPECT_EQ(counts.recordings, RecordedSteps::kKept + 2);
}

TEST(RecordedStepsTest, SizesAreFew) {
  std::vector<int64_t> sizes;
  for (int64_t rows = 1; rows <= 1000; ++rows) {
    const int64_t bucket = RowBucket(rows, 4096);
    EXPECT_GE(bucket, rows);
    if (sizes.empty() || bucket != sizes.back()) sizes.push_back(bucket);
  }
  EXPECT_THAT(sizes, testing::ElementsAre(1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024));
  EXPECT_EQ(RowBucket(65, 70), 70);
  EXPECT_EQ(RowBucket(70, 70), 70);
  EXPECT_EQ(KeyBucket(1, 4096), 256);
  EXPECT_EQ(KeyBucket(256, 4096), 256);
  EXPECT_EQ(KeyBucket(257, 4096), 512);
  EXPECT_EQ(KeyBucket(600, 700), 700);
  EXPECT_EQ(KeyBucket(1, 32), 32);
}

// The library is compiled here, and loaded beside libtorch_cuda; what it does needs a device.
TEST(CudaGraphsTest, LibraryIsLoadedAndAsksForADevice) {
  const c10::Device cuda(c10::kCUDA, 0);
  const absl::Status device = PrepareDevice(cuda);
  if (absl::StrContains(device.message(), "this libtorch cannot")) GTEST_SKIP() << device;
  const auto recorder = MakeStepRecorder(cuda);
#ifndef MG_CUDA_GRAPHS
  EXPECT_THAT(std::string(recorder.status().message()), HasSubstr("libmerganser-cuda.so: no such file"));
#else
  if (device.ok()) {
    EXPECT_TRUE(recorder.ok()) << recorder.status();
  } else {
    EXPECT_THAT(std::string(recorder.status().message()), testing::StartsWith("preparing CUDA graphs: "));
  }
#endif
}

TEST(CudaGraphsTest, RecordedStepsAreTheBitsOfUnrecordedOnes) {
  const c10::Device cuda(c10::kCUDA, 0);
  if (const absl::Status device = PrepareDevice(cuda); !device.ok()) GTEST_SKIP() << device;
  const auto checkpoint = Checkpoint::Open(std::string(MG_SOURCE_DIR) + "/examples/ja-math/ja");
  ASSERT_TRUE(checkpoint.ok());
  const ModelConfig& config = (*checkpoint)->config();
  const auto requests = Requests(14, 5, 40, static_cast<int>(config.vocab_size));
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {  // flash attention, and by tables
    Counts counts;
    int attempts = 0;
    auto graphs = MakeStepRecorder(cuda);
    ASSERT_TRUE(graphs.ok()) << graphs.status();
    std::vector<std::unique_ptr<StepRecorder>> recorders;
    recorders.push_back(std::make_unique<CountingRecorder>(std::move(*graphs), &counts));
    recorders.push_back(std::make_unique<FailingRecorder>(&attempts));
    std::vector<std::vector<Generation>> generations;
    for (auto& recorder : recorders) {
      Engine engine{config, {.max_sequences = 10, .max_batch_tokens = 64}};
      auto runner = AtenRunner::Create(config, cuda, type, 11, 96, static_cast<int>(config.num_layers), std::move(recorder));
      ASSERT_TRUE(runner.ok()) << runner.status();
      engine.runner = std::move(*runner);
      ASSERT_TRUE(engine.Load(CheckpointWeights(*checkpoint)).ok());
      for (int candidate = 0; candidate < 2; ++candidate) {
        const auto generated = engine.Generate(requests);
        ASSERT_TRUE(generated.ok()) << generated.status();
        generations.push_back(*generated);
      }
    }
    EXPECT_GT(counts.replays, 20);
    for (const auto& other : generations) ExpectSame(other, generations[0]);
  }
}

}  // namespace
}  // namespace merganser
