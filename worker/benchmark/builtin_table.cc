#include "worker/benchmark/builtin_table.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/benchmark/builtin_code.h"
#include "worker/benchmark/builtin_japanese.h"
#include "worker/benchmark/builtin_vision.h"
#include "worker/benchmark/mgsm_exemplars.h"

namespace merganser {
namespace {

// Sakana's `ja-alpaca-cot`; no line feed at the end.
constexpr char kJaAlpacaCot[] =
    "以下に、あるタスクを説明する指示があります。リクエストを適切に完了するための回答を日本語で記述してください。"
    "一歩一歩考えましょう。\n\n### 指示:\n{{question}}\n\n### 応答:";

constexpr char kMgsmSource[] = "of github.com/google-research/url-nlp (mgsm/, CC BY 4.0)";

void AddMgsm(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark ja;
  ja.spec.name = "mgsm_ja";
  ja.spec.prompt = kJaAlpacaCot;
  ja.spec.max_new_tokens = 1024;
  ja.spec.stop = std::vector<std::string>{"Instruction:", "Instruction", "Response:", "Response"};
  ja.spec.extract = "sakana";
  ja.spec.language = "ja";
  ja.file = "mgsm_ja.tsv";
  ja.source = std::string("mgsm_ja.tsv ") + kMgsmSource;
  table->push_back(ja);

  BuiltinBenchmark lmeh;
  lmeh.spec.name = "mgsm_ja_lmeh";
  // The harness drops the label that MGSM's few-shots have and its test items lack, and adds it to both.
  lmeh.spec.prompt = "問題：{{question | replace('問題：', '')}}\nステップごとの答え：";
  lmeh.spec.max_new_tokens = 256;
  lmeh.spec.stop = std::vector<std::string>{"\n"};
  lmeh.spec.extract = "jp_lmeh";
  lmeh.file = ja.file;
  lmeh.source = ja.source;
  table->push_back(lmeh);

  struct Labels {
    const char* language;
    const char* question;  // as the worked examples have them
    const char* answer;
  };
  BuiltinBenchmark all;
  all.spec.name = "mgsm";
  all.spec.average_of = std::vector<std::string>{"mgsm_ja"};
  for (const Labels& labels :
       {Labels{"bn", "প্রশ্ন: ", "ধাপে ধাপে উত্তর: "}, Labels{"de", "Frage: ", "Schritt-für-Schritt-Antwort: "},
        Labels{"en", "Question: ", "Step-by-Step Answer: "}, Labels{"es", "Pregunta: ", "Respuesta paso a paso: "},
        Labels{"fr", "Question : ", "Réponse étape par étape : "}, Labels{"ru", "Задача: ", "Пошаговое решение: "},
        Labels{"sw", "Swali: ", "Jibu la Hatua kwa Hatua: "}, Labels{"te", "ప్రశ్న: ", "దశలవారీగా సమాధానం: "},
        Labels{"th", "โจทย์: ", "คำตอบทีละขั้นตอน: "}, Labels{"zh", "问题：", "逐步解答："}}) {
    const std::string question = labels.question, answer = labels.answer;
    BuiltinBenchmark b;
    b.spec.name = std::string("mgsm_") + labels.language;
    b.spec.use = "mgsm_ja_lmeh";
    const std::string label = answer.substr(0, answer.find_last_not_of(' ') + 1);
    b.spec.prompt = question + "{{question | replace('" + question + "', '')}}\n" + label;
    b.spec.target = "{{ (answer | string) | replace('" + answer + "', '') }}";
    b.spec.target_delimiter = label == answer ? "" : " ";
    b.spec.few_shot.samples = MgsmExemplars().at(labels.language);
    b.file = b.spec.name + ".tsv";
    b.source = b.file + " " + kMgsmSource;
    all.spec.average_of->push_back(b.spec.name);
    table->push_back(std::move(b));
  }
  table->push_back(std::move(all));
}

FilterSpec RegexFilter(const std::string& name, const std::string& pattern, int match) {
  FilterStep step;
  step.kind = FilterStep::Kind::kRegex;
  step.pattern = pattern;
  step.match = match;
  return {name, {std::move(step)}};
}

void AddGsm8k(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark b;
  b.spec.name = "gsm8k";
  b.spec.prompt = "Question: {{question}}\nAnswer:";
  b.spec.target = "{{answer}}";
  b.spec.max_new_tokens = 256;
  b.spec.stop = std::vector<std::string>{"Question:", "</s>", "<|im_end|>"};
  const std::string flexible = R"((-?[$0-9.,]{2,})|(-?[0-9]+))";
  b.spec.filters = std::vector<FilterSpec>{RegexFilter("strict-match", R"(#### (\-?[0-9\.\,]+))", 0),
                                           RegexFilter("flexible-extract", flexible, -1)};
  MetricSpec exact{"exact_match"};
  exact.ignore_case = true;
  exact.regexes_to_ignore = {",", R"(\$)", R"((?s).*#### )", R"(\.$)"};
  b.spec.metrics = std::vector<MetricSpec>{exact};
  b.spec.few_shot.count = 5;
  b.file = "test.jsonl";
  b.few_shot_file = "train.jsonl";
  b.source = "test.jsonl and train.jsonl of github.com/openai/grade-school-math (grade_school_math/data/, MIT)";
  table->push_back(b);

  b.spec.name = "gsm8k_cot";
  b.spec.prompt = "Q: {{question}}\nA:";
  b.spec.stop = std::vector<std::string>{"Q:", "</s>", "<|im_end|>"};
  b.spec.target = "{{ cot if cot is defined else answer.split('####')[-1].strip() }}";
  b.spec.filters = std::vector<FilterSpec>{RegexFilter("strict-match", R"(The answer is (\-?[0-9\.\,]+).)", 0),
                                           RegexFilter("flexible-extract", flexible, -1)};
  b.few_shot_file = "";
  b.spec.few_shot.count = 8;
  // The worked examples of Wei et al. 2022 ("Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", table
  // 20).
  b.spec.few_shot.samples = {
      R"J({"question": "There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, there will be 21 trees. How many trees did the grove workers plant today?", "cot": "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been 21 - 15 = 6. The answer is 6."})J",
      R"J({"question": "If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?", "cot": "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5."})J",
      R"J({"question": "Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?", "cot": "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, they had 74 - 35 = 39. The answer is 39."})J",
      R"J({"question": "Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did Jason give to Denny?", "cot": "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8. The answer is 8."})J",
      R"J({"question": "Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have now?", "cot": "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9. The answer is 9."})J",
      R"J({"question": "There were nine computers in the server room. Five more computers were installed each day, from monday to thursday. How many computers are now in the server room?", "cot": "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers were added. 9 + 20 is 29. The answer is 29."})J",
      R"J({"question": "Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf balls did he have at the end of wednesday?", "cot": "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he had 35 - 2 = 33 golf balls. The answer is 33."})J",
      R"J({"question": "Olivia has $23. She bought five bagels for $3 each. How much money does she have left?", "cot": "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars left. 23 - 15 is 8. The answer is 8."})J",
  };
  table->push_back(std::move(b));
}

}  // namespace

std::vector<std::string> MmluColumns() {
  return {"question|input|prompt|0",       "A|choice0|choice_a|option_a|1", "B|choice1|choice_b|option_b|2",
          "C|choice2|choice_c|option_c|3", "D|choice3|choice_d|option_d|4", "answer|target|label|5"};
}

std::string MmluPrompt(const std::string& cue) {
  std::string prompt = "{{question | trim}}\n";
  for (const char* letter : {"A", "B", "C", "D"}) {
    absl::StrAppend(&prompt, letter, ". {{", letter, " if ", letter, " is defined or choices is not defined else choices[",
                    letter[0] - 'A', "]}}\n");
  }
  return prompt + cue;
}

namespace {

void AddMmlu(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark group;
  group.spec.name = "mmlu";
  group.spec.average_of.emplace();
  for (const char* subject : {"abstract_algebra",
                              "anatomy",
                              "astronomy",
                              "business_ethics",
                              "clinical_knowledge",
                              "college_biology",
                              "college_chemistry",
                              "college_computer_science",
                              "college_mathematics",
                              "college_medicine",
                              "college_physics",
                              "computer_security",
                              "conceptual_physics",
                              "econometrics",
                              "electrical_engineering",
                              "elementary_mathematics",
                              "formal_logic",
                              "global_facts",
                              "high_school_biology",
                              "high_school_chemistry",
                              "high_school_computer_science",
                              "high_school_european_history",
                              "high_school_geography",
                              "high_school_government_and_politics",
                              "high_school_macroeconomics",
                              "high_school_mathematics",
                              "high_school_microeconomics",
                              "high_school_physics",
                              "high_school_psychology",
                              "high_school_statistics",
                              "high_school_us_history",
                              "high_school_world_history",
                              "human_aging",
                              "human_sexuality",
                              "international_law",
                              "jurisprudence",
                              "logical_fallacies",
                              "machine_learning",
                              "management",
                              "marketing",
                              "medical_genetics",
                              "miscellaneous",
                              "moral_disputes",
                              "moral_scenarios",
                              "nutrition",
                              "philosophy",
                              "prehistory",
                              "professional_accounting",
                              "professional_law",
                              "professional_medicine",
                              "professional_psychology",
                              "public_relations",
                              "security_studies",
                              "sociology",
                              "us_foreign_policy",
                              "virology",
                              "world_religions"}) {
    BuiltinBenchmark b;
    b.spec.name = std::string("mmlu_") + subject;
    b.spec.output = "multiple_choice";
    std::string topic = subject;
    for (char& c : topic) c = c == '_' ? ' ' : c;
    b.spec.description = "The following are multiple choice questions (with answers) about " + topic + ".\n\n";
    b.spec.prompt = MmluPrompt("Answer:");
    b.spec.choices = std::vector<std::string>{"A", "B", "C", "D"};
    b.spec.target = "{{answer | trim}}";
    b.spec.metrics = std::vector<MetricSpec>{{"acc"}};
    b.spec.columns = MmluColumns();
    b.spec.few_shot.count = 5;
    b.file = std::string("test/") + subject + "_test.csv";
    b.few_shot_file = std::string("dev/") + subject + "_dev.csv";
    b.source = b.file + " of github.com/hendrycks/test (data.tar, MIT)";
    group.spec.average_of->push_back(b.spec.name);
    table->push_back(std::move(b));
  }
  table->push_back(std::move(group));
}

void AddQa(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark b;
  b.spec.name = "qa";
  b.spec.prompt = "Question: {{question}}\nAnswer:";
  b.spec.target = "{{answer}}";
  b.spec.max_new_tokens = 64;
  b.spec.stop = std::vector<std::string>{"\n"};
  FilterSpec strip;
  strip.steps.push_back(FilterStep{});
  b.spec.filters = std::vector<FilterSpec>{strip};
  b.spec.metrics = std::vector<MetricSpec>{
      {.name = "exact_match", .ignore_case = true, .ignore_punctuation = true}, {.name = "f1"}, {.name = "rougeL"}};
  table->push_back(std::move(b));
}

}  // namespace

const std::vector<BuiltinBenchmark>& BuiltinTable() {
  static const auto* const table = [] {
    auto* all = new std::vector<BuiltinBenchmark>;
    AddMgsm(all);
    AddGsm8k(all);
    AddQa(all);
    AddJapaneseBenchmarks(all);
    AddVisionBenchmarks(all);
    AddMmlu(all);
    AddCodeBenchmarks(all);
    return all;
  }();
  return *table;
}

const BuiltinBenchmark* FindBuiltin(const std::string& name) {
  static const auto* const by_name = [] {
    auto* map = new std::map<std::string, const BuiltinBenchmark*>;
    for (const BuiltinBenchmark& builtin : BuiltinTable()) map->emplace(builtin.spec.name, &builtin);
    return map;
  }();
  const auto it = by_name->find(name);
  return it == by_name->end() ? nullptr : it->second;
}

}  // namespace merganser
