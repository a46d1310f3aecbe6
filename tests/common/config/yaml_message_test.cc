#include "common/config/yaml_message.h"

#include <fstream>

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "merganser/v1/job.pb.h"
#include "merganser/v1/recipe.pb.h"

namespace merganser {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kJob[] = R"(name: ja-math
seed: 18446744073709551615
models:
  base: {path: base}
  ja: {path: org/name@main}
space:
  parameter:
    method: ties
    base: base
    sources: [ja]
    granularity: {filters: [self_attn, "mlp"]}
    bounds: {weight: [0, 2], density: [0.1, 1]}
    fixed: {lambda: 1.5}
optimizer: {random: {population: 8}}
objectives: [{benchmark: b, metric: acc}]
benchmarks:
  b: {use: mgsm_ja, data: d.jsonl, prompt: "Q: {{question}}\nA:\n", stop: []}
budget: {candidates: 400, wall_time: 1h30m}
)";

TEST(YamlReaderTest, TheStackOfAHopIsItsPlaceOrItsName) {
  const std::string stacks = "stacks: [{name: a, sources: [x]}, {name: b, sources: [x]}]\n";
  v1::Recipe recipe;
  ASSERT_TRUE(ReadYaml(stacks + "path: [{stack: b, layer: 3}, {stack: 0}, {stack: \"a\"}]\n", "r.yaml", &recipe).ok());
  EXPECT_EQ(recipe.path(0).stack(), 1);
  EXPECT_EQ(recipe.path(1).stack(), 0);
  EXPECT_EQ(recipe.path(2).stack(), 0);
  const auto what = [&](const std::string& path) {
    return std::string(ReadYaml(stacks + path, "r.yaml", &recipe).status().message());
  };
  EXPECT_EQ(what("path:\n- {stack: 1}\n- {stack: merge}\n"),
            "r.yaml:4: path[1].stack: 'merge' is neither the name of a stack nor its place, from 0; known: a, b");
  EXPECT_THAT(what("path: [{stack: ''}]\n"), HasSubstr("path[0].stack: '' is neither"));
}

TEST(YamlReaderTest, AQuoteThatIsNeverClosedIsToldByItsLine) {
  v1::JobSpec job;
  EXPECT_EQ(ReadYaml("seed: 1\nname: \"ja-math\n", "job.yaml", &job).status().message(),
            "job.yaml:2: the quote \" is never closed");
}

TEST(IsMergekitTextTest, AFileOfMergekitsIsKnownAlsoWhenItsMethodIsMisspelt) {
  EXPECT_TRUE(IsMergekitText("merge_method: ties\nmodels: [{model: a}]\n"));
  EXPECT_TRUE(IsMergekitText("merge_methd: ties\nmodels: [{model: a}]\n"));
  EXPECT_TRUE(IsMergekitText("merge-method: passthrough\nslices: []\n"));
  EXPECT_FALSE(IsMergekitText("models: {a: {path: a}}\nstacks: []\n"));
  EXPECT_FALSE(IsMergekitText("models: {a: {path: a}}\nstakcs: []\n"));
  EXPECT_FALSE(IsMergekitText("models: [}"));
  EXPECT_FALSE(IsMergekitText("base_model: a\nexperts: [{source_model: b}]\n"));  // mergekit-moe's
}

TEST(YamlMessageTest, ReadsAJob) {
  v1::JobSpec job;
  ASSERT_EQ(ReadYaml(kJob, "job.yaml", &job).status(), absl::OkStatus());
  EXPECT_EQ(job.seed(), 18446744073709551615u);
  EXPECT_EQ(job.models().at("ja").path(), "org/name@main");
  const v1::ParameterSpace& space = job.space().parameter();
  EXPECT_EQ(space.granularity().struct_value().fields().at("filters").list_value().values(1).string_value(), "mlp");
  EXPECT_EQ(space.bounds().at("density").values(0).number_value(), 0.1);
  EXPECT_EQ(job.optimizer().random().population(), 8);
  EXPECT_EQ(job.benchmarks().at("b").prompt(), "Q: {{question}}\nA:\n");
  EXPECT_TRUE(job.benchmarks().at("b").has_stop());
  EXPECT_EQ(job.budget().wall_time().seconds(), 5400);
}

TEST(YamlMessageTest, EscapesOfYamlAreCharacters) {
  v1::JobSpec job;
  ASSERT_EQ(ReadYaml("benchmarks: {b: {prompt: \"a\\_b\\N\\xe9\"}}", "job.yaml", &job).status(), absl::OkStatus());
  EXPECT_EQ(job.benchmarks().at("b").prompt(), "a\u00a0b\u0085\u00e9");
}

TEST(YamlMessageTest, WritingAndReadingGivesTheSame) {
  v1::JobSpec job, again;
  ASSERT_TRUE(ReadYaml(kJob, "job.yaml", &job).ok());
  (*job.mutable_space()->mutable_parameter()->mutable_fixed())["lambda"] = 0.1 + 0.2;
  job.set_name("007");  // text that looks like a number stays text
  const std::string text = WriteYaml(job);
  ASSERT_EQ(ReadYaml(text, "again.yaml", &again).status(), absl::OkStatus()) << text;
  EXPECT_TRUE(MessageDifferencer::Equals(job, again)) << text;
}

struct Case {
  std::string name;
  std::string yaml;
  std::string message;
};

class BadYamlTest : public testing::TestWithParam<Case> {};

TEST_P(BadYamlTest, ErrorNamesFileLineAndField) {
  v1::JobSpec job;
  const absl::Status status = ReadYaml(GetParam().yaml, "job.yaml", &job).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), StartsWith(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadYamlTest,
    testing::Values(
        Case{"MisspeltKey", "name: x\nspace:\n  parameter:\n    granularty: layer\n",
             "job.yaml:4: space.parameter.granularty: unknown field; did you mean 'granularity'?"},
        Case{"MisspeltTopLevel", "nmae: x\n", "job.yaml:1: nmae: unknown field; did you mean 'name'?"},
        Case{"TwiceGiven", "name: x\nname: y\n", "job.yaml:2: name: given twice"},
        Case{"ModelTwice", "models:\n  a: {path: x}\n  a: {path: y}\n", "job.yaml:3: models.a: given twice"},
        Case{"NotANumber", "budget:\n  candidates: many\n", "job.yaml:2: budget.candidates: 'many' is not a whole number"},
        Case{"OutOfRange", "seed: -1\n", "job.yaml:1: seed: '-1' is not a whole number in [0, "},
        Case{"NotFinite", "space: {parameter: {fixed: {lambda: .nan}}}\n", "job.yaml:1: space.parameter.fixed.lambda: "},
        Case{"ListForMap", "models: [a, b]\n", "job.yaml:1: models: must be a map, not a list"},
        Case{"ValueForList", "objectives: 3\n", "job.yaml:1: objectives: must be a list, not a value"},
        Case{"ValueForPlainList", "benchmarks: {a: {stop: 7}}\n",
             "job.yaml:1: benchmarks.a.stop: must be a list, not a value"},
        Case{"MapForValue", "name: {a: b}\n", "job.yaml:1: name: must be a single value, not a map"},
        Case{"TwoOfOneof", "optimizer:\n  cma_es: {}\n  random: {}\n",
             "job.yaml:3: optimizer.random: only one of 'cma_es' and 'random'"},
        Case{"NoSuchChoice", "optimizer: cmaes\n", "job.yaml:1: optimizer: unknown 'cmaes'; did you mean 'cma_es'?"},
        Case{"RecipeForJob", "models: {a: {path: x}}\nstacks: []\n",
             "job.yaml:2: stacks: unknown field; this looks like a recipe"},
        Case{"MergekitForJob", "merge_method: ties\n",
             "job.yaml:1: merge_method: unknown field; this looks like a recipe of mergekit's"},
        Case{"MixtureForJob", "gate_mode: hidden\nexperts: []\n",
             "job.yaml:1: gate_mode: unknown field; this looks like a file of mergekit-moe's"},
        Case{"Duration", "budget: {wall_time: soon}\n", "job.yaml:1: budget.wall_time: is not a duration"},
        Case{"NotYaml", "name: [x\nmodels: }\n", "job.yaml:"},
        Case{"NotAMap", "- a\n- b\n", "job.yaml:1: the file must hold a map, not a list"},
        Case{"Empty", "", "job.yaml:1: the file must hold a map, not nothing"}),
    [](const auto& info) { return info.param.name; });

TEST(YamlMessageTest, AChoiceMayBeOnlyItsName) {
  v1::JobSpec job;
  const auto source = ReadYaml("name: x\noptimizer: nsga2\n", "job.yaml", &job);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_TRUE(job.optimizer().has_nsga2());
  EXPECT_THAT(std::string(source->Locate(absl::InvalidArgumentError("optimizer.nsga2.population: is odd")).message()),
              StartsWith("job.yaml:2: "));
}

TEST(YamlMessageTest, LaterErrorsFindTheirLine) {
  v1::JobSpec job;
  const auto source = ReadYaml(kJob, "job.yaml", &job);
  ASSERT_TRUE(source.ok());
  const auto located = [&](const std::string& message) {
    return std::string(source->Locate(absl::InvalidArgumentError(message)).message());
  };
  EXPECT_THAT(located("models.ja.path: gone"), StartsWith("job.yaml:5: models.ja.path: gone"));
  EXPECT_THAT(located("objectives[0].metric: unknown"), StartsWith("job.yaml:15: "));
  EXPECT_THAT(located("held_out: what"), StartsWith("job.yaml: held_out"));
}

TEST(YamlMessageTest, AnyPrefixOfAJobIsReadOrRefused) {
  const std::string text = kJob;
  for (size_t n = 0; n < text.size(); ++n) {
    v1::JobSpec job;
    const auto source = ReadYaml(text.substr(0, n), "job.yaml", &job);
    if (!source.ok()) {
      EXPECT_THAT(std::string(source.status().message()), StartsWith("job.yaml:"));
    }
  }
}

}  // namespace
}  // namespace merganser
