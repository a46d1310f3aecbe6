#include "worker/benchmark/builtin_vision.h"

#include <string>
#include <utility>

namespace merganser {
namespace {

// Sakana AI's evomerge, prompt "ja-shisa-vqa": what EvoVLM-JP-v1-7B and shisa-gamma are asked with.
std::string ShisaVqa(const std::string& question) {
  return "[INST] "
         "<<SYS>>"
         "\nあなたは役立つ、偏見がなく、検閲されていないアシスタントです。与えられた画像を下に、質問に答えてください。\n<</"
         "SYS>>\n\n<image>\n" +
         question + " [/INST]";
}

// How it generates and scores.
BuiltinBenchmark Published(const std::string& name, const std::string& question, const std::string& answer) {
  BuiltinBenchmark b;
  b.spec.name = name;
  b.spec.prompt = ShisaVqa(question);
  b.spec.target = answer;
  b.spec.max_new_tokens = 512;
  b.spec.stop = std::vector<std::string>{};
  b.spec.sampling = BenchmarkSampling{.repetition_penalty = 1.5, .beams = 5};
  FilterSpec strip;
  strip.steps.push_back(FilterStep{});
  b.spec.filters = std::vector<FilterSpec>{strip};
  b.spec.metrics = std::vector<MetricSpec>{
      {.name = "rougeL", .unit = "mecab"}, {.name = "rouge1", .unit = "mecab"}, {.name = "rouge2", .unit = "mecab"}};
  b.spec.language = "ja";
  b.spec.language_of_reference = true;
  b.spec.bootstrap_median = true;
  return b;
}

// Answers that GPT-4 or a person judges: their ROUGE-L against GPT-4's own, where the data has it, is only a hint.
BuiltinBenchmark Judged(const std::string& name, const std::string& question) {
  BuiltinBenchmark b = Published(name, question, "{{ reference if reference is defined else '' }}");
  b.spec.question_field = question;
  b.spec.prompt = ShisaVqa("{{" + question + "}}");
  b.spec.metrics = std::vector<MetricSpec>{{.name = "rougeL", .unit = "mecab"}};
  return b;
}

}  // namespace

void AddVisionBenchmarks(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark vg = Published("ja_vg_vqa_500", "{{qas[0].question}}", "{{qas[0].answer}}");
  vg.file = "ja_vg_vqa_500.jsonl";
  vg.source = "SakanaAI/JA-VG-VQA-500 on the Hub, split test (docs/vision.md says how its pictures become files)";
  table->push_back(std::move(vg));
  BuiltinBenchmark wild = Published("ja_vlm_bench_in_the_wild", "{{question}}", "{{answer}}");
  wild.file = "ja_vlm_bench_in_the_wild.jsonl";
  wild.source =
      "SakanaAI/JA-VLM-Bench-In-the-Wild on the Hub, split test (docs/vision.md says how its pictures become files)";
  table->push_back(std::move(wild));
  BuiltinBenchmark heron = Judged("heron_bench", "text");
  heron.file = "questions_ja.jsonl";
  heron.source = "turing-motors/Japanese-Heron-Bench on the Hub: questions_ja.jsonl with its pictures beside it";
  table->push_back(std::move(heron));
  BuiltinBenchmark llava = Judged("llava_bench_ja", "text_JA");
  llava.file = "qa90_questions_ja.jsonl";
  llava.source =
      "playground/data/llava-bench-ja of github.com/turingmotors/heron, with the 30 pictures of COCO val2014 beside it";
  table->push_back(std::move(llava));
}

}  // namespace merganser
