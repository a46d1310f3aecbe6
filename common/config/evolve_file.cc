#include "common/config/evolve_file.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/config/struct_section.h"
#include "google/protobuf/struct.pb.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr double kWeightMax = 2, kNegativeWeightMin = -1;
constexpr int kFinalists = 8;

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

// `text` as the name of a job, model or benchmark that no other in `taken` has, which then has it too.
std::string NameFrom(absl::string_view text, std::set<std::string>* taken) {
  std::string name;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    if (name.empty() && !absl::ascii_isalnum(static_cast<unsigned char>(c))) continue;
    name += plain ? c : '-';
  }
  name = name.empty() ? "unnamed" : name.substr(0, 56);
  std::string free = name;
  for (int i = 2; !taken->insert(free).second; ++i) free = absl::StrCat(name, "-", i);
  return free;
}

// A path, or {path, revision}.
absl::StatusOr<std::string> PathIn(const Value& value, const std::string& field) {
  if (value.kind_case() == Value::kStringValue) return value.string_value();
  if (value.kind_case() != Value::kStructValue) return Bad(field, "must be a path or Hub id");
  MG_ASSIGN_OR_RETURN(const StructSection section, StructSection::Of(value.struct_value(), field, {"path", "revision"}));
  MG_ASSIGN_OR_RETURN(const std::string path, section.Text("path"));
  MG_ASSIGN_OR_RETURN(const std::string revision, section.Text("revision"));
  if (path.empty()) return Bad(section.PathOf("path"), "missing");
  return revision.empty() ? path : absl::StrCat(path, "@", revision);
}

// "PATH", "PATH+LORA" or {model, lora}; without a name yet.
absl::StatusOr<ModelRef> ModelIn(const Value& value, const std::string& field) {
  ModelRef model;
  if (value.kind_case() == Value::kStringValue) {
    const std::vector<std::string> parts = absl::StrSplit(value.string_value(), '+');
    if (parts.size() > 2 || parts.front().empty()) {
      return Bad(field, absl::StrCat("'", value.string_value(), "' is no model; give PATH or PATH+LORA"));
    }
    model.path = parts.front();
    if (parts.size() == 2) model.lora = parts.back();
    return model;
  }
  if (value.kind_case() != Value::kStructValue) return Bad(field, "must be a path or Hub id");
  MG_ASSIGN_OR_RETURN(const StructSection section,
                      StructSection::Of(value.struct_value(), field, {"model", "lora", "override_architecture"}));
  if (section.Find("override_architecture") != nullptr) {
    return Bad(section.PathOf("override_architecture"),
               "is not known here: a family is known by its config.json and tensors; remove it");
  }
  if (section.Find("model") == nullptr) return Bad(section.PathOf("model"), "missing");
  MG_ASSIGN_OR_RETURN(model.path, PathIn(*section.Find("model"), section.PathOf("model")));
  if (section.Find("lora") != nullptr) {
    MG_ASSIGN_OR_RETURN(model.lora, PathIn(*section.Find("lora"), section.PathOf("lora")));
  }
  return model;
}

class EvolveReader {
 public:
  EvolveReader(const EvolveOptions& options, EvolveJob* job) : options_(options), job_(job), spec_(job->spec) {}

  absl::Status Read(const Struct& root) {
    MG_ASSIGN_OR_RETURN(const StructSection file,
                        StructSection::Of(root, "",
                                          {"genome", "tasks", "limit", "num_fewshot", "shuffle", "random_init",
                                           "apply_chat_template", "fewshot_as_multiturn"}));
    const Value* genome = file.Find("genome");
    if (genome == nullptr) return Bad("genome", "missing; it says which models are merged, and how");
    if (genome->kind_case() != Value::kStructValue) return Bad("genome", "must be a map");
    MG_ASSIGN_OR_RETURN(const StructSection section,
                        StructSection::Of(genome->struct_value(), "genome",
                                          {"models", "merge_method", "base_model", "tokenizer_source", "layer_granularity",
                                           "normalize", "allow_negative_weights", "filters", "smooth"}));
    MG_RETURN_IF_ERROR(ReadModels(section));
    MG_RETURN_IF_ERROR(ReadSpace(section));
    for (const char* field : {"space", "optimizer"}) job_->source.AddAlias(field, "genome");
    MG_RETURN_IF_ERROR(ReadTasks(file));
    MG_RETURN_IF_ERROR(ReadSamples(file));
    spec_.budget.candidates = options_.max_fevals;
    job_->notes.push_back(absl::StrCat("optimizer: our default CMA-ES, where mergekit-evolve has pycma's; ",
                                       options_.max_fevals, " candidates (--max-fevals)"));
    return absl::OkStatus();
  }

 private:
  // Its name in the job.
  std::string AddModel(ModelRef model, const std::string& field) {
    const auto known = std::find_if(spec_.models.begin(), spec_.models.end(), [&](const ModelRef& other) {
      return other.path == model.path && other.lora == model.lora;
    });
    if (known != spec_.models.end()) return known->name;
    const std::string path = model.path.substr(0, model.path.find('@'));
    model.name = NameFrom(std::filesystem::path(path).lexically_normal().filename().string(), &model_names_);
    job_->source.AddAlias(absl::StrCat("models.", model.name), field);
    spec_.models.push_back(std::move(model));
    return spec_.models.back().name;
  }

  // Which models there are, and which is the base.
  absl::Status ReadModels(const StructSection& genome) {
    MG_ASSIGN_OR_RETURN(method_, genome.Text("merge_method"));
    static const auto* const methods =
        new std::vector<std::string>{"linear", "task_arithmetic", "ties", "dare_ties", "slerp"};
    if (method_.empty()) return Bad("genome.merge_method", "missing");
    if (std::find(methods->begin(), methods->end(), method_) == methods->end()) {
      return Bad("genome.merge_method",
                 absl::StrCat("mergekit-evolve has no '", method_, "'", DidYouMean(method_, *methods)));
    }
    const Value* models = genome.Find("models");
    if (models == nullptr || models->list_value().values().empty()) return Bad("genome.models", "must be a list of models");
    std::vector<std::string>& sources = spec_.parameter.sources;
    for (int i = 0; i < models->list_value().values_size(); ++i) {
      const std::string field = absl::StrCat("genome.models[", i, "]");
      MG_ASSIGN_OR_RETURN(const ModelRef model, ModelIn(models->list_value().values(i), field));
      const std::string name = AddModel(model, field);
      if (std::find(sources.begin(), sources.end(), name) != sources.end()) {
        return Bad(field, absl::StrCat("'", model.path, "' is listed twice"));
      }
      sources.push_back(name);
    }
    std::string base;
    if (const Value* value = genome.Find("base_model"); value != nullptr) {
      MG_ASSIGN_OR_RETURN(const ModelRef model, ModelIn(*value, "genome.base_model"));
      base = AddModel(model, "genome.base_model");
    }
    const bool listed = std::find(sources.begin(), sources.end(), base) != sources.end();
    if ((method_ == "linear" || method_ == "slerp") && !base.empty() && !listed) {
      return Bad("genome.base_model",
                 absl::StrCat("is none of genome.models, and ", method_, " merges only these; list it there, or remove it"));
    }
    if (base.empty() && method_ != "linear" && method_ != "slerp") {
      return Bad("genome.base_model", absl::StrCat("missing; ", method_, " merges task vectors against a base"));
    }
    MG_RETURN_IF_ERROR(ReadTokenizer(genome, &base));
    if (method_ == "slerp" && sources.size() != 2) {
      return Bad("genome.models", absl::StrCat("slerp of ", sources.size(),
                                               " models, of which each group of layers would have its own two, is not known "
                                               "here; list two, or write `merge_method: linear`"));
    }
    if (method_ == "linear") {  // the first gives the tokenizer
      const auto first = std::find(sources.begin(), sources.end(), base);
      if (first != sources.end()) std::rotate(sources.begin(), first, first + 1);
      return absl::OkStatus();
    }
    if (base.empty()) base = sources.front();
    spec_.parameter.base = base;
    std::erase(sources, base);
    if (sources.empty()) return Bad("genome.models", "has no model but the base");
    if (listed && method_ != "slerp") {
      job_->notes.push_back(absl::StrCat(base, " is the base, so its task vector is 0 and it has no weight of its own"));
    }
    return absl::OkStatus();
  }

  // Candidates have the base's tokenizer, or the first source's: it is `base` that may still be chosen.
  absl::Status ReadTokenizer(const StructSection& genome, std::string* base) {
    const Value* value = genome.Find("tokenizer_source");
    if (value == nullptr) return absl::OkStatus();
    const std::string field = "genome.tokenizer_source";
    if (value->kind_case() == Value::kStringValue && value->string_value() == "base") return absl::OkStatus();
    if (value->kind_case() == Value::kStringValue && value->string_value() == "union") {
      return Bad(field,
                 "a search does not unite tokenizers; write `base`, or give each model the united one first (`merganser "
                 "merge` of a recipe with `tokenizer: {source: union}`)");
    }
    MG_ASSIGN_OR_RETURN(ModelRef model, ModelIn(*value, field));
    const auto known = std::find_if(spec_.models.begin(), spec_.models.end(), [&](const ModelRef& other) {
      return other.path == model.path && other.lora == model.lora;
    });
    if (known == spec_.models.end()) {
      return Bad(field, absl::StrCat("'", model.path, "' is neither `base` nor one of the models"));
    }
    if (*base == known->name) return absl::OkStatus();
    if (!base->empty() && method_ != "linear" && method_ != "slerp") {
      return Bad(field, "candidates have the tokenizer of base_model; write `base`");
    }
    *base = known->name;  // linear and slerp are the same whichever of their models comes first
    return absl::OkStatus();
  }

  absl::Status ReadSpace(const StructSection& genome) {
    ParameterSpace& space = spec_.parameter;
    space.method = method_;
    MG_ASSIGN_OR_RETURN(const auto layers, genome.Whole("layer_granularity", 0));
    MG_ASSIGN_OR_RETURN(space.granularity.filters, genome.Texts("filters"));
    const int block = static_cast<int>(layers.value_or(0));
    using Kind = Granularity::Kind;
    const bool filters = !space.granularity.filters.empty();
    space.granularity.kind = block == 1 && !filters ? Kind::kLayer
                             : block > 0            ? Kind::kBlock
                             : filters              ? Kind::kFilters
                                                    : Kind::kModel;
    if (space.granularity.kind == Kind::kBlock) space.granularity.block = block;
    MG_ASSIGN_OR_RETURN(const auto smooth, genome.Bool("smooth"));
    MG_ASSIGN_OR_RETURN(const auto normalize, genome.Bool("normalize"));
    MG_ASSIGN_OR_RETURN(const auto negative, genome.Bool("allow_negative_weights"));
    if (method_ == "slerp") {
      const std::initializer_list<std::pair<const char*, bool>> meaningless = {
          {"smooth", smooth.value_or(false)},
          {"filters", filters},
          {"allow_negative_weights", negative.value_or(false)},
          {"normalize", normalize.has_value()}};
      for (const auto& [key, said] : meaningless) {
        if (said) return Bad(genome.PathOf(key), "has no meaning for slerp; remove it");
      }
      space.bounds["t"] = {0, 1};
      job_->notes.push_back(absl::StrCat("t is searched in [0, 1] from ", space.base, " to ", space.sources.front(),
                                         ", which is every slerp of the two"));
      return absl::OkStatus();
    }
    // Values between the middles of blocks: of one block, or of blocks of a layer, these are the blocks' own.
    if (smooth.value_or(false) && block > 1) {
      return Bad(
          "genome.smooth",
          "is not known here; write `smooth: false` with the same layer_granularity, or `layer_granularity: 1`, which "
          "has every smooth recipe and more");
    }
    const bool normalized = normalize.value_or(method_ != "task_arithmetic");
    space.fixed["normalize"] = normalized ? 1 : 0;
    Bounds& weight = space.bounds["weight"];
    weight.high = normalized && !negative.value_or(false) ? 1 : kWeightMax;  // of normalized ones only ratios count
    weight.low = negative.value_or(false) ? kNegativeWeightMin : 0;
    const bool density = method_ == "ties" || method_ == "dare_ties";
    if (density) space.bounds["density"] = {0, 1};
    job_->notes.push_back(absl::StrCat("weights are searched in [", weight.low, ", ", weight.high, "]",
                                       density ? ", densities in [0, 1]" : "", ", where mergekit-evolve has no bounds",
                                       normalized ? " (they are normalized, so only their ratios count)" : ""));
    return absl::OkStatus();
  }

  absl::Status ReadTasks(const StructSection& file) {
    MG_ASSIGN_OR_RETURN(const auto shots, file.Whole("num_fewshot", 0));
    MG_ASSIGN_OR_RETURN(const auto limit, file.Whole("limit", 1));
    const Value* tasks = file.Find("tasks");
    if (tasks == nullptr || tasks->list_value().values().empty()) return Bad("tasks", "must be a list of tasks");
    std::set<std::pair<std::string, std::string>> seen;
    for (int i = 0; i < tasks->list_value().values_size(); ++i) {
      const Value& value = tasks->list_value().values(i);
      const std::string field = absl::StrCat("tasks[", i, "]");
      Struct fields;  // a text is the name
      if (value.kind_case() == Value::kStringValue) (*fields.mutable_fields())["name"] = value;
      if (value.kind_case() == Value::kStructValue) fields = value.struct_value();
      MG_ASSIGN_OR_RETURN(const StructSection task, StructSection::Of(fields, field, {"name", "weight", "metric"}));
      MG_ASSIGN_OR_RETURN(const std::string name, task.Text("name"));
      if (name.empty()) return Bad(task.PathOf("name"), "missing");
      Objective objective;
      MG_ASSIGN_OR_RETURN(objective.metric, MetricOf(task));
      MG_ASSIGN_OR_RETURN(objective.weight, task.Number("weight", 1));
      if (objective.weight < 0) {
        return Bad(task.PathOf("weight"),
                   absl::StrCat(objective.weight,
                                " is below 0, and more of a metric is better here; choose one of which that "
                                "is true (`log_likelihood` instead of a perplexity)"));
      }
      if (!seen.emplace(name, objective.metric).second) {
        return Bad(field, absl::StrCat("'", name, "' is there already with this metric; add up their weights"));
      }
      MG_ASSIGN_OR_RETURN(objective.benchmark, AddBenchmark(name, field, shots, limit));
      job_->source.AddAlias(absl::StrCat("objectives[", i, "]"), field);
      spec_.objectives.push_back(std::move(objective));
    }
    return absl::OkStatus();
  }

  // "acc,none" is acc, "exact_match,strict" is exact_match@strict.
  static absl::StatusOr<std::string> MetricOf(const StructSection& task) {
    MG_ASSIGN_OR_RETURN(const std::string metric, task.Text("metric", "acc,none"));
    const std::vector<std::string> parts = absl::StrSplit(metric, ',');
    if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) {
      return Bad(task.PathOf("metric"), absl::StrCat("'", metric, "' is not METRIC,FILTER, as `acc,none` is"));
    }
    if (absl::EndsWith(parts[0], "_stderr")) return Bad(task.PathOf("metric"), "is a standard error, not a score");
    return parts[1] == "none" ? parts[0] : absl::StrCat(parts[0], "@", parts[1]);
  }

  // The benchmark's name.
  absl::StatusOr<std::string> AddBenchmark(const std::string& task, const std::string& field,
                                           const std::optional<int64_t>& shots, const std::optional<int64_t>& limit) {
    const auto known = benchmark_of_.find(task);
    if (known != benchmark_of_.end()) return known->second;
    const std::string at = job_->source.Knows(absl::StrCat(field, ".name")) ? absl::StrCat(field, ".name") : field;
    if (!options_.find_task) return Bad(at, absl::StrCat("no folder to look for '", task, "' in"));
    const absl::StatusOr<EvolveTask> found = options_.find_task(task);
    if (!found.ok()) return absl::Status(found.status().code(), absl::StrCat(at, ": ", found.status().message()));
    // A 0 in a task's file stands, in the harness too.
    const int64_t own = found->num_fewshot.value_or(0);
    if (shots && *shots != own && found->num_fewshot != 0) {
      return Bad("num_fewshot", absl::StrCat(*shots, ", but a job's few-shots are those of the task's file, where ",
                                             found->file, " has ", found->num_fewshot ? absl::StrCat(own) : "none",
                                             "; write `num_fewshot: ", *shots, "` there, or in a file `{include: ",
                                             std::filesystem::path(found->file).filename().string(), ", task: ", task, "_",
                                             *shots, "shot, num_fewshot: ", *shots, "}` beside it, and name that task"));
    }
    BenchmarkSpec& benchmark = spec_.benchmarks.emplace_back();
    benchmark.name = NameFrom(task, &benchmark_names_);
    benchmark.use = found->file;
    benchmark.limit = limit;
    job_->source.AddAlias(absl::StrCat("benchmarks.", benchmark.name), field);
    if (!found->hub_dataset.empty()) {
      job_->notes.push_back(absl::StrCat("the data of ", task, " is the Hub's ", found->hub_dataset,
                                         "; save it as JSON lines and name them in the job that `merganser convert` writes, "
                                         "as benchmarks.",
                                         benchmark.name, ".data"));
    }
    return benchmark_of_[task] = benchmark.name;
  }

  absl::Status ReadSamples(const StructSection& file) {
    MG_ASSIGN_OR_RETURN(const auto chat, file.Bool("apply_chat_template"));
    MG_ASSIGN_OR_RETURN([[maybe_unused]] const auto multiturn, file.Bool("fewshot_as_multiturn"));  // of chat templates only
    if (chat.value_or(true)) {
      return Bad(
          "apply_chat_template",
          absl::StrCat(chat ? "" : "is true unless said, but ",
                       "a job's prompts are plain text; write `apply_chat_template: false` (what the models' template "
                       "puts around a prompt can stand in the task's doc_to_text)"));
    }
    MG_ASSIGN_OR_RETURN(const auto random_start, file.Bool("random_init"));
    if (random_start.value_or(false)) {
      return Bad(
          "random_init",
          "a search begins in the middle of its bounds; write `random_init: false` (for another beginning: `merganser "
          "convert` and then `optimizer: {cma_es: {mean: 0.3}}` in the job)");
    }
    MG_ASSIGN_OR_RETURN(const auto shuffle, file.Bool("shuffle"));
    if (!shuffle.value_or(false) || !spec_.benchmarks.front().limit) return absl::OkStatus();  // a mean has no order
    if (spec_.benchmarks.size() > 1) {
      return Bad(
          "shuffle",
          "with a limit candidates have other samples each time, so the best are compared on one task at the end, and "
          "there are several; write `shuffle: false`");
    }
    BenchmarkSpec& drawn = spec_.benchmarks.front();
    spec_.samples.per_generation = *std::exchange(drawn.limit, std::nullopt);
    BenchmarkSpec all;
    all.name = NameFrom(drawn.name + "_all", &benchmark_names_);
    all.use = drawn.name;
    spec_.finalists = {.count = kFinalists, .benchmark = all.name};
    job_->notes.push_back(absl::StrCat("shuffle: each generation is scored on ", spec_.samples.per_generation,
                                       " samples of its own, and the best ", kFinalists,
                                       " candidates on all of them at the end"));
    job_->source.AddAlias("samples", "shuffle");
    job_->source.AddAlias("finalists", "shuffle");
    spec_.benchmarks.push_back(std::move(all));
    return absl::OkStatus();
  }

  const EvolveOptions& options_;
  EvolveJob* const job_;
  JobSpec& spec_;
  std::string method_;
  std::set<std::string> model_names_ = {"average", "winner", "merged", "mean", "exported"};  // of results
  std::set<std::string> benchmark_names_ = {kCostBenchmark};
  std::map<std::string, std::string> benchmark_of_;  // by task
};

}  // namespace

bool IsEvolveText(absl::string_view text) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return false;
    for (const char* key : {"space", "objectives", "benchmarks"}) {
      if (root[key].IsDefined()) return false;
    }
    return root["genome"].IsDefined() || root["tasks"].IsDefined();
  } catch (const YAML::Exception&) {
    return false;
  }
}

absl::StatusOr<EvolveJob> ReadEvolveText(absl::string_view text, const std::string& file, const EvolveOptions& options) {
  Value root;
  EvolveJob job;
  MG_ASSIGN_OR_RETURN(job.source, ReadYaml(text, file, &root));
  std::set<std::string> none;
  job.spec.name = NameFrom(std::filesystem::path(file).stem().string(), &none);
  const absl::Status read = EvolveReader(options, &job).Read(root.struct_value());
  if (!read.ok()) return job.source.Locate(read);
  // As in a job of its own, where they are maps.
  const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  std::sort(job.spec.models.begin(), job.spec.models.end(), by_name);
  std::sort(job.spec.benchmarks.begin(), job.spec.benchmarks.end(), by_name);
  return job;
}

}  // namespace merganser
