// Everything that a job's candidates share, made once: checkpoints mapped, statistics of the sources, arena, engine,
// benchmarks with their prompts as tokens. A candidate then costs its merge, its generation and its scoring, and nothing
// else.
#ifndef MERGANSER_WORKER_EVALUATE_LOADED_JOB_H_
#define MERGANSER_WORKER_EVALUATE_LOADED_JOB_H_

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"
#include "worker/engine/decoder.h"
#include "worker/evaluate/benchmark_run.h"
#include "worker/evaluate/candidate_evaluator.h"
#include "worker/evaluate/candidate_vision.h"
#include "worker/evaluate/command_benchmark.h"
#include "worker/evaluate/local_library.h"
#include "worker/evaluate/models_ahead.h"
#include "worker/evaluate/source_models.h"
#include "worker/evaluate/temporary_checkpoint.h"
#include "worker/merge/materializer.h"
#include "worker/text/tokenizer.h"

namespace merganser {

// Thread-compatible: one call at a time.
class LoadedJob {
 public:
  // Errors start with the field of the job that is to blame: those of the modules that load, and those of MergedConfig,
  // OpenJobModels, CheckVisionSides, CheckFilters and AdaptedSources, and InvalidArgument for tokenizers that read a
  // benchmark's prompts differently, and for an objective's metric that its benchmark does not have.
  static absl::StatusOr<std::unique_ptr<LoadedJob>> Load(const JobSpec& spec, const LocalOptions& options,
                                                         std::stop_token stop);

  const JobSpec& spec() const { return spec_; }
  // Whether `spec` is that of this job, or differs from it only in paths of models that name the content which was loaded;
  // then it is this job's from now on.
  bool Take(const JobSpec& spec);
  const JobFacts& facts() const { return facts_; }

  absl::StatusOr<Evaluation> Evaluate(const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop);
  // CandidateEvaluator::Expect. Any thread, also during Evaluate.
  void Expect(const Recipe& next);
  // Whether the next candidate is or was merged ahead.
  bool merges_ahead() const { return models_ != nullptr && models_->pending(); }

 private:
  LoadedJob(const JobSpec& spec, const LocalOptions& options) : spec_(spec), options_(options) {}
  absl::Status LoadCommands();
  // True if no benchmark needs the engine: then the models may be of any family that merges.
  bool FilesOnly() const;
  absl::Status LoadFiles();
  // Into the facts, of the model that was opened at `dir`; nothing of files that are no checkpoint by their names.
  void NoteContent(const ModelRef& model, const std::string& dir);
  absl::Status CheckCommandMetric(const Objective& objective, const std::string& field) const;
  absl::Status LoadModels(std::stop_token stop);
  absl::Status LoadBenchmarks();
  // For `group`, which may have no pictures.
  absl::Status LoadVisionFor(const BenchmarkGroup& group);
  // REQUIRES: the donor sees.
  absl::Status LoadVision();
  absl::Status CheckObjectives() const;
  absl::Status CheckTokenizers();
  absl::Status LoadEngine();
  // Logs what the last candidate's merge moved to the device, unless the one before moved the same.
  void TellTraffic(double seconds);
  // Logs what is kept of pictures, if it has grown.
  void TellPictures();

  // `checkpoint` is written when the first benchmark needs it.
  absl::StatusOr<BenchmarkResult> RunCommand(const CommandBenchmark& command, const Recipe& recipe,
                                             std::unique_ptr<TemporaryCheckpoint>* checkpoint, PhaseTimings* timings,
                                             std::stop_token stop);

  JobSpec spec_;
  const LocalOptions options_;
  JobFacts facts_;
  CheckpointMap checkpoints_;
  std::string donor_;   // the model whose tokenizer candidates have
  ModelConfig config_;  // of the candidates
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const RecipeModels> opened_;  // as recipes have the models; null: as they are
  std::unique_ptr<CandidateVision> vision_;     // null: no benchmark has pictures, nor an endpoint that sees
  std::map<std::string, std::unique_ptr<BenchmarkRun>> benchmarks_;    // by name
  std::map<std::string, std::unique_ptr<CommandBenchmark>> commands_;  // those that are commands
  std::unique_ptr<ArenaLayout> layout_;                                // of a merged stack
  std::unique_ptr<Materializer> materializer_;
  std::unique_ptr<ModelsAhead> models_;  // uses the above
  MergeTraffic told_traffic_;
  int64_t told_picture_bytes_ = -1;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_LOADED_JOB_H_
