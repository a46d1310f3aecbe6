// mergekit-evolve's configurations as jobs: what each key becomes, and what is refused with which words.
#include "common/config/evolve_file.h"

#include <filesystem>
#include <fstream>

#include "common/codec/job_spec_codec.h"
#include "common/config/job_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Tasks `qa` and `qb` without few-shots, `five` with five, `zero` with a 0 that is said, `hub` whose data is the Hub's.
EvolveOptions Tasks() {
  EvolveOptions options;
  options.find_task = [](const std::string& name) -> absl::StatusOr<EvolveTask> {
    if (name == "qa" || name == "qb") return EvolveTask{"/tasks/" + name + ".yaml", std::nullopt, ""};
    if (name == "five") return EvolveTask{"/tasks/five.yaml", 5, ""};
    if (name == "zero") return EvolveTask{"/tasks/zero.yaml", 0, ""};
    if (name == "hub") return EvolveTask{"/tasks/hub.yaml", std::nullopt, "org/data"};
    return absl::NotFoundError("no task '" + name + "'");
  };
  return options;
}

absl::StatusOr<EvolveJob> Read(const std::string& text, const EvolveOptions& options = Tasks()) {
  return ReadEvolveText(text, "some/My evolve.yml", options);
}

// A file whose genome is `genome`, with one plain task.
std::string WithGenome(const std::string& genome) {
  return "genome: {" + genome + "}\ntasks: [qa]\napply_chat_template: false\n";
}

// A file of two models with `rest` behind its genome.
std::string WithRest(const std::string& rest) { return "genome: {models: [o/a, o/b], merge_method: linear}\n" + rest; }

std::string ErrorOf(const std::string& text) {
  const auto job = Read(text);
  return job.ok() ? "read" : std::string(job.status().message());
}

TEST(EvolveFileTest, TheFormOfMergekitsDocumentation) {
  const auto job = Read(R"(genome:
    models:
      - org/model_1
      - org/model_2@v2
      - org/model_3+org/adapter
    merge_method: dare_ties
    base_model: org/base
    tokenizer_source: null # optional
    layer_granularity: 8
    normalize: false
    allow_negative_weights: false
    smooth: false
    filters:
      - self_attn
      - mlp
tasks:
  - name: qa
    weight: 0.5
    metric: "acc_norm,none"
  - qb
limit: 100
apply_chat_template: false
)");
  ASSERT_TRUE(job.ok()) << job.status();
  const JobSpec& spec = job->spec;
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  EXPECT_EQ(spec.name, "My-evolve");
  ASSERT_EQ(spec.models.size(), 4u);
  EXPECT_EQ(spec.models[2].name, "model_2");
  EXPECT_EQ(spec.models[2].path, "org/model_2@v2");
  EXPECT_EQ(spec.models[3].path, "org/model_3");
  EXPECT_EQ(spec.models[3].lora, "org/adapter");
  EXPECT_EQ(spec.parameter.method, "dare_ties");
  EXPECT_EQ(spec.parameter.base, "base");
  EXPECT_THAT(spec.parameter.sources, ElementsAre("model_1", "model_2", "model_3"));
  EXPECT_EQ(spec.parameter.granularity.kind, Granularity::Kind::kBlock);
  EXPECT_EQ(spec.parameter.granularity.block, 8);
  EXPECT_THAT(spec.parameter.granularity.filters, ElementsAre("self_attn", "mlp"));
  EXPECT_THAT(spec.parameter.bounds, UnorderedElementsAre(Pair("weight", Bounds{0, 2}), Pair("density", Bounds{0, 1})));
  EXPECT_THAT(spec.parameter.fixed, ElementsAre(Pair("normalize", 0)));
  EXPECT_EQ(spec.dtype, "bfloat16");
  EXPECT_THAT(spec.objectives, ElementsAre(Objective{"qa", "acc_norm", 0.5}, Objective{"qb", "acc", 1}));
  EXPECT_EQ(spec.benchmarks[0].use, "/tasks/qa.yaml");
  EXPECT_EQ(spec.benchmarks[1].limit, 100);
  EXPECT_EQ(spec.budget.candidates, 100);
  EXPECT_EQ(spec.optimizer, OptimizerSpec());
}

TEST(EvolveFileTest, TheJobIsWhatItsYamlSays) {
  const auto job =
      Read(WithGenome("models: [o/a, o/b], merge_method: ties, base_model: o/c, layer_granularity: 4, filters: [mlp]"));
  ASSERT_TRUE(job.ok()) << job.status();
  v1::JobSpec proto;
  const auto source = ReadYaml(WriteYaml(ToProto(job->spec)), "job.yaml", &proto);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto again = FromProto(proto);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, job->spec);
}

TEST(EvolveFileTest, GranularityFollowsLayersAndFilters) {
  using Kind = Granularity::Kind;
  const auto of = [](const std::string& more) {
    return Read(WithGenome("models: [o/a, o/b], merge_method: linear" + more))->spec.parameter.granularity;
  };
  EXPECT_EQ(of(""), Granularity{});
  EXPECT_EQ(of(", layer_granularity: 1"), Granularity{.kind = Kind::kLayer});
  EXPECT_EQ(of(", layer_granularity: 4"), (Granularity{.kind = Kind::kBlock, .block = 4}));
  EXPECT_EQ(of(", filters: [mlp]"), (Granularity{.kind = Kind::kFilters, .filters = {"mlp"}}));
  EXPECT_EQ(of(", filters: [mlp], layer_granularity: 1"),
            (Granularity{.kind = Kind::kBlock, .block = 1, .filters = {"mlp"}}));
  // Where there is nothing between the middles of blocks, smooth is the same.
  EXPECT_EQ(of(", smooth: true"), Granularity{});
  EXPECT_EQ(of(", smooth: true, layer_granularity: 1"), Granularity{.kind = Kind::kLayer});
}

TEST(EvolveFileTest, BoundsHoldEveryRatioOfNormalizedWeights) {
  const auto of = [](const std::string& more) {
    const auto job = Read(WithGenome("models: [o/a, o/b], base_model: o/c, " + more));
    return std::pair(job->spec.parameter.bounds.at("weight"), job->spec.parameter.fixed.at("normalize"));
  };
  EXPECT_EQ(of("merge_method: ties"), std::pair(Bounds({0, 1}), 1.0));
  EXPECT_EQ(of("merge_method: ties, normalize: false"), std::pair(Bounds({0, 2}), 0.0));
  EXPECT_EQ(of("merge_method: task_arithmetic"), std::pair(Bounds({0, 2}), 0.0));
  EXPECT_EQ(of("merge_method: task_arithmetic, allow_negative_weights: true"), std::pair(Bounds({-1, 2}), 0.0));
  EXPECT_EQ(of("merge_method: dare_ties, allow_negative_weights: true"), std::pair(Bounds({-1, 2}), 1.0));
}

TEST(EvolveFileTest, SlerpOfTwoSearchesBetweenThem) {
  const auto job = Read(WithGenome("models: [o/a, o/b], merge_method: slerp, layer_granularity: 2"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(Validate(job->spec).ok()) << Validate(job->spec);
  EXPECT_EQ(job->spec.parameter.base, "a");
  EXPECT_THAT(job->spec.parameter.sources, ElementsAre("b"));
  EXPECT_THAT(job->spec.parameter.bounds, ElementsAre(Pair("t", Bounds{0, 1})));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b, o/c], merge_method: slerp")),
              HasSubstr("My evolve.yml:1: genome.models: slerp of 3 models"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b], merge_method: slerp, filters: [mlp]")),
              HasSubstr("genome.filters: has no meaning for slerp"));
}

TEST(EvolveFileTest, TheTokenizerIsTheBasesOrTheFirstSources) {
  const auto first = Read(WithGenome("models: [o/a, o/b], merge_method: linear, tokenizer_source: o/b"));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(TokenizerModel(first->spec), "b");
  EXPECT_EQ(TokenizerModel(Read(WithGenome("models: [o/a, o/b], merge_method: linear, base_model: o/b"))->spec), "b");
  EXPECT_EQ(TokenizerModel(
                Read(WithGenome("models: [o/a, o/b], merge_method: ties, base_model: o/c, tokenizer_source: base"))->spec),
            "c");
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b], merge_method: ties, base_model: o/c, tokenizer_source: o/a")),
              HasSubstr("genome.tokenizer_source: candidates have the tokenizer of base_model; write `base`"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b], merge_method: linear, tokenizer_source: union")),
              HasSubstr("genome.tokenizer_source: a search does not unite tokenizers"));
}

TEST(EvolveFileTest, ABaseAmongTheModelsHasNoWeight) {
  const auto job = Read(WithGenome("models: [o/a, o/b], merge_method: task_arithmetic, base_model: o/a"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->spec.parameter.sources, ElementsAre("b"));
  EXPECT_THAT(job->notes, testing::Contains(HasSubstr("a is the base")));
}

TEST(EvolveFileTest, ModelsOfOneFolderNameHaveNamesOfTheirOwn) {
  const auto job = Read(
      WithGenome("models: [x/model, y/model, {model: {path: z/merged, revision: v1}, lora: l/m}], merge_method: linear"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->spec.parameter.sources, ElementsAre("model", "model-2", "merged-2"));
  EXPECT_EQ(job->spec.models[0].path, "z/merged@v1");
  EXPECT_EQ(job->spec.models[0].lora, "l/m");
}

TEST(EvolveFileTest, MetricsOfAFilterCarryItsName) {
  const auto job =
      Read(WithRest("tasks: [{name: qa, metric: 'exact_match,strict-match'}, {name: qa, metric: 'f1,none', weight: 2}]\n"
                    "apply_chat_template: false\n"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->spec.objectives, ElementsAre(Objective{"qa", "exact_match@strict-match", 1}, Objective{"qa", "f1", 2}));
  EXPECT_EQ(job->spec.benchmarks.size(), 1u);
  EXPECT_THAT(ErrorOf(WithRest("tasks: [{name: qa, metric: acc}]\n")),
              HasSubstr("My evolve.yml:2: tasks[0].metric: 'acc' is not METRIC,FILTER, as `acc,none` is"));
  EXPECT_THAT(ErrorOf(WithRest("tasks: [{name: qa, weight: -1}]\n")), HasSubstr("tasks[0].weight: -1 is below 0"));
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa, qa]\n")), HasSubstr("tasks[1]: 'qa' is there already"));
}

TEST(EvolveFileTest, FewShotsAreThoseOfTheTasksFile) {
  const auto with = [](const std::string& task, int shots) {
    return ErrorOf(
        WithRest("tasks: [" + task + "]\nnum_fewshot: " + std::to_string(shots) + "\napply_chat_template: false\n"));
  };
  EXPECT_EQ(with("five", 5), "read");
  EXPECT_EQ(with("qa", 0), "read");
  EXPECT_EQ(with("zero", 3), "read");  // as lm-evaluation-harness does: it is not overridden
  EXPECT_THAT(with("five", 3),
              HasSubstr("My evolve.yml:3: num_fewshot: 3, but a job's few-shots are those of the task's file, "
                        "where /tasks/five.yaml has 5; write `num_fewshot: 3` there"));
  EXPECT_THAT(with("qa", 2), HasSubstr("{include: qa.yaml, task: qa_2shot, num_fewshot: 2}"));
}

TEST(EvolveFileTest, DataOfTheHubIsAskedFor) {
  const auto job = Read(WithRest("tasks: [qa, hub]\napply_chat_template: false\n"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->notes,
              testing::Contains("the data of hub is the Hub's org/data; save it as JSON lines and name them in the "
                                "job that `merganser convert` writes, as benchmarks.hub.data"));
}

TEST(EvolveFileTest, ShuffledSamplesUnderALimitAreDrawnForEachGeneration) {
  const auto job = Read(WithRest("tasks: [qa]\nlimit: 50\nshuffle: true\napply_chat_template: false\n"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(Validate(job->spec).ok()) << Validate(job->spec);
  EXPECT_EQ(job->spec.samples.per_generation, 50);
  EXPECT_FALSE(job->spec.benchmarks[0].limit.has_value());
  EXPECT_EQ(job->spec.benchmarks[1].use, "qa");
  EXPECT_EQ(job->spec.finalists.benchmark, "qa_all");
  EXPECT_EQ(Read(WithRest("tasks: [qa]\nshuffle: true\napply_chat_template: false\n"))->spec.samples, SamplePolicy{});
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa, qb]\nlimit: 50\nshuffle: true\napply_chat_template: false\n")),
              HasSubstr("My evolve.yml:4: shuffle: "));
}

TEST(EvolveFileTest, WhatAJobCannotSayIsRefusedWithWhatToWrite) {
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa]\n")),
              HasSubstr("My evolve.yml: apply_chat_template: is true unless said, but a job's prompts are plain text; write "
                        "`apply_chat_template: false`"));
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa]\napply_chat_template: true\n")),
              HasSubstr("My evolve.yml:3: apply_chat_template: a job's"));
  EXPECT_THAT(
      ErrorOf(WithRest("tasks: [qa]\napply_chat_template: false\nrandom_init: true\n")),
      HasSubstr("My evolve.yml:4: random_init: a search begins in the middle of its bounds; write `random_init: false`"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b], merge_method: linear, smooth: true, layer_granularity: 4")),
              HasSubstr("genome.smooth: is not known here; write `smooth: false`"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a], merge_method: linear, base_model: o/c")),
              HasSubstr("genome.base_model: is none of genome.models"));
}

TEST(EvolveFileTest, MistakesNameLineAndNearestKey) {
  EXPECT_THAT(ErrorOf("genome:\n  models: [o/a]\n  merge_methd: linear\ntasks: [qa]\n"),
              HasSubstr("some/My evolve.yml:3: genome.merge_methd: unknown field; did you mean 'merge_method'?"));
  EXPECT_THAT(ErrorOf(WithRest("tsks: [qa]\n")), HasSubstr("My evolve.yml:2: tsks: unknown field; did you mean 'tasks'?"));
  EXPECT_THAT(ErrorOf(WithRest("tasks:\n  - {name: qa}\n  - {name: qb, wieght: 1}\n")),
              HasSubstr("My evolve.yml:4: tasks[1].wieght: unknown field; did you mean 'weight'?"));
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa]\nlimit: 10\nlimit: 20\n")), HasSubstr("My evolve.yml:4: limit: given twice"));
  EXPECT_THAT(ErrorOf(WithRest("tasks: [qa]\nlimit: 0.5\n")),
              HasSubstr("My evolve.yml:3: limit: 0.5 is not a whole number in [1, "));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/b], merge_method: tie")),
              HasSubstr("genome.merge_method: mergekit-evolve has no 'tie'; did you mean 'ties'?"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a], merge_method: ties")), HasSubstr("genome.base_model: missing"));
  EXPECT_THAT(ErrorOf(WithGenome("models: [o/a, o/a], merge_method: linear")),
              HasSubstr("genome.models[1]: 'o/a' is listed twice"));
  const auto job = Read(WithRest("tasks:\n  - other\n"));
  EXPECT_EQ(job.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(job.status().message(), "some/My evolve.yml:3: tasks[0]: no task 'other'");
}

TEST(EvolveFileTest, ErrorsFoundLaterNameTheLineOfTheFile) {
  const auto job =
      Read("genome:\n  merge_method: linear\n  models:\n    - o/a\n    - o/b\ntasks:\n  - qa\napply_chat_template: false\n");
  ASSERT_TRUE(job.ok()) << job.status();
  const auto at = [&](const std::string& field) {
    return std::string(job->source.Locate(absl::NotFoundError(field + ": gone")).message());
  };
  EXPECT_EQ(at("models.b.path"), "some/My evolve.yml:5: models.b.path: gone");
  EXPECT_EQ(at("benchmarks.qa.use"), "some/My evolve.yml:7: benchmarks.qa.use: gone");
  EXPECT_EQ(at("objectives[0].metric"), "some/My evolve.yml:7: objectives[0].metric: gone");
  EXPECT_EQ(at("space.parameter.granularity.block"), "some/My evolve.yml:1: space.parameter.granularity.block: gone");
}

TEST(EvolveFileTest, OnlyMergekitEvolvesFilesAreTakenForThem) {
  EXPECT_TRUE(IsEvolveText("genome: {}\ntasks: []\n"));
  EXPECT_TRUE(IsEvolveText("gnome: {}\ntasks: []\n"));  // a mistake that its reader names
  EXPECT_FALSE(IsEvolveText("name: x\nspace: {}\ngenome: {}\n"));
  EXPECT_FALSE(IsEvolveText("merge_method: linear\n"));
  EXPECT_FALSE(IsEvolveText("[a"));
}

TEST(EvolveFileTest, AJobFileMayBeOne) {
  const std::string dir = std::filesystem::canonical(MG_SOURCE_DIR "/examples/ja-math").string();
  EvolveOptions options;
  options.max_fevals = 7;
  options.find_task = [&](const std::string& name) {
    return EvolveTask{dir + "/tasks/" + name + ".yaml", std::nullopt, ""};
  };
  const auto file = ReadJobFile(dir + "/evolve.yml", PathsAre::kHere, options);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->evolve);
  EXPECT_EQ(file->spec.models[1].path, dir + "/ja");
  EXPECT_EQ(file->spec.budget.candidates, 7);
  options.find_task = [&](const std::string& name) { return EvolveTask{dir + "/gone/" + name + ".yaml", std::nullopt, ""}; };
  EXPECT_THAT(std::string(ReadJobFile(dir + "/evolve.yml", PathsAre::kHere, options).status().message()),
              HasSubstr("evolve.yml:11: benchmarks.ja_math.use: no file '"));
}

}  // namespace
}  // namespace merganser
