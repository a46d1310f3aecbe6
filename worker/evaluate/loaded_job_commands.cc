// The part of LoadedJob that runs users' programs.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/checkpoint/raw_config.h"
#include "worker/checkpoint/weight_files.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/loaded_job.h"
#include "worker/evaluate/served_vision.h"
#include "worker/merge/name_filter.h"
#include "worker/text/chat_template.h"

namespace merganser {

absl::Status LoadedJob::LoadCommands() {
  for (const bool held_out : {false, true}) {
    for (const BenchmarkSpec& spec : held_out ? spec_.held_out : spec_.benchmarks) {
      if (!IsCommand(spec)) continue;
      absl::StatusOr<std::unique_ptr<CommandBenchmark>> command = CommandBenchmark::Create(spec, options_);
      if (!command.ok()) {
        return Annotate(command.status(), absl::StrCat(held_out ? "held_out." : "benchmarks.", spec.name));
      }
      commands_[spec.name] = *std::move(command);
      // A program is one sample, whatever it looks at.
      facts_.samples[spec.name] = 1;
      facts_.prompt_tokens[spec.name] = 0;
    }
  }
  return absl::OkStatus();
}

bool LoadedJob::FilesOnly() const {
  return commands_.size() == spec_.benchmarks.size() + spec_.held_out.size() &&
         std::all_of(commands_.begin(), commands_.end(),
                     [](const auto& entry) { return entry.second->model() == CommandModel::kCheckpoint; });
}

absl::Status LoadedJob::LoadFiles() {
  donor_ = TokenizerModel(spec_);
  std::map<std::string, std::shared_ptr<const WeightFiles>> files;
  for (const ModelRef& model : spec_.models) {
    const std::string field = absl::StrCat("models.", model.name, ".path");
    absl::StatusOr<std::string> dir = ResolveModel(model.path, LocatorOptions(options_.model_roots));
    if (!dir.ok()) return Annotate(dir.status(), field);
    absl::StatusOr<std::shared_ptr<const WeightFiles>> opened = WeightFiles::Open(*dir);
    if (!opened.ok()) return Annotate(opened.status(), field);
    if (model.name == donor_) {
      absl::StatusOr<RawConfig> config = RawConfig::Read(*dir);
      if (!config.ok()) return Annotate(config.status(), field);
      facts_.architecture = config->architecture;
      facts_.num_layers = static_cast<int>(config->num_layers);
    }
    NoteContent(model, *dir);
    facts_.resident_bytes += (*opened)->TotalBytes();
    files[model.name] = *std::move(opened);
  }
  // Models that merge have the same tensors; the first that differs is named before anything is searched.
  const WeightFiles& donor = *files.at(donor_);
  std::vector<std::string> names;
  for (const TensorView& tensor : donor.tensors()) names.push_back(tensor.name);
  MG_RETURN_IF_ERROR(CheckFilters(spec_, names));
  for (const TensorView& tensor : donor.tensors()) {
    facts_.parameters += tensor.NumElements();
    for (const auto& [name, other] : files) {
      const TensorView* const found = other->Find(tensor.name);
      const std::string field = absl::StrCat("models.", name, ".path: tensor ", tensor.name);
      if (found == nullptr) return absl::InvalidArgumentError(absl::StrCat(field, " of '", donor_, "' is missing here"));
      if (found->shape == tensor.shape) continue;
      return absl::InvalidArgumentError(absl::StrCat(field, " has shape [", absl::StrJoin(found->shape, ", "), "], and [",
                                                     absl::StrJoin(tensor.shape, ", "), "] in '", donor_, "'"));
    }
  }
  facts_.candidate_bytes = donor.TotalBytes();
  return absl::OkStatus();
}

absl::Status LoadedJob::CheckCommandMetric(const Objective& objective, const std::string& field) const {
  const auto command = commands_.find(objective.benchmark);
  if (command == commands_.end()) return absl::OkStatus();
  const std::vector<std::string>& metrics = command->second->metrics();
  if (metrics.empty() || std::find(metrics.begin(), metrics.end(), objective.metric) != metrics.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(field, ": the command of benchmark '", objective.benchmark,
                                                 "' prints no metric '", objective.metric, "'",
                                                 DidYouMean(objective.metric, metrics)));
}

absl::StatusOr<BenchmarkResult> LoadedJob::RunCommand(const CommandBenchmark& command, const Recipe& recipe,
                                                      std::unique_ptr<TemporaryCheckpoint>* checkpoint,
                                                      PhaseTimings* timings, std::stop_token stop) {
  const auto now = [] { return absl::ToDoubleSeconds(Clock::Real().Monotonic()); };
  double start = now();
  absl::StatusOr<BenchmarkResult> result;
  if (command.model() == CommandModel::kCheckpoint) {
    if (*checkpoint == nullptr) {
      MG_ASSIGN_OR_RETURN(*checkpoint, TemporaryCheckpoint::Write(recipe, options_, stop));
      timings->materialize += now() - start;
      start = now();
    }
    result = command.RunOn((*checkpoint)->dir(), stop);
  } else {
    const Checkpoint& donor = *checkpoints_.at(donor_);
    ServedModel model;
    model.names = {"merged"};
    model.tokenizer = tokenizer_.get();
    model.chat_template = ChatTemplate::Load(donor.dir());
    model.max_length = decoder_->max_length();
    model.vocab_size = config_.vocab_size;
    model.created = absl::ToUnixSeconds(absl::Now());
    std::unique_ptr<ServedVision> eyes;
    if (vision_ != nullptr) {
      eyes = std::make_unique<ServedVision>(vision_->images(), ThreadsOf(options_));
      model.pictures = eyes.get();
    }
    result = command.RunAtEndpoint(model, *decoder_, stop);
  }
  timings->score += now() - start;
  return result;
}

}  // namespace merganser
