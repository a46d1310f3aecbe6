#include "worker/agent/checkpoint_provider.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/domain/model_paths.h"
#include "common/transfer/url_source.h"
#include "worker/agent/coordinator_source.h"

namespace merganser {
namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(10);

}  // namespace

std::vector<std::unique_ptr<CheckpointSource>> CheckpointProvider::SourcesOf(const std::string& path,
                                                                             const std::string& content) const {
  std::vector<std::unique_ptr<CheckpointSource>> sources;
  for (const std::string& url : options_.url_templates) {
    sources.push_back(std::make_unique<UrlSource>(url, content, path, options_.access));
  }
  if (!options_.coordinators.empty()) sources.push_back(std::make_unique<CoordinatorSource>(options_.coordinators, content));
  return sources;
}

absl::Status CheckpointProvider::CheckWeights(const std::string& dir, const std::string& path, const std::string& content,
                                              const CandidateEvaluator::PhaseCallback& phase, std::stop_token stop) {
  if (!options_.verify_weights) return absl::OkStatus();
  phase("check");
  const auto sources = SourcesOf(path, content);
  MG_ASSIGN_OR_RETURN(const std::vector<CheckpointFile> files, ListCheckpointFiles(dir));
  for (const CheckpointFile& file : files) {
    if (!IsWeightsFileName(file.name)) continue;  // every byte of the others is in the content
    absl::StatusOr<std::string> told = absl::NotFoundError("");
    std::string teller;
    for (size_t i = 0; i < sources.size() && !told.ok(); ++i) {
      told = sources[i]->Sha256Of({file.name, file.size, ""}, stop);
      teller = sources[i]->name();
    }
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    const std::string full = absl::StrCat(dir, "/", file.name);
    if (!told.ok()) {
      return absl::UnavailableError(absl::StrCat("--verify-weights: nobody says what the SHA-256 of '", full, "' must be"));
    }
    MG_ASSIGN_OR_RETURN(const std::string sum, digests_.Of(full, [&stop] { return stop.stop_requested(); }));
    if (sum == *told) continue;
    return absl::DataLossError(absl::StrCat("'", full, "' has SHA-256 ", sum, ", but ", teller, " says ", *told));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckpointProvider::DirectoryOf(const std::string& path, const std::string& content,
                                                            const CandidateEvaluator::PhaseCallback& phase,
                                                            std::stop_token stop,
                                                            std::map<std::string, std::shared_ptr<CachedCheckpoint>>* held) {
  // In a directory of this content.
  absl::Status here = absl::NotFoundError("");
  std::string refused;
  std::string instead;  // what is at the path, if it is another checkpoint
  const auto usable = [&](const std::string& dir) {
    here = CheckWeights(dir, path, content, phase, stop);
    if (absl::IsDataLoss(here)) {
      MG_LOG(ERROR) << "a damaged checkpoint is not used: " << here.message();
    }
    return here.ok();
  };
  if (const absl::StatusOr<std::string> dir = options_.resolve(path); dir.ok()) {
    const absl::StatusOr<std::string> there = index_.Of(*dir);
    if (there.ok() && *there == content) {
      if (usable(*dir)) return *dir;
      refused = *dir;
    } else {
      instead = there.ok() ? absl::StrCat("'", *dir, "' has the content ", *there, ", not ", content)
                           : absl::StrCat("'", *dir, "' has not the content ", content, ": ", there.status().message());
      MG_LOG(WARNING) << "another checkpoint than the job's is at path=" << *dir << " wanted=" << content
                      << " found=" << (there.ok() ? *there : std::string(there.status().message()));
    }
  }
  if (const absl::StatusOr<std::string> dir = index_.Find(content, options_.model_roots);
      dir.ok() && *dir != refused && usable(*dir)) {
    return *dir;
  }
  if (absl::IsCancelled(here)) return here;
  if (options_.cache.dir.empty()) {
    if (!absl::IsNotFound(here)) return here;
    return absl::FailedPreconditionError(
        instead.empty() ? absl::StrCat("'", path, "' is not on this worker, nor is its content ", content,
                                       " below its model roots; with --checkpoint-cache it fetches it")
                        : absl::StrCat(instead, ", which the job's other candidates are of, and that is nowhere below this ",
                                       "worker's model roots; with --checkpoint-cache it fetches it"));
  }
  CheckpointCache cache(options_.cache);
  absl::StatusOr<std::shared_ptr<CachedCheckpoint>> cached = cache.Find(content);
  ++(cached.ok() ? hits_ : misses_);
  if (!cached.ok()) {
    phase("fetch");
    const auto sources = SourcesOf(path, content);
    std::vector<CheckpointSource*> in_order;
    for (const auto& source : sources) in_order.push_back(source.get());
    absl::Duration logged = Clock::Real().Monotonic();
    const auto progress = [&](int64_t done, int64_t total) {
      const absl::Duration now = Clock::Real().Monotonic();
      if (now - logged < kLogInterval) return;
      logged = now;
      MG_LOG(INFO) << "fetching a checkpoint model=" << path << " bytes=" << done << " of=" << total;
    };
    MG_LOG(INFO) << "fetching a checkpoint model=" << path << " content=" << content;
    cached = cache.Fetch(content, in_order, progress, stop);
    if (!cached.ok()) return instead.empty() ? cached.status() : Annotate(cached.status(), instead);
    MG_LOG(INFO) << "checkpoint fetched model=" << path << " dir=" << (*cached)->dir();
  }
  const std::string dir = (*cached)->dir();
  (*held)[content] = *std::move(cached);
  return dir;
}

absl::StatusOr<JobSpec> CheckpointProvider::Provide(const JobSpec& spec, const CandidateEvaluator::PhaseCallback& phase,
                                                    std::stop_token stop) {
  if (asked_ != nullptr && *asked_ == spec) return *given_;
  JobSpec given = spec;
  std::map<std::string, std::shared_ptr<CachedCheckpoint>> held;
  for (ModelRef& model : given.models) {
    const auto [path, content] = SplitContent(model.path);
    if (content.empty()) continue;
    absl::StatusOr<std::string> dir = DirectoryOf(path, content, phase, stop, &held);
    if (dir.ok()) {
      model.path = WithContent(*dir, content);
    } else if (absl::IsCancelled(dir.status())) {
      return dir.status();
    } else if (!absl::StartsWith(path, "/") && absl::StrContains(path, '@')) {
      model.path = path;  // a Hub id with its commit
    } else {
      return absl::UnavailableError(absl::StrCat("models.", model.name, ".path: ", dir.status().message()));
    }
  }
  held_ = std::move(held);
  asked_ = std::make_shared<const JobSpec>(spec);
  given_ = std::make_shared<const JobSpec>(std::move(given));
  return *given_;
}

std::optional<absl::StatusOr<JobSpec>> ProvidedEvaluator::ProvideAgain(const JobSpec& spec, const JobSpec& given,
                                                                       const absl::Status& error, const PhaseCallback& phase,
                                                                       std::stop_token stop) {
  if (!absl::IsFailedPrecondition(error) && !absl::IsNotFound(error)) return std::nullopt;
  provider_.Forget();
  absl::StatusOr<JobSpec> now = provider_.Provide(spec, phase, stop);
  if (now.ok() && *now == given) return std::nullopt;
  return now;
}

absl::StatusOr<JobFacts> ProvidedEvaluator::Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(const JobSpec given, provider_.Provide(spec, phase, stop));
  absl::StatusOr<JobFacts> facts = evaluator_.Prepare(given, phase, stop);
  const auto now = ProvideAgain(spec, given, facts.status(), phase, stop);
  if (!now.has_value()) return facts;
  MG_RETURN_IF_ERROR(now->status());
  return evaluator_.Prepare(**now, phase, stop);
}

absl::StatusOr<Evaluation> ProvidedEvaluator::Evaluate(const JobSpec& spec, const Recipe& recipe,
                                                       const std::vector<std::string>& benchmarks,
                                                       const PhaseCallback& phase, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(const JobSpec given, provider_.Provide(spec, phase, stop));
  absl::StatusOr<Evaluation> evaluation =
      evaluator_.Evaluate(given, WithPathsOf(given.models, recipe), benchmarks, phase, stop);
  const auto now = ProvideAgain(spec, given, evaluation.status(), phase, stop);
  if (!now.has_value()) return evaluation;
  MG_RETURN_IF_ERROR(now->status());
  return evaluator_.Evaluate(**now, WithPathsOf((*now)->models, recipe), benchmarks, phase, stop);
}

}  // namespace merganser
