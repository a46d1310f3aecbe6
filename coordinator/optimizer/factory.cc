#include "coordinator/optimizer/factory.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/cma_es.h"
#include "coordinator/optimizer/gp_search.h"
#include "coordinator/optimizer/mo_cma_es.h"
#include "coordinator/optimizer/niche_archive.h"
#include "coordinator/optimizer/niche_cma_es.h"
#include "coordinator/optimizer/nsga2.h"
#include "coordinator/optimizer/random_search.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {
namespace {

constexpr int kObjectivesMax = 100;
constexpr int kNsga2Population = 40;
constexpr int kMoCmaEsPopulation = 20;
constexpr int kGpPopulation = 8;
constexpr int kNichePopulation = 20;
constexpr double kNicheDeviation = 0.05;
constexpr double kInjectMin = 0.01;
constexpr double kInjectMax = 0.9;

// A third more than the tutorial's: fitness on few samples misranks, and more parents average more of that
// (docs/optimizers.md has the measurement).
int NoisyPopulation(int dimension) { return (4 * DefaultPopulation(dimension) + 2) / 3; }

// Reads the options of one spec; a wrong one gives InvalidArgument that starts with its field.
class Options {
 public:
  explicit Options(const OptimizerSpec& spec) : spec_(spec) {}

  absl::Status Error(absl::string_view option, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("optimizer.", spec_.name, ".", option, ": ", what));
  }

  // Refuses options that are in neither list, and numbers given as words or the other way round.
  absl::Status CheckNames(const std::vector<std::string>& numbers, const std::vector<std::string>& words) const {
    std::vector<std::string> known = numbers;
    known.insert(known.end(), words.begin(), words.end());
    for (const auto& [name, value] : spec_.numbers) {
      if (Contains(words, name)) return Error(name, absl::StrCat("the number ", value, " where a word is due"));
      if (!Contains(numbers, name)) return Unknown(name, known);
    }
    for (const auto& [name, value] : spec_.words) {
      if (Contains(numbers, name)) return Error(name, absl::StrCat("'", value, "' is not a number"));
      if (!Contains(words, name)) return Unknown(name, known);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<double> Number(const std::string& name, double low, double high, double fallback) const {
    const auto it = spec_.numbers.find(name);
    if (it == spec_.numbers.end()) return fallback;
    if (!(it->second >= low && it->second <= high)) {
      return Error(name, absl::StrCat(it->second, " is not in [", low, ", ", high, "]"));
    }
    return it->second;
  }

  absl::StatusOr<int> Whole(const std::string& name, int low, int high, int fallback) const {
    MG_ASSIGN_OR_RETURN(const double value, Number(name, low, high, fallback));
    if (value != std::floor(value)) return Error(name, absl::StrCat(value, " is not a whole number"));
    return static_cast<int>(value);
  }

  absl::StatusOr<std::string> Word(const std::string& name, const std::vector<std::string>& allowed,
                                   const std::string& fallback) const {
    const auto it = spec_.words.find(name);
    if (it == spec_.words.end()) return fallback;
    if (!Contains(allowed, it->second)) {
      return Error(name, absl::StrCat("unknown value '", it->second, "'", DidYouMean(it->second, allowed)));
    }
    return it->second;
  }

  absl::Status CheckDimension(int dimension, int high) const {
    if (dimension >= 1 && dimension <= high) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("optimizer.", spec_.name, ": genome dimension ", dimension,
                                                   " is not in [1, ", high,
                                                   "]; a coarser granularity has fewer dimensions"));
  }

 private:
  static bool Contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  absl::Status Unknown(const std::string& name, const std::vector<std::string>& known) const {
    return Error(name, absl::StrCat("unknown option", DidYouMean(name, known)));
  }

  const OptimizerSpec& spec_;
};

absl::StatusOr<CmaEsOptions::Discrete> ReadDiscrete(const Options& read, bool resample, bool published) {
  MG_ASSIGN_OR_RETURN(const std::string word, read.Word("discrete", {"categorical", "margin", "relaxed"},
                                                        published || resample ? "relaxed" : "categorical"));
  if (word == "relaxed") return CmaEsOptions::Discrete::kRelaxed;
  if (resample) return read.Error("discrete", absl::StrCat(word, " does not go with bounds: resample"));
  return word == "margin" ? CmaEsOptions::Discrete::kMargin : CmaEsOptions::Discrete::kCategorical;
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateCmaEs(const OptimizerSpec& spec, GenomeSpec genome, uint64_t seed) {
  const Options read(spec);
  const int dimension = genome.dimension();
  MG_RETURN_IF_ERROR(read.CheckNames({"population", "sigma0", "mean", "restarts"},
                                     {"preset", "update", "bounds", "covariance", "discrete", "learning_rate"}));
  MG_ASSIGN_OR_RETURN(const std::string preset, read.Word("preset", {"default", "hansen", "published"}, "default"));
  const bool published = preset == "published";
  MG_ASSIGN_OR_RETURN(const std::string update,
                      read.Word("update", {"generation", "rolling"}, published ? "generation" : "rolling"));
  MG_ASSIGN_OR_RETURN(const std::string bounds,
                      read.Word("bounds", {"transform", "resample"}, published ? "resample" : "transform"));
  MG_ASSIGN_OR_RETURN(const std::string covariance, read.Word("covariance", {"full", "separable"}, "full"));
  MG_ASSIGN_OR_RETURN(const std::string rate, read.Word("learning_rate", {"fixed", "adaptive"}, "fixed"));
  CmaEsOptions options;
  options.separable = covariance == "separable";
  options.adaptive_rates = rate == "adaptive";
  if (options.separable && options.adaptive_rates)
    return read.Error("learning_rate", "adaptive does not go with covariance: separable");
  MG_RETURN_IF_ERROR(read.CheckDimension(dimension, options.separable        ? CmaEsOptions::kSeparableDimensionMax
                                                    : options.adaptive_rates ? CmaEsOptions::kAdaptiveDimensionMax
                                                                             : CmaEsOptions::kDimensionMax));
  options.bounds = bounds == "transform" ? CmaEsOptions::Bounds::kTransform : CmaEsOptions::Bounds::kResample;
  options.variant = published ? CmaVariant::kPublished : CmaVariant::kHansen;
  options.rolling = update == "rolling";
  options.tries = published ? 10 * dimension : 100;
  MG_ASSIGN_OR_RETURN(options.discrete, ReadDiscrete(read, bounds == "resample", published));
  const int population = preset == "default" ? NoisyPopulation(dimension) : DefaultPopulation(dimension);
  MG_ASSIGN_OR_RETURN(options.population,
                      read.Whole("population", CmaEsOptions::kPopulationMin, CmaEsOptions::kPopulationMax, population));
  MG_ASSIGN_OR_RETURN(options.sigma0,
                      read.Number("sigma0", CmaEsOptions::kSigma0Min, CmaEsOptions::kSigma0Max, options.sigma0));
  MG_ASSIGN_OR_RETURN(options.restarts, read.Whole("restarts", 0, CmaEsOptions::kRestartsMax, 0));
  MG_ASSIGN_OR_RETURN(const double mean, read.Number("mean", 0, 1, 0.5));
  if (spec.numbers.contains("mean")) {
    for (Gene& gene : genome.genes) gene.start = mean;
  }
  return std::make_unique<CmaEs>(options, std::move(genome), seed);
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateNsga2(const OptimizerSpec& spec, const GenomeSpec& genome, uint64_t seed) {
  const Options read(spec);
  MG_RETURN_IF_ERROR(read.CheckNames({"population"}, {}));
  MG_RETURN_IF_ERROR(read.CheckDimension(genome.dimension(), Nsga2::kDimensionMax));
  MG_ASSIGN_OR_RETURN(const int population,
                      read.Whole("population", Nsga2::kPopulationMin, Nsga2::kPopulationMax, kNsga2Population));
  return std::make_unique<Nsga2>(population, genome, seed);
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateMoCmaEs(const OptimizerSpec& spec, const GenomeSpec& genome,
                                                         uint64_t seed) {
  const Options read(spec);
  MG_RETURN_IF_ERROR(read.CheckNames({"population", "sigma0"}, {}));
  MG_RETURN_IF_ERROR(read.CheckDimension(genome.dimension(), MoCmaEs::kDimensionMax));
  MG_ASSIGN_OR_RETURN(const int population,
                      read.Whole("population", MoCmaEs::kPopulationMin, MoCmaEs::kPopulationMax, kMoCmaEsPopulation));
  MG_ASSIGN_OR_RETURN(const double sigma0,
                      read.Number("sigma0", CmaEsOptions::kSigma0Min, CmaEsOptions::kSigma0Max, 1.0 / 6));
  return std::make_unique<MoCmaEs>(population, sigma0, genome, seed);
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateGp(const OptimizerSpec& spec, const GenomeSpec& genome, uint64_t seed) {
  const Options read(spec);
  MG_RETURN_IF_ERROR(read.CheckNames({"population"}, {}));
  MG_RETURN_IF_ERROR(read.CheckDimension(genome.dimension(), GpSearch::kDimensionMax));
  MG_ASSIGN_OR_RETURN(const int population, read.Whole("population", 1, GpSearch::kPopulationMax, kGpPopulation));
  return std::make_unique<GpSearch>(population, genome, seed);
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateNiche(const OptimizerSpec& spec, const GenomeSpec& genome, uint64_t seed) {
  const Options read(spec);
  const int dimension = genome.dimension();
  const bool injects = spec.numbers.contains("inject");
  MG_RETURN_IF_ERROR(read.CheckNames({"population", "sigma0", "inject"}, {}));
  MG_RETURN_IF_ERROR(read.CheckDimension(dimension, injects ? CmaEsOptions::kDimensionMax : NicheArchive::kDimensionMax));
  MG_ASSIGN_OR_RETURN(const int population, read.Whole("population", NicheArchive::kPopulationMin,
                                                       NicheArchive::kPopulationMax, kNichePopulation));
  MG_ASSIGN_OR_RETURN(const double deviation, read.Number("sigma0", 0, 1, kNicheDeviation));
  MG_ASSIGN_OR_RETURN(const double share, read.Number("inject", kInjectMin, kInjectMax, kInjectMin));
  if (!injects) return std::make_unique<NicheArchive>(population, deviation, genome, seed);
  CmaEsOptions options;
  options.population = NoisyPopulation(dimension);
  const int children = std::clamp(static_cast<int>(std::lround(share * options.population)), 1, options.population - 1);
  return std::make_unique<NicheCmaEs>(
      std::make_unique<CmaEs>(options, genome, seed),
      std::make_unique<NicheArchive>(population, deviation, genome, seed, options.population), children);
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateRandom(const OptimizerSpec& spec, int dimension, uint64_t seed) {
  const Options read(spec);
  MG_RETURN_IF_ERROR(read.CheckNames({"population"}, {}));
  MG_RETURN_IF_ERROR(read.CheckDimension(dimension, RandomSearch::kDimensionMax));
  MG_ASSIGN_OR_RETURN(const int population,
                      read.Whole("population", 1, RandomSearch::kPopulationMax, DefaultPopulation(dimension)));
  return std::make_unique<RandomSearch>(population, dimension, seed);
}

}  // namespace

const std::vector<std::string>& KnownOptimizers() {
  static const std::vector<std::string>* const names =
      new std::vector<std::string>{"cma_es", "nsga2", "mo_cma_es", "gp", "niche", "random"};
  return *names;
}

bool LearnsEachObjective(absl::string_view name) { return name == "nsga2" || name == "mo_cma_es" || name == "niche"; }

bool PopulationFollowsSlots(const OptimizerSpec& spec) {
  const auto preset = spec.words.find("preset");
  return spec.name == "cma_es" && (preset == spec.words.end() || preset->second == "default") &&
         !spec.numbers.contains("population");
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec, const GenomeSpec& genome,
                                                           int objectives, uint64_t seed) {
  MG_RETURN_IF_ERROR(Annotate(genome.Validate(), absl::StrCat("optimizer.", spec.name)));
  if (objectives < 1 || objectives > kObjectivesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("optimizer.", spec.name, ": ", objectives, " objectives are not in [1, ", kObjectivesMax, "]"));
  }
  if (spec.name == "cma_es") return CreateCmaEs(spec, genome, seed);
  if (spec.name == "nsga2") return CreateNsga2(spec, genome, seed);
  if (spec.name == "mo_cma_es") return CreateMoCmaEs(spec, genome, seed);
  if (spec.name == "gp") return CreateGp(spec, genome, seed);
  if (spec.name == "niche") return CreateNiche(spec, genome, seed);
  if (spec.name == "random") return CreateRandom(spec, genome.dimension(), seed);
  return absl::InvalidArgumentError(
      absl::StrCat("optimizer: unknown optimizer '", spec.name, "'", DidYouMean(spec.name, KnownOptimizers())));
}

absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(const OptimizerSpec& spec, int dimension, uint64_t seed) {
  return CreateOptimizer(spec, GenomeSpec::Continuous(dimension), 1, seed);
}

absl::StatusOr<std::unique_ptr<Optimizer>> RestoreOptimizer(absl::string_view state) {
  StateReader reader(state);
  if (!reader.ok()) return reader.status();
  if (reader.optimizer() == "cma_es") return CmaEs::Restore(reader);
  if (reader.optimizer() == "nsga2") return Nsga2::Restore(reader);
  if (reader.optimizer() == "mo_cma_es") return MoCmaEs::Restore(reader);
  if (reader.optimizer() == "gp") return GpSearch::Restore(reader);
  if (reader.optimizer() == "niche") return NicheArchive::Restore(reader);
  if (reader.optimizer() == "niche_cma_es") return NicheCmaEs::Restore(reader);
  if (reader.optimizer() == "random") return RandomSearch::Restore(reader);
  reader.Fail(absl::StrCat("unknown optimizer '", reader.optimizer().substr(0, 40), "'"));
  return reader.status();
}

}  // namespace merganser
