// Features of lm-evaluation-harness' tasks and groups that need no Python: the same requests, values and metrics as the
// harness 0.4.13 itself has (tests/golden/lm_eval_features.py made tasks and goldens).
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/answer_filter.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/benchmark_group.h"
#include "worker/benchmark/sampled_metric.h"
#include "worker/benchmark/translation_metrics.h"
#include "worker/benchmark/wilson.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

std::string Tasks() { return std::string(MG_SOURCE_DIR) + "/tests/data/lm-eval/tasks/"; }

const Json& Goldens() {
  static const Json* const goldens = [] {
    std::ifstream in(Tasks() + "goldens.json");
    return new Json(Json::parse(in));
  }();
  return *goldens;
}

std::unique_ptr<BenchmarkGroup> LoadFile(const std::string& file) {
  BenchmarkSettings settings;
  settings.name = "b";
  settings.use = Tasks() + file;
  const auto resolved = ResolveWithParts(settings);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  if (!resolved.ok()) return nullptr;
  auto group = BenchmarkGroup::Load(*resolved);
  EXPECT_TRUE(group.ok()) << group.status();
  return group.ok() ? *std::move(group) : nullptr;
}

// "exact_match,strict-match" is our exact_match@strict-match, "acc,none" acc.
std::string OurName(const std::string& name) {
  const size_t comma = name.find(',');
  const std::string filter = name.substr(comma + 1);
  return name.substr(0, comma) + (filter == "none" ? "" : "@" + filter);
}

// What the harness asked, and how it scored the answers that it got.
BenchmarkResult ExpectSameTask(const Benchmark& task, const Json& golden, const Json& metrics) {
  const std::string& name = task.definition().name;
  EXPECT_EQ(task.samples().size(), golden.size() * task.definition().completions) << name;
  std::vector<std::string> completions;
  std::vector<std::vector<ContinuationScore>> scores;
  const size_t repeats = task.definition().completions;
  for (size_t i = 0; i < golden.size(); ++i) {
    const Json& row = golden[i];
    if (!task.prompts().empty()) {
      EXPECT_EQ(row["answers"].size(), repeats);
      for (size_t k = 0; k < repeats; ++k) {
        EXPECT_EQ(task.prompts()[i * repeats + k], row["requests"][0][0]) << name << " " << i;
        completions.push_back(row["answers"][k].get<std::string>());
      }
      continue;
    }
    EXPECT_EQ(task.continuations()[i].size(), row["requests"].size());
    for (size_t c = 0; c < row["requests"].size(); ++c) {
      EXPECT_EQ(task.continuations()[i][c].context, row["requests"][c][0]) << name << " " << i;
      EXPECT_EQ(task.continuations()[i][c].continuation, row["requests"][c][1]) << name << " " << i;
    }
    scores.emplace_back();
    for (const Json& answer : row["answers"]) scores.back().push_back({answer[0].get<double>(), answer[1].get<bool>()});
  }
  const auto result = task.prompts().empty() ? task.Score(scores) : task.Score(completions);
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return {};
  for (const MetricKey& key : MetricKeys(task.definition())) {
    const SampledMetric ours(key, result->samples);
    if (ours.values().empty()) continue;  // of the corpus
    EXPECT_EQ(ours.values().size(), golden.size()) << key.name;
    for (size_t i = 0; i < golden.size(); ++i) {
      for (const auto& [metric, value] : golden[i]["values"].items()) {
        if (OurName(metric) == key.name) {
          EXPECT_EQ(ours.values()[i], value.get<double>()) << name << " " << i << metric;
        }
      }
    }
  }
  for (const auto& [metric, value] : metrics.items()) {
    if (metric.find("_stderr") != std::string::npos) continue;
    EXPECT_EQ(result->metrics.count(OurName(metric)), 1u) << name << ": " << metric;
    EXPECT_NEAR(result->metrics.at(OurName(metric)), value.get<double>(), 1e-9 * std::abs(value.get<double>())) << metric;
  }
  return *result;
}

void ExpectSameGroup(const std::string& file, const std::string& name) {
  const auto group = LoadFile(file);
  ASSERT_NE(group, nullptr);
  const Json& golden = Goldens()[name];
  std::vector<BenchmarkResult> results;
  EXPECT_EQ(group->parts().size(), golden["tasks"].size());
  for (const auto& part : group->parts()) {
    const std::string& task = part->definition().name;
    ASSERT_TRUE(golden["tasks"].contains(task)) << task;
    results.push_back(ExpectSameTask(*part, golden["tasks"][task], golden["metrics"][task]));
  }
  const BenchmarkResult whole = group->Combine(std::move(results));
  ASSERT_FALSE(golden["metrics"][name].empty());
  for (const auto& [metric, value] : golden["metrics"][name].items()) {
    std::string ours = OurName(metric);
    if (const size_t at = ours.find("_stderr"); at != std::string::npos) ours = ours.erase(at, 7) + "_stderr";
    ASSERT_EQ(whole.metrics.count(ours), 1u) << metric;
    EXPECT_NEAR(whole.metrics.at(ours), value.get<double>(), 1e-12) << metric;
  }
}

TEST(LmEvalFeatures, AGroupAveragesTheTasksThatItNames) { ExpectSameGroup("letters/_letters.yaml", "letters"); }

TEST(LmEvalFeatures, AGroupMayNameTagsAndGroupsAndSayMoreOfATask) {
  ExpectSameGroup("all.yaml", "all_of_it");
  const auto group = LoadFile("all.yaml");
  ASSERT_NE(group, nullptr);
  EXPECT_THAT(group->metric_names(),
              testing::ElementsAre("average", "acc", "acc_norm", "choices_cold.acc", "choices_cold.acc_norm",
                                   "choices_warm.acc", "choices_warm.acc_norm", "endings.acc", "choices_yes.acc"));
}

TEST(LmEvalFeatures, TranslationsHaveTheCorpusScoresOfSacrebleu) {
  const auto task = LoadFile("translations/translations.yaml");
  ASSERT_NE(task, nullptr);
  const Json& golden = Goldens()["translations"];
  ExpectSameTask(*task->parts()[0], golden["tasks"]["translations"], golden["metrics"]["translations"]);
  for (const Json& corpus : Goldens()["corpora"]) {
    for (const std::string& name : TranslationMetric::Names()) {
      const TranslationMetric metric(name);
      TranslationCounts sums(metric.size(), 0);
      for (size_t i = 0; i < corpus["completions"].size(); ++i) {
        const TranslationCounts counts = metric.Counts(corpus["completions"][i].get<std::string>(),
                                                       corpus["references"][i].get<std::vector<std::string>>());
        ASSERT_EQ(counts.size(), sums.size());
        for (size_t k = 0; k < sums.size(); ++k) sums[k] += counts[k];
      }
      EXPECT_NEAR(metric.Score(sums), corpus[name].get<double>(), 1e-9) << name << " " << corpus["completions"];
    }
  }
}

TEST(LmEvalFeatures, TranslationsThatAreScoredAtOnceAreScoredAsOneByOne) {
  const auto task = LoadFile("translations/translations.yaml");
  ASSERT_NE(task, nullptr);
  const Benchmark& benchmark = *task->parts()[0];
  std::vector<int64_t> samples;
  std::vector<std::string> completions;
  for (int64_t i = 0; i < 64; ++i) {
    samples.push_back(i % static_cast<int64_t>(benchmark.samples().size()));
    completions.push_back(absl::StrCat(benchmark.samples()[samples.back()].references.front(), " and ", i));
  }
  const auto all = benchmark.Score(completions, samples);
  ASSERT_TRUE(all.ok()) << all.status();
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto one = benchmark.Score({completions[i]}, std::vector<int64_t>{samples[i]});
    ASSERT_TRUE(one.ok()) << one.status();
    EXPECT_EQ(one->samples, std::vector<SampleOutcome>{all->samples[i]}) << i;
  }
}

TEST(LmEvalFeatures, AMajorityOfRepeatedAnswersIsScored) {
  for (const std::string name : {"votes", "repeated"}) {
    const auto task = LoadFile("votes/" + name + ".yaml");
    ASSERT_NE(task, nullptr);
    const Json& golden = Goldens()[name];
    const BenchmarkResult result = ExpectSameTask(*task->parts()[0], golden["tasks"][name], golden["metrics"][name]);
    for (const auto& [metric, value] : golden["metrics"][name].items()) {
      const size_t at = metric.find("_stderr,");
      if (at == std::string::npos) continue;
      const std::string ours = OurName(metric.substr(0, at) + metric.substr(at + 7));
      ASSERT_EQ(result.metrics.count(ours), 1u) << ours;
      EXPECT_NEAR(IntervalOf(result.metrics, ours, ItemsOf(result.samples)).standard_error, value.get<double>(), 1e-12)
          << ours;
    }
  }
}

TEST(LmEvalFeatures, AChoiceIsHeldToWhatItHasWithoutThePrompt) {
  const auto task = LoadFile("choices/choices_surprise.yaml");
  ASSERT_NE(task, nullptr);
  const Json& golden = Goldens()["choices_surprise"];
  ExpectSameTask(*task->parts()[0], golden["tasks"]["choices_surprise"], golden["metrics"]["choices_surprise"]);
}

TEST(LmEvalFeatures, WhatRepeatsCannotMeanIsToldByName) {
  const std::string task = "task: a\ndataset_path: json\ndoc_to_text: q\ndoc_to_target: a\nrepeats: 4\n";
  const std::string sampled = "generation_kwargs: {do_sample: true, temperature: 0.2}\n";
  const auto bad = [&](const std::string& text, const std::string& message) {
    WriteTestFile("repeats.yaml", task + text);
    BenchmarkSettings settings;
    settings.name = "b";
    settings.use = TestFolder() + "/repeats.yaml";
    ExpectError(ResolveWithParts(settings), absl::StatusCode::kInvalidArgument, testing::HasSubstr(message));
  };
  const auto filter = [&](const std::string& steps) {
    return sampled + "filter_list: [{name: f, filter: [" + steps + "]}]\n";
  };
  bad("", "completions: they would all be the same; give sampling: {temperature: ...}");
  bad(filter("{function: take_first_k, k: 5}"), "filters: filter 'f', step 1: take_first_k 5 of 4 completions");
  bad(filter("{function: take_first_k}"), "repeats.yaml:7: filter_list[0].filter[0].k: is missing or below 1");
  bad(filter("{function: take_first_k, k: 1}, {function: majority_vote}"),
      "filters: filter 'f', step 2: majority_vote of one completion, which a step before has taken");
  bad(sampled + "metric_list: [{metric: ter}]\n", "metrics: ter is of one completion of each prompt; there are 4");
  bad(sampled + "repeats: 1001\n", "repeats.yaml:7: repeats: 1001 is not in [1, 1000]");
}

TEST(LmEvalFeatures, AChoiceIsFoundByItsLetterOrItsText) {
  for (const Json& golden : Goldens()["filters"]) {
    const Json& said = golden["filter"];
    FilterStep step;
    step.kind = FilterStep::Kind::kChoiceRegex;
    step.pattern = said.value("regex_pattern", R"(#### (\-?[0-9\.\,]+))");
    step.match = said.value("group_select", 0);
    step.fallback = said.value("fallback", "[invalid]");
    step.ignore_case = said.value("ignore_case", false);
    step.ignore_punctuation = said.value("ignore_punctuation", false);
    step.regexes_to_ignore = said.value("regexes_to_ignore", std::vector<std::string>());
    const auto filter = AnswerFilter::Create({"f", {step}});
    ASSERT_TRUE(filter.ok()) << filter.status();
    const auto choices = golden["choices"].get<std::vector<std::string>>();
    for (size_t i = 0; i < golden["answers"].size(); ++i) {
      EXPECT_EQ(filter->Apply(golden["answers"][i].get<std::string>(), choices), golden["filtered"][i])
          << golden["answers"][i] << " of " << golden["choices"] << " by " << said;
    }
  }
}

TEST(LmEvalFeatures, WhatAGroupCannotMeanIsToldByName) {
  const std::string folder = TestFolder() + "/group";
  std::filesystem::create_directories(folder);
  WriteTestFile("group/a.yaml", "task: a\ntag: [t]\ndataset_path: json\ndoc_to_text: q\ndoc_to_target: a\n");
  WriteTestFile("group/python.yaml", "task: p\ndataset_path: json\ndoc_to_text: !function utils.text\ndoc_to_target: a\n");
  WriteTestFile("group/loop.yaml", "group: loop\ntask: [loop]\n");
  const auto bad = [&](const std::string& text, const std::string& message) {
    ExpectError(ParseBenchmark(text, folder + "/g.yaml"), absl::StatusCode::kInvalidArgument, testing::HasSubstr(message));
  };
  bad("group: g\ntask: [a, b]\n", "g.yaml:2: task[1].task: 'b' is no task, group or tag of the .yaml files in ");
  bad("group: g\ntask: [a, t]\n", "task[1].task: 'a' is in the group twice");
  bad("group: g\ntask: [p]\n", "python.yaml:3: doc_to_text: '!function utils.text' asks for Python code");
  bad("group: g\ntask: [loop]\n", "loop.yaml:2: task[0].task: leads back to");
  bad("group: g\ntask: [{task: t, num_fewshot: 1}]\n", "'t' is a group or a tag, which has no settings of its own here");
  bad("group: g\ntask: [{name: a}]\n", "task[0].task: is missing: a member is a name, or a map with task or group");
  bad("group: g\ntask: [a]\naggregate_metric_list: [{metric: acc, aggregation: max}]\n", "'max' is not mean");
  bad("group: g\ntask: [a]\nnum_fewshots: 1\n", "g.yaml:3: num_fewshots: unknown field");
}

TEST(LmEvalFeatures, MembersFindTheirDataInTheAveragesFolder) {
  const std::string folder = TestFolder() + "/hub";
  std::filesystem::create_directories(folder + "/data");
  WriteTestFile("hub/a.yaml",
                "task: a\ndataset_path: org/set\ntest_split: test\ntraining_split: train\nnum_fewshot: 1\n"
                "doc_to_text: q\ndoc_to_target: a\n");
  WriteTestFile("hub/g.yaml", "group: g\ntask: [a]\n");
  WriteTestFile("hub/data/a.jsonl", "{\"q\": \"1 + 1 =\", \"a\": \"2\"}\n");
  BenchmarkSettings settings;
  settings.name = "g";
  settings.use = folder + "/g.yaml";
  settings.data = folder + "/data";
  auto resolved = ResolveWithParts(settings);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  ExpectError(BenchmarkGroup::Load(*resolved), absl::StatusCode::kInvalidArgument,
              testing::HasSubstr("few_shot of benchmark 'a': 1 examples, but neither data nor samples"));
  WriteTestFile("hub/data/a.train.jsonl", "{\"q\": \"0 + 0 =\", \"a\": \"0\"}\n");
  resolved = ResolveWithParts(settings);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  const auto group = BenchmarkGroup::Load(*resolved);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_THAT((*group)->parts()[0]->prompts(), testing::ElementsAre("0 + 0 = 0\n\n1 + 1 ="));
}

}  // namespace
}  // namespace merganser
