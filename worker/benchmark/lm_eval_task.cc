#include "worker/benchmark/lm_eval_task.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/translation_metrics.h"

namespace merganser {
namespace {

constexpr int kMaxGenToks = 256;  // the harness's default
constexpr int64_t kRepeatsMax = 1000;

// {split: file}; a single file is every split.
struct DataFiles {
  std::map<std::string, std::string> by_split;
  std::string any;

  std::string Of(const std::string& split) const {
    const auto it = by_split.find(split);
    return it != by_split.end() ? it->second : any;
  }
};

DataFiles ReadDataFiles(YamlMap& kwargs) {
  DataFiles files;
  const auto one = [&](YamlMap& map, const std::string& key) -> std::string {
    const auto names = map.Texts(key);
    if (!names) return "";
    if (names->size() != 1) map.Fail(key, "only one file a split can be read");
    return names->empty() ? "" : PathIn(kwargs.file(), names->front());
  };
  if (!kwargs.IsMap("data_files")) {
    files.any = one(kwargs, "data_files");
    return files;
  }
  if (auto by_split = kwargs.Map("data_files")) {
    for (const std::string& split : by_split->Keys()) files.by_split[split] = one(*by_split, split);
    kwargs.Merge(by_split->Done());
  }
  return files;
}

void ReadData(YamlMap& map, BenchmarkSettings* settings) {
  DataFiles files;
  if (auto kwargs = map.Map("dataset_kwargs")) {
    files = ReadDataFiles(*kwargs);
    for (const char* ignored : {"trust_remote_code", "metadata", "revision"}) kwargs->Ignore(ignored);  // data is given
    map.Merge(kwargs->Done());
  }
  const std::string dataset = map.Text("dataset_path").value_or("");
  const std::string name = map.Text("dataset_name").value_or("");
  std::map<std::string, std::string> splits;
  for (const char* key : {"test_split", "validation_split", "training_split", "fewshot_split"}) {
    splits[key] = map.Text(key).value_or("");
  }
  std::string split = splits["test_split"];
  if (split.empty()) split = splits["validation_split"];
  if (split.empty()) split = splits["training_split"];
  // The harness's order: what it is told, the training split, the validation split.
  std::string shots = splits["fewshot_split"];
  if (shots.empty()) shots = splits["training_split"];
  if (shots.empty()) shots = splits["validation_split"];
  if (shots.empty()) shots = split;
  settings->few_shot.from_data = shots == split;
  // So the harness decides, whatever split is scored: of no name and no name too.
  settings->few_shot.excludes_sample = splits["fewshot_split"] == splits["test_split"];
  if (dataset == "json" || dataset == "csv" || dataset.empty()) {
    settings->data = files.Of(split);
    if (!files.Of(shots).empty()) settings->few_shot.data = files.Of(shots);
  }
  if (settings->data.empty()) {
    settings->data_source = absl::StrCat("the split '", split, "' of the dataset ", dataset, name.empty() ? "" : " (", name,
                                         name.empty() ? "" : ")", " as JSON lines");
  }
}

void ReadFewShots(YamlMap& map, BenchmarkSettings* settings) {
  FewShotSettings& few = settings->few_shot;
  few.count = static_cast<int>(map.Integer("num_fewshot").value_or(0));
  few.delimiter = map.Text("fewshot_delimiter");
  few.python = true;
  auto config = map.Map("fewshot_config");
  if (!config) return;
  if (const auto sampler = config->Text("sampler")) {
    few.python = *sampler == "default";
    if (*sampler != "default" && *sampler != "first_n") {
      config->Fail("sampler", absl::StrCat("'", *sampler, "' is not default or first_n"));
    }
  }
  few.samples = config->JsonTexts("samples");
  if (!few.samples.empty()) few.data.reset();
  if (const auto delimiter = config->Text("fewshot_delimiter")) few.delimiter = *delimiter;
  for (const char* key : {"doc_to_text", "doc_to_target", "doc_to_choice", "process_docs", "fewshot_indices", "split",
                          "gen_prefix", "target_delimiter"}) {
    if (config->Has(key)) config->Fail(key, "is not supported in fewshot_config");
  }
  map.Merge(config->Done());
}

void ReadGeneration(YamlMap& map, BenchmarkSettings* settings) {
  settings->max_new_tokens = kMaxGenToks;
  settings->stop = std::vector<std::string>{settings->few_shot.delimiter.value_or("\n\n")};
  auto kwargs = map.Map("generation_kwargs");
  if (!kwargs) return;
  if (kwargs->Has("until")) settings->stop = kwargs->Texts("until");
  for (const char* key : {"max_gen_toks", "max_new_tokens"}) {
    if (const auto tokens = kwargs->Integer(key)) settings->max_new_tokens = static_cast<int>(*tokens);
  }
  const bool sampled = kwargs->Bool("do_sample").value_or(false);
  BenchmarkSampling sampling;
  const auto temperature = kwargs->Number("temperature");
  const auto top_p = kwargs->Number("top_p");
  const auto top_k = kwargs->Integer("top_k");
  if (sampled) {
    sampling.temperature = temperature.value_or(1);
    sampling.top_p = top_p.value_or(1);
    sampling.top_k = static_cast<int>(top_k.value_or(0));
  }
  if (const auto beams = kwargs->Integer("num_beams")) sampling.beams = static_cast<int>(*beams);
  if (sampling != BenchmarkSampling()) settings->sampling = sampling;
  map.Merge(kwargs->Done());
}

void ReadFilterStep(YamlMap& map, FilterStep* step) {
  const std::string function = map.Text("function").value_or("");
  if (function == "regex") {
    step->kind = FilterStep::Kind::kRegex;
    step->pattern = map.Text("regex_pattern").value_or(R"(#### (\-?[0-9\.\,]+))");
    step->match = static_cast<int>(map.Integer("group_select").value_or(0));
    step->fallback = map.Text("fallback").value_or(step->fallback);
  } else if (function == "multi_choice_regex") {
    step->kind = FilterStep::Kind::kChoiceRegex;
    step->pattern = map.Text("regex_pattern").value_or(R"(#### (\-?[0-9\.\,]+))");
    step->match = static_cast<int>(map.Integer("group_select").value_or(0));
    step->fallback = map.Text("fallback").value_or(step->fallback);
    step->ignore_case = map.Bool("ignore_case").value_or(false);
    step->ignore_punctuation = map.Bool("ignore_punctuation").value_or(false);
    step->regexes_to_ignore = map.Texts("regexes_to_ignore").value_or(std::vector<std::string>());
  } else if (function == "remove_whitespace") {
    step->kind = FilterStep::Kind::kStrip;
  } else if (function == "lowercase") {
    step->kind = FilterStep::Kind::kLowercase;
  } else if (function == "uppercase") {
    step->kind = FilterStep::Kind::kUppercase;
  } else if (function == "map") {
    step->kind = FilterStep::Kind::kMap;
    step->others_stay = false;
    if (auto texts = map.Map("mapping_dict")) {
      for (const std::string& key : texts->Keys()) step->map[key] = texts->Text(key).value_or("");
      map.Merge(texts->Done());
    }
    step->fallback = map.Text("default_value").value_or(step->fallback);
  } else if (function == "take_first") {
    step->kind = FilterStep::Kind::kTakeFirst;
  } else if (function == "take_first_k") {
    step->kind = FilterStep::Kind::kTakeFirstK;
    step->count = static_cast<int>(std::clamp<int64_t>(map.Integer("k").value_or(0), 0, kRepeatsMax + 1));
    if (step->count < 1) map.Fail("k", "is missing or below 1");
  } else if (function == "majority_vote") {
    step->kind = FilterStep::Kind::kMajorityVote;
  } else {
    map.Fail("function", absl::StrCat("'", function,
                                      "' is not supported: regex, multi_choice_regex, map, remove_whitespace, lowercase, "
                                      "uppercase, take_first, take_first_k and majority_vote are"));
  }
}

// Likelihoods are the same each time.
void ReadRepeats(YamlMap& map, BenchmarkSettings* settings) {
  const int64_t repeats = map.Integer("repeats").value_or(1);
  if (repeats < 1 || repeats > kRepeatsMax) map.Fail("repeats", absl::StrCat(repeats, " is not in [1, ", kRepeatsMax, "]"));
  if (settings->output.value_or("generate_until") != "generate_until" || repeats == 1) return;
  settings->completions = static_cast<int>(repeats);
  // Without filters the harness takes the first.
  if (settings->filters.value_or(std::vector<FilterSpec>()).empty())
    settings->filters = std::vector<FilterSpec>{{"", {{.kind = FilterStep::Kind::kTakeFirst}}}};
}

void ReadFilters(YamlMap& map, BenchmarkSettings* settings) {
  if (!map.Has("filter_list")) return;
  settings->filters.emplace();
  for (YamlMap& entry : map.Maps("filter_list")) {
    FilterSpec filter;
    filter.name = entry.Text("name").value_or("");
    for (YamlMap& function : entry.Maps("filter")) {
      const bool taken = !filter.steps.empty() && filter.steps.back().kind == FilterStep::Kind::kTakeFirst;
      FilterStep& step = filter.steps.emplace_back();
      ReadFilterStep(function, &step);
      // A map of one letter is the same there; after it take_first may come again.
      const bool fits = step.kind == FilterStep::Kind::kTakeFirst || step.kind == FilterStep::Kind::kMap;
      if (taken && !fits) function.Fail("function", "stands behind take_first, where the harness applies it to each letter");
      entry.Merge(function.Done());
    }
    map.Merge(entry.Done());
    settings->filters->push_back(std::move(filter));
  }
}

void ReadMetrics(YamlMap& map, BenchmarkSettings* settings) {
  if (!map.Has("metric_list")) return;
  const std::string output = settings->output.value_or("generate_until");
  settings->metrics.emplace();
  for (YamlMap& entry : map.Maps("metric_list", "metric")) {
    MetricSpec metric;
    metric.name = entry.Text("metric").value_or("");
    // Its other metrics of completions are other programs'.
    const std::vector<std::string>& translations = TranslationMetric::Names();
    const bool known = output != "generate_until" || metric.name == "exact_match" ||
                       std::find(translations.begin(), translations.end(), metric.name) != translations.end();
    if (!known) {
      entry.Fail("metric", absl::StrCat("'", metric.name, "' is not supported for ", output));
    }
    metric.ignore_case = entry.Bool("ignore_case").value_or(false);
    metric.ignore_punctuation = entry.Bool("ignore_punctuation").value_or(false);
    metric.ignore_numbers = entry.Bool("ignore_numbers").value_or(false);
    metric.regexes_to_ignore = entry.Texts("regexes_to_ignore").value_or(std::vector<std::string>());
    if (output != "generate_until") metric = {metric.name};
    const std::string aggregation = entry.Text("aggregation").value_or("");
    static const auto* const aggregations =
        new std::map<std::string, std::string>{{"mcc", "matthews_corrcoef"},
                                               {"ter", "ter"},
                                               {"brier_score", "brier_score"},
                                               {"f1", "f1"},
                                               {"bleu", "bleu"},
                                               {"chrf", "chrf"},
                                               {"chrf++", "chrf++"},
                                               {"perplexity", "perplexity"},
                                               {"bits_per_byte", "bits_per_byte"},
                                               {"byte_perplexity", "weighted_perplexity"},
                                               {"word_perplexity", "weighted_perplexity"}};
    const auto usual = aggregations->find(metric.name);
    const std::string expected = usual == aggregations->end() ? "mean" : usual->second;
    if (!aggregation.empty() && aggregation != expected && !(metric.name == "mcc" && aggregation == "mcc")) {
      entry.Fail("aggregation", absl::StrCat("'", aggregation, "' is not supported for ", metric.name, ", only ", expected));
    }
    for (const char* ignored : {"higher_is_better", "weight_by_size"}) entry.Ignore(ignored);  // of tables and of groups
    if (output != "generate_until") entry.Ignore("average");  // there too: its f1 is that of class 1 all the same
    map.Merge(entry.Done());
    settings->metrics->push_back(std::move(metric));
  }
}

void ReadChoices(YamlMap& map, BenchmarkSettings* settings) {
  if (map.IsMap("doc_to_choice")) {
    if (auto choices = map.Map("doc_to_choice")) {
      settings->choices.emplace();
      for (const std::string& key : choices->Keys()) settings->choices->push_back(choices->Text(key).value_or(""));
      map.Merge(choices->Done());
    }
    return;
  }
  settings->choices = map.Texts("doc_to_choice");
}

}  // namespace

bool IsLmEvalTask(const YamlMap& map) {
  if (map.Has("group") && map.Has("task_list")) return true;
  for (const char* key : {"doc_to_text", "doc_to_target", "doc_to_choice", "dataset_path"}) {
    if (map.Has(key)) return true;
  }
  return false;
}

absl::StatusOr<BenchmarkSettings> ReadLmEvalTask(YamlMap& map) {
  if (map.Has("task_list")) {
    map.Fail("task_list", "is not supported; use the file of each task, or a group whose `task` lists them");
    return map.status();
  }
  if (map.IsList("task")) map.Fail("task", "is a list, which only a group has");
  BenchmarkSettings settings;
  settings.output = map.Text("output_type");
  settings.description = map.Text("description");
  settings.prompt = map.Text("doc_to_text").value_or("");
  settings.target = map.Text("doc_to_target");
  settings.target_delimiter = map.Text("target_delimiter");
  settings.gen_prefix = map.Text("gen_prefix");
  settings.bare_target = settings.output.value_or("") == "loglikelihood";
  ReadChoices(map, &settings);
  ReadData(map, &settings);
  ReadFewShots(map, &settings);
  if (settings.output.value_or("generate_until") == "generate_until") {
    ReadGeneration(map, &settings);
    ReadFilters(map, &settings);
  } else {
    for (const char* key : {"generation_kwargs", "filter_list"}) map.Ignore(key);
  }
  ReadMetrics(map, &settings);
  settings.extract = "";
  ReadRepeats(map, &settings);
  // Names, notes and what guards against leaked test data; none changes a score.
  for (const char* key : {"task", "task_alias", "tag", "group", "metadata", "version", "should_decontaminate",
                          "doc_to_decontamination_query", "higher_is_better"}) {
    map.Ignore(key);
  }
  // Of a file that includes another and does without what it says.
  for (const char* key :
       {"process_docs", "process_results", "custom_dataset", "use_prompt", "unsafe_code", "doc_to_image", "doc_to_audio"}) {
    if (map.IsNull(key)) map.Ignore(key);
  }
  MG_RETURN_IF_ERROR(map.Done());
  return settings;
}

}  // namespace merganser
