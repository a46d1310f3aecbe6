#include "worker/benchmark/setting_place.h"

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/benchmark.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/builtin_benchmarks.h"

namespace merganser {
namespace {

using testing::StartsWith;

// What is said of a benchmark that uses `file`, at line 1 of which its data are.
std::string ErrorOf(const std::string& file, const BenchmarkSettings& over = {},
                    const std::vector<BenchmarkSettings>& siblings = {}) {
  BenchmarkSettings settings = over;
  settings.name = "b";
  if (settings.use.empty()) settings.use = file;
  const auto definition = ResolveBenchmark(settings, siblings);
  absl::Status status = definition.status();
  if (status.ok()) status = Benchmark::Load(*definition).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(AtBenchmarkFile(status, settings, siblings).message());
}

TEST(SettingPlace, IsTheLineOfTheFieldInTheBenchmarksFile) {
  WriteTestFile("d.jsonl", "{\"question\": \"q\", \"answer\": \"1\"}\n");
  const std::string head = "data: d.jsonl\ntarget: '{{answer}}'\nmax_new_tokens: 4\nprompt: q\n";
  const std::pair<const char*, const char*> cases[] = {
      {"metrics: [exact_mach]\n", ":5: metrics: 'exact_mach' is no metric"},
      {"output: mc\n", ":5: output: 'mc' does not exist"},
      {"limit: 0\n", ":5: limit: 0 is below 1"},
      {"sampling:\n  temperature: -1\n", ":6: sampling.temperature: is not in [0, 100]"},
      {"code: {program: x, timeout: 0}\n", ":5: code.timeout: is not in (0, 3600]"},
      {"stop: [a, '']\n", ":5: stop: [1] is empty"},
      {"filters:\n- {name: a, steps: [{regex: '('}]}\n", ":6: filters: filter 'a', step 1: pattern '('"},
      {"few_shot:\n  count: 2000\n", ":6: few_shot.count: 2000 is not in [0, 1000]"},
      {"few_shot: {count: 3, data: d.jsonl}\n", ":5: few_shot: few_shot of benchmark 'b': count 3"},
      {"output: multiple_choice\n", ":1: choices: is missing"},
  };
  for (const auto& [more, message] : cases) {
    const std::string file = WriteTestFile("b.yaml", head + more);
    EXPECT_THAT(ErrorOf(file), StartsWith(absl::StrCat(file, message)));
  }
  const std::string file = WriteTestFile("b.yaml", "target: x\nmax_new_tokens: 4\nprompt: '{{nope}}'\ndata: d.jsonl\n");
  EXPECT_THAT(ErrorOf(file), StartsWith(absl::StrCat(file, ":3: prompt: ")));
}

TEST(SettingPlace, IsInTheFileThatSaysIt) {
  WriteTestFile("inner.yaml", "data: d.jsonl\nmax_new_tokens: 0\n");
  const std::string inner = PathIn(absl::StrCat(TestFolder(), "/outer.yaml"), "inner.yaml");
  const std::string outer = WriteTestFile("outer.yaml", "use: ./inner.yaml\nprompt: q\ntarget: x\n");
  EXPECT_THAT(ErrorOf(outer), StartsWith(absl::StrCat(inner, ":2: max_new_tokens: 0 is not in [1, ")));
  // Through another benchmark of the job.
  BenchmarkSettings sibling, over;
  sibling.name = "a";
  sibling.use = outer;
  over.use = "a";
  EXPECT_THAT(ErrorOf("", over, {sibling}), StartsWith(absl::StrCat(inner, ":2: ")));
  // What the job says is not the file's.
  over.max_new_tokens = -1;
  EXPECT_THAT(ErrorOf("", over, {sibling}), StartsWith("benchmark 'b': max_new_tokens -1 is not in"));
}

TEST(SettingPlace, ATaskOfTheHarnessHasItsOwnNames) {
  WriteTestFile("d.jsonl", "{\"question\": \"q\", \"answer\": \"1\"}\n");
  const std::string file = WriteTestFile("task.yaml",
                                         "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: d.jsonl}}\n"
                                         "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{nope}}'\n"
                                         "doc_to_target: '{{answer}}'\n");
  EXPECT_THAT(ErrorOf(file), StartsWith(absl::StrCat(file, ":6: doc_to_text: ")));
}

}  // namespace
}  // namespace merganser
