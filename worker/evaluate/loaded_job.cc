#include "worker/evaluate/loaded_job.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/closest_name.h"
#include "common/base/log.h"
#include "common/base/sample_draw.h"
#include "common/base/status_macros.h"
#include "common/domain/model_paths.h"
#include "common/transfer/checkpoint_files.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/setting_place.h"
#include "worker/device_merge/device_merger.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/merge_placement.h"
#include "worker/evaluate/stopwatch.h"
#include "worker/merge/name_filter.h"

namespace merganser {
namespace {

// Positions of a sequence at a command's endpoint, unless it says how many.
constexpr int64_t kCommandLength = 4096;

// Layers of a candidate's path. The engine's cache grows with the longest path that comes.
constexpr int kPathLengthMax = 1024;

// The benchmark's `error` with `field` before it, or with that of the setting which it is about: "benchmark 'b': stop[0] is
// empty", "q.jsonl:1: prompt of benchmark 'b': ..."; where the setting stands in a file of the benchmark's own, with its
// line.
absl::Status AtSetting(const absl::Status& error, const std::string& field, const BenchmarkSettings& settings,
                       absl::Span<const BenchmarkSettings> siblings) {
  const absl::Status status = AtBenchmarkFile(error, settings, siblings);
  if (status != error) return Annotate(status, absl::StrCat(field, ".use"));
  for (const absl::string_view key : {"use", "data", "prompt", "max_new_tokens", "stop", "extract", "language", "limit",
                                      "question_field", "answer_field"}) {
    if (IsAbout(status.message(), settings.name, key)) return Annotate(status, absl::StrCat(field, ".", key));
  }
  return Annotate(status, field);
}

// Prompts, each of which may have several completions.
int64_t ProblemsOf(const BenchmarkGroup& group) {
  int64_t problems = 0;
  for (const auto& part : group.parts()) {
    problems += static_cast<int64_t>(part->samples().size()) / part->definition().completions;
  }
  return problems;
}

absl::Status Cancelled() { return absl::CancelledError("stopped"); }

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedJob>> LoadedJob::Load(const JobSpec& spec, const LocalOptions& options,
                                                           std::stop_token stop) {
  TemporaryCheckpoint::RemoveLeft();  // of an evaluator that was killed
  std::unique_ptr<LoadedJob> job(new LoadedJob(spec, options));
  MG_RETURN_IF_ERROR(job->LoadCommands());
  if (job->FilesOnly()) {
    MG_RETURN_IF_ERROR(job->LoadFiles());
    MG_RETURN_IF_ERROR(job->CheckObjectives());
    return job;
  }
  MG_RETURN_IF_ERROR(job->LoadModels(stop));
  if (stop.stop_requested()) return Cancelled();
  MG_RETURN_IF_ERROR(job->LoadBenchmarks());
  MG_RETURN_IF_ERROR(job->CheckObjectives());
  MG_RETURN_IF_ERROR(job->CheckTokenizers());
  if (stop.stop_requested()) return Cancelled();
  MG_RETURN_IF_ERROR(job->LoadEngine());
  return job;
}

bool LoadedJob::Take(const JobSpec& spec) {
  if (spec == spec_) return true;
  JobSpec as_here = spec;
  if (spec.models.size() != spec_.models.size()) return false;
  for (size_t i = 0; i < spec.models.size(); ++i) {
    ModelRef& model = as_here.models[i];
    const auto loaded = facts_.contents.find(model.name);
    const std::string named = SplitContent(model.path).second;
    if (loaded != facts_.contents.end() && named == loaded->second) model.path = spec_.models[i].path;
  }
  if (as_here != spec_) return false;
  spec_ = spec;
  return true;
}

void LoadedJob::NoteContent(const ModelRef& model, const std::string& dir) {
  std::string content = SplitContent(model.path).second;  // which it was held against when it was found
  if (content.empty()) content = CheckpointContent(dir).value_or("");
  if (!content.empty()) facts_.contents[model.name] = std::move(content);
}

absl::Status LoadedJob::LoadModels(std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(checkpoints_, OpenModels(spec_.models, options_.model_roots));
  for (const ModelRef& model : spec_.models) NoteContent(model, checkpoints_.at(model.name)->dir());
  donor_ = TokenizerModel(spec_);
  const Checkpoint& donor = *checkpoints_.at(donor_);
  MG_ASSIGN_OR_RETURN(config_, MergedConfig(spec_, checkpoints_));
  if (!AllPlain(spec_, checkpoints_)) {
    MG_ASSIGN_OR_RETURN(RecipeModels opened, OpenJobModels(spec_, options_.model_roots));
    opened_ = std::make_shared<const RecipeModels>(std::move(opened));
  }
  MG_RETURN_IF_ERROR(CheckVisionSides(spec_, checkpoints_, opened_.get()));
  MG_ASSIGN_OR_RETURN(ArenaLayout layout, MergedLayout(config_, donor, spec_.dtype));
  std::vector<std::string> names;
  for (const auto& [name, checkpoint] : checkpoints_) {
    for (const TensorView& tensor : checkpoint->tensors()) names.push_back(tensor.name);
  }
  MG_RETURN_IF_ERROR(CheckFilters(spec_, names));
  MG_ASSIGN_OR_RETURN(auto sources, AdaptedSources(spec_, checkpoints_, layout, opened_.get()));
  if (stop.stop_requested()) return Cancelled();
  MaterializerOptions options;
  options.threads = ThreadsOf(options_);
  MG_ASSIGN_OR_RETURN(materializer_, Materializer::Create(std::move(sources), options));
  layout_ = std::make_unique<ArenaLayout>(std::move(layout));
  MG_ASSIGN_OR_RETURN(tokenizer_, LoadTokenizer(donor_, donor, config_.vocab_size));
  facts_.architecture = donor.config().architecture;
  facts_.num_layers = static_cast<int>(config_.num_layers);
  for (const ArenaTensor& tensor : layout_->tensors()) facts_.parameters += tensor.NumElements();
  for (const auto& [name, checkpoint] : checkpoints_) facts_.resident_bytes += checkpoint->TotalBytes();
  return absl::OkStatus();
}

absl::Status LoadedJob::LoadVisionFor(const BenchmarkGroup& group) {
  const auto sees = [](const auto& part) {
    return std::any_of(part->images().begin(), part->images().end(), [](const auto& images) { return !images.empty(); });
  };
  if (vision_ != nullptr || std::none_of(group.parts().begin(), group.parts().end(), sees)) return absl::OkStatus();
  const std::shared_ptr<const Checkpoint>& donor = checkpoints_.at(donor_);
  if (!IsVisionModel(*donor)) {
    return absl::InvalidArgumentError(absl::StrCat("its prompts have pictures, but '", donor_, "' (", donor->dir(),
                                                   ") is a ", donor->config().architecture, ", which does not see"));
  }
  return LoadVision();
}

absl::Status LoadedJob::LoadVision() {
  MG_ASSIGN_OR_RETURN(const std::string device, DeviceOf(options_));
  MG_ASSIGN_OR_RETURN(const int64_t bytes_max, ImageFeatureCache::BytesMax());
  MG_ASSIGN_OR_RETURN(vision_, CandidateVision::Create(spec_, donor_, checkpoints_.at(donor_), opened_, device,
                                                       ThreadsOf(options_), bytes_max));
  return absl::OkStatus();
}

absl::Status LoadedJob::LoadBenchmarks() {
  std::vector<BenchmarkSpec> all = spec_.benchmarks;
  all.insert(all.end(), spec_.held_out.begin(), spec_.held_out.end());
  const std::vector<BenchmarkSettings> settings = SettingsOf(all);
  ScorerOptions scoring;
  scoring.allow_commands = options_.allow_commands;
  scoring.model = std::make_shared<const ModelText>(ModelText{
      [this](absl::string_view text) { return tokenizer_->Encode(text, /*add_special_tokens=*/false); },
      [this](absl::Span<const int32_t> tokens) { return tokenizer_->Decode(tokens, /*skip_special_tokens=*/true); },
      config_.MaxContext()});
  for (size_t i = 0; i < all.size(); ++i) {
    if (commands_.count(all[i].name) > 0) continue;
    const std::string field = absl::StrCat(i < spec_.benchmarks.size() ? "benchmarks." : "held_out.", all[i].name);
    absl::StatusOr<ResolvedBenchmark> resolved = ResolveWithParts(settings[i], settings);
    if (!resolved.ok()) return AtSetting(resolved.status(), field, settings[i], settings);
    absl::StatusOr<std::unique_ptr<BenchmarkGroup>> group = BenchmarkGroup::Load(*std::move(resolved), scoring);
    if (!group.ok()) return AtSetting(group.status(), field, settings[i], settings);
    if (absl::Status vision = LoadVisionFor(**group); !vision.ok()) return Annotate(vision, field);
    absl::StatusOr<std::unique_ptr<BenchmarkRun>> run = BenchmarkRun::Create(
        *std::move(group), *tokenizer_, config_.MaxContext(), vision_ != nullptr ? &vision_->images() : nullptr);
    if (!run.ok()) return Annotate(run.status(), field);
    facts_.samples[all[i].name] = (*run)->samples();
    facts_.prompt_tokens[all[i].name] = (*run)->prompt_tokens();
    facts_.new_tokens[all[i].name] = (*run)->new_tokens();
    if (const int64_t problems = ProblemsOf((*run)->group()); problems < (*run)->samples()) {
      facts_.problems[all[i].name] = problems;
    }
    benchmarks_[all[i].name] = *std::move(run);
  }
  const auto asks_endpoint = [](const auto& entry) { return entry.second->model() == CommandModel::kEndpoint; };
  if (vision_ == nullptr && IsVisionModel(*checkpoints_.at(donor_)) &&
      std::any_of(commands_.begin(), commands_.end(), asks_endpoint)) {
    MG_RETURN_IF_ERROR(LoadVision());
  }
  TellPictures();
  return absl::OkStatus();
}

absl::Status LoadedJob::CheckObjectives() const {
  for (size_t i = 0; i < spec_.objectives.size(); ++i) {
    const Objective& objective = spec_.objectives[i];
    MG_RETURN_IF_ERROR(CheckCommandMetric(objective, absl::StrCat("objectives[", i, "].metric")));
    const auto it = benchmarks_.find(objective.benchmark);
    if (it == benchmarks_.end()) continue;  // Validate() has seen it
    const std::vector<std::string>& metrics = it->second->group().metric_names();
    if (std::find(metrics.begin(), metrics.end(), objective.metric) == metrics.end()) {
      return absl::InvalidArgumentError(absl::StrCat("objectives[", i, "].metric: benchmark '", objective.benchmark,
                                                     "' has no metric '", objective.metric, "'",
                                                     DidYouMean(objective.metric, metrics)));
    }
    if (it->second->group().SmallerIsBetter(objective.metric)) {
      return absl::InvalidArgumentError(absl::StrCat("objectives[", i, "].metric: a smaller '", objective.metric,
                                                     "' is better, and fitness is maximised; use 'log_likelihood'"));
    }
  }
  return absl::OkStatus();
}

absl::Status LoadedJob::CheckTokenizers() {
  for (const auto& [name, checkpoint] : checkpoints_) {
    if (name == donor_) continue;
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(checkpoint->dir());
    if (!tokenizer.ok()) return Annotate(tokenizer.status(), absl::StrCat("models.", name, ".path"));
    if ((*tokenizer)->Fingerprint() == tokenizer_->Fingerprint()) continue;
    // Fine-tunes often rewrite the file without changing a token: what counts is how it reads the prompts.
    for (const auto& [benchmark, run] : benchmarks_) {
      const absl::Status same = run->CheckSameTokens(**tokenizer);
      if (same.ok()) continue;
      return absl::InvalidArgumentError(absl::StrCat("models.", name, ".path: the tokenizer of ", checkpoint->dir(),
                                                     " reads ", same.message(), " as other tokens than that of '", donor_,
                                                     "'; models to be merged need one tokenizer"));
    }
  }
  return absl::OkStatus();
}

absl::Status LoadedJob::LoadEngine() {
  const Checkpoint& donor = *checkpoints_.at(donor_);
  EngineOptions options;
  MG_ASSIGN_OR_RETURN(options.device, DeviceOf(options_));
  MG_ASSIGN_OR_RETURN(options.compute, ComputeOf(options_, options.device));
  options.cuda_graphs = options_.cuda_graphs;
  options.threads = ThreadsOf(options_);
  int64_t samples = 0;
  for (const auto& [name, run] : benchmarks_) samples = std::max<int64_t>(samples, run->samples());
  options.max_sequences = SequencesOf(options_, options.device, samples);
  options.eos_token_ids = donor.generation_config().eos_token_ids;
  options.decode = [this](absl::Span<const int32_t> tokens) {
    return tokenizer_->Decode(tokens, /*skip_special_tokens=*/true);
  };
  for (const auto& [name, run] : benchmarks_) options.max_length = std::max<int64_t>(options.max_length, run->max_length());
  for (const auto& [name, command] : commands_) {
    if (command->model() == CommandModel::kCheckpoint) continue;
    const int64_t wanted = command->max_length() > 0 ? command->max_length() : kCommandLength;
    options.max_length = std::max(options.max_length, std::min(wanted, config_.MaxContext()));
  }
  options.max_path_length = kPathLengthMax;
  MG_ASSIGN_OR_RETURN(decoder_, Decoder::Create(config_, options));
  // The weights once in the arena and once as the engine holds them, the cache for a path of the usual length, and pictures.
  const bool wide = decoder_->WidensWeights(spec_.dtype);
  facts_.candidate_bytes = layout_->TotalBytes() + (wide ? 4 : 2) * facts_.parameters + decoder_->cache_bytes() +
                           (vision_ != nullptr ? vision_->images().bytes() : 0);
  // After the engine, so that sources get what it leaves of the device's memory.
  MG_ASSIGN_OR_RETURN(auto room, RoomAhead(options_, options.device, facts_.resident_bytes));
  const int64_t second_arena = room != nullptr ? layout_->TotalBytes() : 0;
  MG_ASSIGN_OR_RETURN(std::unique_ptr<DeviceMerger> merger,
                      PlaceMerge(*materializer_, options_, options.device, facts_.candidate_bytes + second_arena));
  auto model = std::make_unique<CandidateModel>(checkpoints_, *materializer_, *layout_);
  if (merger != nullptr) {
    MG_LOG(INFO) << "candidates are merged on the device device=" << options.device
                 << " resident_bytes=" << merger->resident_bytes() << " source_bytes=" << facts_.resident_bytes;
    model->MergeOn(std::move(merger));
  }
  models_ = std::make_unique<ModelsAhead>(std::move(model), std::move(room));
  return absl::OkStatus();
}

void LoadedJob::TellTraffic(double seconds) {
  const MergeTraffic& traffic = models_->traffic();
  if (traffic.needed == 0 || traffic == told_traffic_) return;
  told_traffic_ = traffic;
  MG_LOG(INFO) << "merged on the device needed_bytes=" << traffic.needed << " streamed_bytes=" << traffic.host_to_device
               << " seconds=" << seconds;
}

void LoadedJob::TellPictures() {
  if (vision_ == nullptr || vision_->images().bytes() <= told_picture_bytes_) return;
  const ImageFeatureCache& images = vision_->images();
  told_picture_bytes_ = images.bytes();
  MG_LOG(INFO) << "pictures read images=" << images.images() << " kept=" << images.kept() << " kept_bytes=" << images.bytes()
               << " bound_bytes=" << images.bytes_max() << " seconds=" << images.seconds();
}

void LoadedJob::Expect(const Recipe& next) {
  if (models_ == nullptr) return;
  models_->Expect(WithPathsOf(spec_.models, next));
}

absl::StatusOr<Evaluation> LoadedJob::Evaluate(const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                               const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop) {
  Evaluation evaluation;
  std::unique_ptr<TemporaryCheckpoint> checkpoint;
  phase("materialize");
  if (decoder_ != nullptr) {
    Stopwatch watch(&evaluation.timings.materialize);
    MG_ASSIGN_OR_RETURN(const ModelWeights weights, models_->Materialize(recipe, stop));
    evaluation.merged_bytes = models_->merged_bytes();
    MG_RETURN_IF_ERROR(decoder_->LoadWeights(weights));
    if (vision_ != nullptr) MG_RETURN_IF_ERROR(vision_->Materialize(recipe, stop));
  }
  if (decoder_ != nullptr) {
    TellTraffic(evaluation.timings.materialize);
    models_->Begin();
  }
  phase("evaluate");
  for (const std::string& sampled : benchmarks) {
    const BenchmarkRequest request = ParseBenchmarkRequest(sampled);
    const std::string& name = request.benchmark;
    if (const auto command = commands_.find(name); command != commands_.end()) {
      if (request.draw || request.samples) {
        return absl::InvalidArgumentError(
            absl::StrCat("samples: benchmark '", name, "' is a command, of which no samples can be drawn"));
      }
      MG_ASSIGN_OR_RETURN(BenchmarkResult result,
                          RunCommand(*command->second, recipe, &checkpoint, &evaluation.timings, stop));
      evaluation.results.push_back(std::move(result));
      continue;
    }
    if (benchmarks_.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("benchmarks: the job has no benchmark '", name, "'"));
    }
    const BenchmarkRun& run = *benchmarks_.at(name);
    std::vector<int64_t> samples = RequestedSamples(request, spec_.seed, spec_.samples.per_generation, run.samples());
    if (samples.empty() || samples.back() >= run.samples()) {
      return absl::InvalidArgumentError(
          absl::StrCat("benchmarks: '", sampled, "' is not of the ", run.samples(), " samples of '", name, "'"));
    }
    MG_ASSIGN_OR_RETURN(BenchmarkResult result, run.Run(*decoder_, samples, &evaluation.timings, stop));
    if (static_cast<int64_t>(samples.size()) < run.samples()) result.numbers = std::move(samples);
    evaluation.results.push_back(std::move(result));
  }
  if (decoder_ == nullptr) return evaluation;
  TellPictures();
  const GenerationTimings timings = decoder_->timings();
  evaluation.timings.prefill = timings.prefill_seconds;
  evaluation.timings.decode = timings.decode_seconds;
  evaluation.prompt_tokens = timings.prompt_tokens;
  evaluation.generated_tokens = timings.generated_tokens;
  return evaluation;
}

}  // namespace merganser
