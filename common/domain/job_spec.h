// What a user submits. Read from YAML (common/config) or from proto (common/codec); Validate() is the one place that says
// what is allowed.
#ifndef MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_
#define MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/domain/benchmark.h"
#include "common/domain/recipe.h"

namespace merganser {

// How finely a parameter search sets coefficients. Embeddings and output (final norm and head) are groups of their own
// in every granularity but `model` and `filters`.
struct Granularity {
  enum class Kind { kModel, kLayer, kBlock, kFilters };
  Kind kind = Kind::kModel;
  int block = 0;                     // kBlock: layers per block, >= 1
  std::vector<std::string> filters;  // a group per substring of tensor names and one of the rest, with kBlock of each block
  bool operator==(const Granularity&) const = default;
};

struct Bounds {
  double low = 0;
  double high = 1;
  bool operator==(const Bounds&) const = default;
};

// Search in parameter space: the weight (and, where bounded here, density, ...) of each source in each group.
struct ParameterSpace {
  std::string method;
  std::string base;  // "" for methods without one
  std::vector<std::string> sources;
  Granularity granularity;
  std::map<std::string, Bounds> bounds;  // searched, per source: "weight", "density"
  std::map<std::string, double> fixed;   // not searched: "lambda", "normalize", "density", ...
  // Instead of `method`: the method is a gene of its own. A bounded or fixed parameter that a method does not take is left
  // out of its recipes.
  std::vector<std::string> methods;
  // "" or "winner": where the search starts, the middle of the bounds or the best recipe so far, which may be of a coarser
  // granularity (a ladder from the whole model to its layers) or a path, which then stays while its weights are searched.
  std::string start;
  // Whether the stage searches here at all.
  bool used() const { return !method.empty() || !methods.empty(); }
  bool operator==(const ParameterSpace&) const = default;
};

// Search in data-flow space: a path of untouched layers through a pool of models. coordinator/search_space/data_flow_space.h
// says what the genes of each encoding mean.
struct DataFlowSpace {
  // kPublished, kBits: every layer of every source in order, `repeats` times; a gene per slot decides whether it is kept.
  // kPath: `repeats` slots per depth; a gene per slot says which source's layer of that depth it is, or none.
  enum class Encoding { kPublished, kBits, kPath };
  // kSlot: a gene per slot scales what enters it. kMatrix: a gene per pair of layers (from, to) of the pool. kNetwork: the
  // weights of a small network that makes a scale of (from, to, hop); coordinator/search_space/scale_network.h.
  enum class Scales { kNone, kSlot, kMatrix, kNetwork };
  // Whose embedding, and whose final norm and head: the first source's, or a gene each.
  enum class Ends { kFirst, kSearch };
  // Names of models; "winner": the best recipe of the stages before (its first stack); "merged": what the stage's parameter
  // space makes (a joint search). The first gives the embedding, the final norm and the head.
  std::vector<std::string> sources;
  Encoding encoding = Encoding::kPath;
  int repeats = 1;
  Scales scales = Scales::kNone;
  Bounds scale_bounds{0, 2};
  int hidden_units = 0;  // kNetwork: of its one hidden layer; else 0
  Ends ends = Ends::kFirst;
  int max_hops = 0;  // longer paths lose their weakest slots; 0: no bound
  bool operator==(const DataFlowSpace&) const = default;
};

struct OptimizerSpec {
  std::string name = "cma_es";
  std::map<std::string, double> numbers;     // {"population": 12, "sigma0": 0.1667}
  std::map<std::string, std::string> words;  // {"preset": "published"}
  bool operator==(const OptimizerSpec&) const = default;
};

// What a recipe costs, as if it were a benchmark: objectives and constraints may name its metrics. An objective of it is the
// cost with a minus sign.
//   hops    layers that a token passes
//   tokens  generated per evaluation of the search's benchmarks
inline constexpr char kCostBenchmark[] = "cost";
inline constexpr char kHopsMetric[] = "hops";
inline constexpr char kTokensMetric[] = "tokens";

struct Objective {
  std::string benchmark;  // of the job, or kCostBenchmark
  std::string metric;
  double weight = 1;  // in the sum by which a search of one objective ranks, and which names the winner; >= 0
  bool operator==(const Objective&) const = default;
};

// What a candidate must hold; one that does not ranks behind all that do, by how much it misses. Exactly one bound is set.
struct Constraint {
  std::string benchmark;  // of the job, or kCostBenchmark
  std::string metric;
  std::optional<double> at_least;
  std::optional<double> at_most;
  std::string at_least_model;  // at least what this model has as it is (a baseline)
  bool operator==(const Constraint&) const = default;
};

// A race: candidates are scored on their generation's samples block by block, in an order drawn anew for each generation.
// After each block those that the paired test finds worse than the candidate in the middle of the generation's ranking are
// stopped (coordinator/job/race.h).
struct Racing {
  int64_t block = 16;        // samples of each benchmark
  double confidence = 0.95;  // of each one-sided test, in (0.5, 1)
  bool operator==(const Racing&) const = default;
};

// Which samples a candidate of the search is scored on.
struct SamplePolicy {
  // Samples of each benchmark, drawn anew for each generation and common to its candidates; 0: all of them, always. The best
  // candidate of another generation had other samples, so the winner is named by finalists.
  int64_t per_generation = 0;
  std::optional<Racing> racing;
  // "" (at random) or "information": once enough candidates have been scored, mostly those samples of each benchmark that
  // tell most about candidates such as the last generation's (coordinator/job/sample_choice.h).
  std::string choose;
  bool operator==(const SamplePolicy&) const = default;
};
inline constexpr char kChooseInformation[] = "information";

// The best candidates (and the optimizer's mean) are scored again on samples that the search has not used, and the best of
// them there wins.
struct Finalists {
  int count = 0;          // 0: no such round
  std::string benchmark;  // of the job's benchmarks; no candidate of the search sees it
  std::string metric;     // "": that of the first objective
  bool operator==(const Finalists&) const = default;
};

// What a worker must be to get a candidate of the job; nothing set: any worker will do.
struct WorkerRequirements {
  int64_t memory_bytes = 0;                   // of its device (the host for "cpu"), at least
  std::string device;                         // "cpu" or "cuda"
  std::map<std::string, std::string> labels;  // given to the worker by its operator
  bool operator==(const WorkerRequirements&) const = default;
};

// When the optimizer learns. kSynchronous: when a whole generation is finished, so that a search can be repeated exactly.
// kRolling: one generation's worth of candidates is always in flight, and each is told as it comes in.
enum class SearchMode { kSynchronous, kRolling };

// The search ends at the first bound that is reached.
struct Budget {
  int64_t candidates = 0;   // proposals of the optimizer; sources and the average come on top. 0: no bound
  int64_t generations = 0;  // 0: no bound
  // Sample evaluations of the stage; 0: no bound. What was known of an equal recipe or was not scored because of a race does
  // not count, but each candidate counts as one at least.
  int64_t samples = 0;
  absl::Duration wall_time = absl::InfiniteDuration();
  std::optional<double> target;  // stop once the first objective reaches it
  // What the stage's candidates took on workers, from the merge to the scores, summed; of those in flight nothing yet.
  absl::Duration gpu_time = absl::InfiniteDuration();
  bool operator==(const Budget&) const = default;
};

// One search. A job with several runs them one after the other; the best recipe so far is the next one's `winner`.
struct SearchStage {
  ParameterSpace parameter;
  std::optional<DataFlowSpace> data_flow;
  OptimizerSpec optimizer;
  Budget budget;
  bool operator==(const SearchStage&) const = default;
};

struct JobSpec {
  std::string name;  // [a-z0-9][a-z0-9-]{0,62}
  uint64_t seed = 0;
  std::vector<ModelRef> models;
  // The first stage's (of most jobs the only one): its space, and below its optimizer and budget. With both spaces, the path
  // runs through what the parameter space merges.
  ParameterSpace parameter;
  std::optional<DataFlowSpace> data_flow;
  std::string dtype = "bfloat16";  // of the merged weights
  OptimizerSpec optimizer;
  std::vector<Objective> objectives;
  std::vector<BenchmarkSpec> benchmarks;
  std::vector<BenchmarkSpec> held_out;
  Budget budget;
  int max_attempts = 3;           // counted attempts per candidate, >= 1
  std::vector<SearchStage> then;  // the stages after the first
  SearchMode mode = SearchMode::kSynchronous;
  SamplePolicy samples;
  std::vector<Constraint> constraints;
  Finalists finalists;
  // An attempt that evaluates longer is stopped and counts. Infinite: five times the longest one that succeeded, but at
  // least ten minutes.
  absl::Duration attempt_timeout = absl::InfiniteDuration();
  int priority = 0;  // among jobs; in [-100, 100]. A job that waits gains 1 a minute
  double share = 1;  // of the workers, relative to other jobs of its priority; > 0
  WorkerRequirements workers;
  // Where some models are parts of another one (ModelRef::rename): the name of the one, part or whole, whose settings of the
  // forward pass the candidates have, sources scored as baselines among them. "": the models' are equal.
  std::string config_from;
  bool operator==(const JobSpec&) const = default;
};

inline constexpr int kPriorityMax = 100;
inline constexpr double kShareMax = 1000;

// Stages are 0, 1, ... NumStages - 1.
inline int NumStages(const JobSpec& spec) { return 1 + static_cast<int>(spec.then.size()); }
SearchStage StageOf(const JobSpec& spec, int stage);
// Where a stage stands in the job: "" for the first, else "then[0].", for messages.
std::string StageField(int stage);

// Models that spaces name as sources, in the order of first mention, without "winner" and "merged"; bases are not among
// them.
std::vector<std::string> SourceNames(const JobSpec& spec);
// The model whose tokenizer and config the job's recipes take: the first parameter space's base, else the first source.
std::string TokenizerModel(const JobSpec& spec);
// Names of the benchmarks that candidates of the search run: all but the finalists'.
std::vector<std::string> SearchBenchmarks(const JobSpec& spec);

// OK, or InvalidArgument that starts with the field's path: "space.parameter.bounds.weight: low 2 is above high 0".
// Checks everything that can be told without a file: names, references between parts, bounds, limits (limits.h).
absl::Status Validate(const JobSpec& spec);

// The merge methods that a parameter space may name, with the names of the per-source and whole-method parameters each
// takes: the short form of merge_method_spec.h.
struct MethodSignature {
  std::string name;
  bool needs_base;
  std::vector<std::string> source_parameters;
  std::vector<std::string> parameters;
  bool takes_base;  // needs one, or may have one
};
const std::vector<MethodSignature>& KnownMethods();
// nullptr if there is no such method.
const MethodSignature* FindMethod(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_JOB_SPEC_H_
