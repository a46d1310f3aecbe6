#include "worker/benchmark/builtin_japanese.h"

#include <string>
#include <utility>

#include "worker/benchmark/mgsm_exemplars.h"

namespace merganser {
namespace {

// Prompt version 0.3 of JP-LMEH (the branch jp-stable of Stability-AI/lm-evaluation-harness): one frame for all tasks, taken
// from Japanese Alpaca.
constexpr char kAlpaca[] =
    "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。\n\n";

std::string Framed(const std::string& instruction, const std::string& input) {
  return "### 指示:\n" + instruction + "\n\n### 入力:\n" + input + "\n\n### 応答:\n";
}

BuiltinBenchmark Choice(const std::string& name, const std::string& description, const std::string& prompt,
                        std::vector<std::string> choices, const std::string& target) {
  BuiltinBenchmark b;
  b.spec.name = name;
  b.spec.output = "multiple_choice";
  b.spec.description = description;
  b.spec.prompt = prompt;
  b.spec.choices = std::move(choices);
  b.spec.target = target;
  b.spec.target_delimiter = "";
  b.spec.metrics = std::vector<MetricSpec>{{"acc"}, {"acc_norm"}};
  return b;
}

BuiltinBenchmark Completion(const std::string& name, const std::string& description, const std::string& prompt,
                            const std::string& target, std::vector<MetricSpec> metrics) {
  BuiltinBenchmark b;
  b.spec.name = name;
  b.spec.description = description;
  b.spec.prompt = prompt;
  b.spec.target = target;
  b.spec.target_delimiter = "";
  b.spec.max_new_tokens = 2048;  // answer_tokens is less
  b.spec.stop = std::vector<std::string>{"\n"};
  FilterSpec strip;
  strip.steps.push_back(FilterStep{});
  b.spec.filters = std::vector<FilterSpec>{strip};
  b.spec.metrics = std::move(metrics);
  return b;
}

// Around all of them; too_long as the task has it.
JpLmehSettings Evaluator(JpLmehSettings::TooLong too_long = JpLmehSettings::TooLong::kCut) {
  JpLmehSettings settings;
  settings.too_long = too_long;
  return settings;
}

// The metrics of JSQuAD and JAQKET.
std::vector<MetricSpec> SquadMetrics() {
  return {{.name = "exact_match", .unit = "neologdn"}, {.name = "f1", .unit = "mecab"}};
}

void AddSecondPrompt(BuiltinBenchmark b, const std::string& name, const std::string& description, const std::string& prompt,
                     std::vector<BuiltinBenchmark>* table) {
  b.spec.name = name;
  b.spec.description = description;
  b.spec.prompt = prompt;
  table->push_back(std::move(b));
}

void AddJglue(std::vector<BuiltinBenchmark>* table) {
  const std::string listed = "- {{choice0}}\n- {{choice1}}\n- {{choice2}}\n- {{choice3}}\n- {{choice4}}";
  BuiltinBenchmark jcqa =
      Choice("jcommonsenseqa", kAlpaca,
             Framed("与えられた選択肢の中から、最適な答えを選んでください。出力は以下から選択してください：\n" + listed,
                    "{{question}}"),
             {"{{choice0}}", "{{choice1}}", "{{choice2}}", "{{choice3}}", "{{choice4}}"}, "{{label}}");
  jcqa.file = "jcommonsenseqa-v1.3/valid-v1.3.json";
  jcqa.few_shot_file = "jcommonsenseqa-v1.3/train-v1.3.json";
  jcqa.other_releases = {{"jcommonsenseqa-v1.1/valid-v1.1.json", "jcommonsenseqa-v1.1/train-v1.1.json"}};
  jcqa.spec.few_shot.count = 3;
  jcqa.spec.jp_lmeh = Evaluator();
  jcqa.source = "jcommonsenseqa-v1.3/valid-v1.3.json of github.com/yahoojapan/JGLUE (datasets/, CC BY-SA 4.0)";
  table->push_back(jcqa);
  AddSecondPrompt(jcqa, "jcommonsenseqa_v02", "与えられた選択肢の中から、最適な答えを選んでください。 \n\n",
                  "質問：{{question}}\n選択肢：\n" + listed + "\n回答：", table);

  const std::string gold_nli =
      "{{ {'entailment': 0, 'contradiction': 1, 'neutral': 2}[label] if label is string else label }}";
  BuiltinBenchmark jnli =
      Choice("jnli", kAlpaca,
             Framed("与えられた前提と仮説の関係を回答してください。\n\n出力は以下から選択してください：\n含意\n矛盾\n中立",
                    "前提：{{sentence1}}\n仮説：{{sentence2}}"),
             {"含意", "矛盾", "中立"}, gold_nli);
  jnli.spec.metrics = std::vector<MetricSpec>{{"acc"}, {"balanced_acc"}, {"mcc"}, {"macro_f1"}};
  jnli.file = "jnli-v1.1/valid-v1.1.json";
  jnli.few_shot_file = "jnli-v1.1/train-v1.1.json";
  jnli.other_releases = {{"jnli-v1.3/valid-v1.3.json", "jnli-v1.3/train-v1.3.json"}};
  jnli.spec.few_shot.count = 3;
  jnli.spec.jp_lmeh = Evaluator();
  jnli.spec.jp_lmeh->stratified = true;
  jnli.source = "jnli-v1.1/valid-v1.1.json of github.com/yahoojapan/JGLUE (tag v1.1.0, datasets/, CC BY-SA 4.0)";
  table->push_back(jnli);
  AddSecondPrompt(jnli, "jnli_v02",
                  "前提と仮説の関係を含意、矛盾、中立の中から回答してください。\n\n制約:\n"
                  "- 前提から仮説が、論理的知識や常識的知識を用いて導出可能である場合は含意と出力\n"
                  "- 前提と仮説が両立しえない場合は矛盾と出力\n- そのいずれでもない場合は中立と出力\n\n",
                  "前提:{{sentence1}}\n仮説:{{sentence2}}\n関係:", table);

  const std::string review = "{{ sentence if sentence is defined else text }}";
  const std::string gold_review = "{{ {'positive': 0, 'negative': 1}[label] if label is string else label }}";
  BuiltinBenchmark marc =
      Choice("marc_ja", kAlpaca,
             Framed("以下の製品レビューを、ポジティブまたはネガティブの感情クラスのいずれかに分類してください。", review),
             {"ポジティブ", "ネガティブ"}, gold_review);
  marc.spec.metrics = std::vector<MetricSpec>{{"acc"}, {"balanced_acc"}, {"mcc"}, {"macro_f1"}};
  marc.file = "marc_ja-v1.1/valid-v1.0.json";
  marc.few_shot_file = "marc_ja-v1.1/train-v1.0.json";
  marc.spec.few_shot.count = 3;
  marc.spec.jp_lmeh = Evaluator();
  marc.source =
      "marc_ja-v1.1/valid-v1.0.json, which github.com/yahoojapan/JGLUE's preprocessing makes of Amazon's reviews "
      "(withdrawn; whoever still has them)";
  table->push_back(marc);
  marc.spec.choices = std::vector<std::string>{"positive", "negative"};
  AddSecondPrompt(
      marc, "marc_ja_v02",
      "製品レビューをnegativeかpositiveのいずれかのセンチメントに分類してください。出力は小文字化してください。 \n\n",
      "製品レビュー:" + review + "\nセンチメント:", table);

  const std::string context = "{{ context.split('[SEP]')[-1].strip() }}";
  BuiltinBenchmark jsquad = Completion(
      "jsquad", kAlpaca,
      Framed("与えられた文脈から、質問に対する答えを抜き出してください。", "文脈：" + context + "\n質問：{{question}}"),
      "{{answers.text}}", SquadMetrics());
  jsquad.spec.answer_tokens = 0;
  jsquad.spec.jp_lmeh = Evaluator();
  jsquad.file = "jsquad-v1.3/valid-v1.3.json";
  jsquad.few_shot_file = "jsquad-v1.3/train-v1.3.json";
  jsquad.other_releases = {{"jsquad-v1.1/valid-v1.1.json", "jsquad-v1.1/train-v1.1.json"}};
  jsquad.spec.few_shot.count = 2;
  jsquad.source = "jsquad-v1.3/valid-v1.3.json of github.com/yahoojapan/JGLUE (datasets/, CC BY-SA 4.0)";
  table->push_back(jsquad);
  AddSecondPrompt(jsquad, "jsquad_v02",
                  "質問に対する回答を題名と文章から一言で抽出してください。回答は名詞で答えてください。\n\n",
                  "題名:{{title}}\n文章:" + context + "\n質問:{{question}}\n回答:", table);

  BuiltinBenchmark jcola =
      Choice("jcola", kAlpaca,
             Framed("与えられた文が文法的であるかを回答してください。\n\n出力は以下から選択してください：\nはい\nいいえ",
                    "{{sentence}}"),
             {"いいえ", "はい"}, "{{label}}");
  jcola.spec.target_delimiter = " ";
  jcola.spec.metrics = std::vector<MetricSpec>{{"balanced_acc"}, {"mcc"}, {"macro_f1"}, {"acc"}};
  jcola.file = "jcola-v1.0/in_domain_valid-v1.0.json";
  jcola.few_shot_file = "jcola-v1.0/in_domain_train-v1.0.json";
  jcola.spec.few_shot.count = 3;
  jcola.spec.jp_lmeh = Evaluator();
  jcola.spec.jp_lmeh->stratified = true;
  jcola.source = "in_domain_valid-v1.0.json of github.com/osekilab/JCoLA (data/jcola-v1.0/, CC BY 4.0)";
  table->push_back(jcola);
  AddSecondPrompt(jcola, "jcola_v00", "", "{{sentence}}\n質問: この文は文法的ですか？\n答え:", table);
}

void AddQuestions(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark jaqket = Completion("jaqket_v2", kAlpaca,
                                       Framed("与えられた文脈から、質問に対する答えを抜き出してください。",
                                              "文脈：{{ctxs.text | join('\\n')}}\n質問：{{question}}"),
                                       "{{answers.text}}", SquadMetrics());
  jaqket.spec.answer_tokens = 0;
  jaqket.spec.jp_lmeh = Evaluator(JpLmehSettings::TooLong::kFewerExamples);
  jaqket.file = "jaqket_v2/validation.jsonl";
  jaqket.few_shot_file = "jaqket_v2/train.jsonl";
  jaqket.spec.few_shot.count = 1;
  jaqket.source =
      "the split `validation` of huggingface.co/datasets/kumapo/JAQKET (v2.0, num_contexts 5) as JSON lines "
      "jaqket_v2/validation.jsonl with the fields question, answers.text and ctxs.text";
  table->push_back(jaqket);
  AddSecondPrompt(jaqket, "jaqket_v2_v02",
                  "質問に対する回答を文章から一言で抽出してください。回答は名詞で答えてください。\n\n",
                  "文章:{{ctxs.text | join('\\n')}}\n質問:{{question}}\n回答:", table);

  // The harness means MeCab's words, but its evaluator puts the model's tokenizer in their place before it scores.
  BuiltinBenchmark xlsum =
      Completion("xlsum_ja", kAlpaca, Framed("与えられたニュース記事を要約してください。", "ニュース記事:{{text}}"),
                 "{{summary}}", {{.name = "rouge2", .unit = "tokens"}, {.name = "rougeL", .unit = "characters"}});
  xlsum.spec.filters = std::vector<FilterSpec>{{}};
  xlsum.spec.bootstrap_median = true;
  xlsum.spec.jp_lmeh = Evaluator(JpLmehSettings::TooLong::kShorterArticles);
  xlsum.spec.jp_lmeh->article_begin = "### 指示:\n与えられたニュース記事を要約してください。\n\n### 入力:\n";
  xlsum.spec.jp_lmeh->article_end = "### 応答:\n";
  xlsum.spec.question_field = "text";
  xlsum.spec.answer_tokens = 10;
  xlsum.file = "xlsum_ja/test.jsonl";
  xlsum.few_shot_file = "xlsum_ja/train.jsonl";
  xlsum.spec.few_shot.count = 1;
  xlsum.source =
      "the split `test` of huggingface.co/datasets/mkshing/xlsum_ja as JSON lines xlsum_ja/test.jsonl with the fields text "
      "and summary, its split `train` as xlsum_ja/train.jsonl";
  table->push_back(xlsum);
  xlsum.spec.jp_lmeh->article_begin = "ニュース記事:";
  xlsum.spec.jp_lmeh->article_end = "要約:";
  AddSecondPrompt(xlsum, "xlsum_ja_v00", "与えられたニュース記事を要約してください。\n\n",
                  "ニュース記事:{{text}}\n要約:", table);

  BuiltinBenchmark winograd = Choice("xwinograd_ja", "", "", {"{{sentence1}}", "{{sentence2}}"}, "{{answer | int - 1}}");
  winograd.spec.metrics = std::vector<MetricSpec>{{"acc"}};
  winograd.spec.question_field = "sentence1";
  winograd.spec.jp_lmeh = Evaluator();
  winograd.file = "xwinograd_ja/test.jsonl";
  winograd.source =
      "the split `test` of huggingface.co/datasets/polm-stability/xwinograd-ja as JSON lines xwinograd_ja/test.jsonl with "
      "the fields sentence1, sentence2 and answer (1 or 2)";
  table->push_back(winograd);

  BuiltinBenchmark qa;
  qa = Completion("qa_ja", "", "質問：{{question}}\n回答：", "{{answer}}",
                  {{.name = "exact_match", .ignore_case = true, .ignore_punctuation = true},
                   {.name = "f1", .unit = "characters"},
                   {.name = "rougeL", .unit = "characters"}});
  qa.spec.max_new_tokens = 64;
  table->push_back(std::move(qa));
}

void AddMaths(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark mgsm;
  mgsm.spec.name = "mgsm_ja_alpaca";
  mgsm.spec.use = "mgsm_ja_lmeh";
  mgsm.spec.description = kAlpaca;
  mgsm.spec.prompt =
      Framed("与えられた問題に対して、ステップごとに答えを導き出してください。", "{{question | replace('問題：', '')}}");
  mgsm.spec.target = "{{ (answer | string) | replace('ステップごとの答え：', '') }}";
  mgsm.spec.target_delimiter = "";
  mgsm.spec.few_shot.samples = MgsmExemplars().at("ja");
  mgsm.spec.few_shot.count = 5;
  mgsm.spec.jp_lmeh = Evaluator(JpLmehSettings::TooLong::kFewerExamples);
  mgsm.file = "mgsm_ja.tsv";
  mgsm.source = "mgsm_ja.tsv of github.com/google-research/url-nlp (mgsm/, CC BY 4.0)";
  table->push_back(mgsm);
  AddSecondPrompt(std::move(mgsm), "mgsm_ja_v00", "", "問題：{{question | replace('問題：', '')}}\nステップごとの答え：",
                  table);

  BuiltinBenchmark gsm8k;
  gsm8k.spec.name = "gsm8k_ja";
  gsm8k.spec.use = "mgsm_ja";
  gsm8k.file = "gsm8k-ja-test_250-1319.jsonl";
  gsm8k.source = "the one file of huggingface.co/datasets/SakanaAI/gsm8k-ja-test_250-1319 (Apache-2.0)";
  table->push_back(std::move(gsm8k));
}

void AddJmmlu(std::vector<BuiltinBenchmark>* table) {
  BuiltinBenchmark group;
  group.spec.name = "jmmlu";
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
                              "high_school_macroeconomics",
                              "high_school_mathematics",
                              "high_school_microeconomics",
                              "high_school_physics",
                              "high_school_psychology",
                              "high_school_statistics",
                              "human_aging",
                              "human_sexuality",
                              "international_law",
                              "japanese_history",
                              "jurisprudence",
                              "logical_fallacies",
                              "machine_learning",
                              "management",
                              "marketing",
                              "medical_genetics",
                              "miscellaneous",
                              "moral_disputes",
                              "nutrition",
                              "philosophy",
                              "prehistory",
                              "professional_accounting",
                              "professional_medicine",
                              "professional_psychology",
                              "public_relations",
                              "security_studies",
                              "sociology",
                              "virology",
                              "world_history",
                              "world_religions"}) {
    BuiltinBenchmark b =
        Choice(std::string("jmmlu_") + subject, "", MmluPrompt("答え:"), {"A", "B", "C", "D"}, "{{answer | trim}}");
    b.spec.target_delimiter = " ";
    b.spec.metrics = std::vector<MetricSpec>{{"acc"}};
    b.spec.columns = MmluColumns();
    b.file = std::string(subject) + ".csv";
    b.source = "JMMLU/" + b.file + " of github.com/nlp-waseda/JMMLU (CC BY-SA 4.0)";
    group.spec.average_of->push_back(b.spec.name);
    table->push_back(std::move(b));
  }
  table->push_back(std::move(group));
}

}  // namespace

void AddJapaneseBenchmarks(std::vector<BuiltinBenchmark>* table) {
  AddJglue(table);
  AddQuestions(table);
  AddMaths(table);
  BuiltinBenchmark average;
  average.spec.name = "jp_lmeh";
  average.spec.average_of = std::vector<std::string>{
      "jcommonsenseqa", "jnli", "marc_ja", "jsquad", "jaqket_v2", "xlsum_ja", "xwinograd_ja", "mgsm_ja_alpaca", "jcola"};
  table->push_back(std::move(average));
  AddJmmlu(table);
}

}  // namespace merganser
