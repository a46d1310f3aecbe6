// Our side of the comparisons of optimizers (run.py runs it beside pycma, cmaes and pymoo, and says how). One JSON object
// a line on stdout:
//   optimizer_bench functions [SEEDS]   evaluations to a value of 1e-8, median over seeds
//   optimizer_bench zdt [SEEDS]         hypervolume of the last population
//   optimizer_bench time N...           candidates per second (of processor time) of ask + tell, one thread
//   optimizer_bench separable N...      the same with a separable covariance
//   optimizer_bench rolling [SEEDS]     generations with a barrier against rolling ones, simulated evaluation times
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/rng.h"
#include "coordinator/optimizer/cma_constants.h"
#include "coordinator/optimizer/factory.h"
#include "coordinator/optimizer/hypervolume.h"
#include "coordinator/optimizer/nsga2.h"

namespace merganser {
namespace {

using Vector = std::vector<double>;

// The box is 400 units wide, so that start and optimum, both drawn from [-4, 4], are far from its edges; the first step is
// 2 units.
constexpr double kUnit = 1.0 / 400;
constexpr double kTarget = 1e-8;

// Optimum and rotation of one run.
struct Landscape {
  int n;
  Vector optimum;
  std::vector<Vector> rotation;  // orthonormal rows

  Landscape(int n, uint64_t seed) : n(n) {
    Rng rng(seed, 1000);
    for (int i = 0; i < n; ++i) optimum.push_back(8 * rng.Uniform() - 4);
    for (int i = 0; i < n; ++i) {
      Vector row(n);
      for (double& x : row) x = rng.Normal();
      for (const Vector& other : rotation) {
        double dot = 0;
        for (int j = 0; j < n; ++j) dot += row[j] * other[j];
        for (int j = 0; j < n; ++j) row[j] -= dot * other[j];
      }
      double norm = 0;
      for (const double x : row) norm += x * x;
      for (double& x : row) x /= std::sqrt(norm);
      rotation.push_back(row);
    }
  }
  double Value(const std::string& name, const Vector& x) const {
    Vector z(n), q(n, 0.0);
    for (int i = 0; i < n; ++i) z[i] = x[i] - optimum[i];
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) q[i] += rotation[i][j] * z[j];
    }
    double sum = 0;
    if (name == "sphere") {
      for (const double v : z) sum += v * v;
    } else if (name == "ellipsoid") {
      for (int i = 0; i < n; ++i) sum += std::pow(10, 6.0 * i / (n - 1)) * q[i] * q[i];
    } else if (name == "cigar" || name == "discus") {
      for (int i = 0; i < n; ++i) sum += ((i == 0) == (name == "discus") ? 1e6 : 1) * q[i] * q[i];
    } else if (name == "rastrigin") {
      for (const double v : z) sum += 10 + v * v - 10 * std::cos(2 * M_PI * v);
    } else {  // rosenbrock
      const double scale = std::max(1.0, std::sqrt(n) / 8);
      Vector u(n);
      for (int i = 0; i < n; ++i) u[i] = scale * (x[i] - 0.75 * optimum[i]) + 1;
      for (int i = 0; i + 1 < n; ++i) sum += 100 * std::pow(u[i] * u[i] - u[i + 1], 2) + std::pow(u[i] - 1, 2);
    }
    return sum;
  }
};

Vector ToUnits(const Vector& genome) {
  Vector x;
  for (const double g : genome) x.push_back((g - 0.5) / kUnit);
  return x;
}

std::unique_ptr<Optimizer> Make(OptimizerSpec spec, int n, uint64_t seed) {
  GenomeSpec genome = GenomeSpec::Continuous(n);
  Rng rng(seed, 2000);
  for (Gene& gene : genome.genes) gene.start = 0.5 + kUnit * (8 * rng.Uniform() - 4);
  spec.numbers["sigma0"] = 2 * kUnit;
  auto optimizer = CreateOptimizer(spec, genome, 1, seed);
  if (!optimizer.ok()) {
    std::fprintf(stderr, "%s\n", std::string(optimizer.status().message()).c_str());
    std::exit(2);
  }
  return *std::move(optimizer);
}

// -1 if the median run has not reached the target.
double Median(Vector values) {
  std::sort(values.begin(), values.end());
  const double median = values[values.size() / 2];
  return median < HUGE_VAL ? median : -1;
}

// Evaluations, whole generations, until the target; infinite if `budget` does not suffice. Rastrigin, of many optima, has a
// population of 10 n and a smaller budget (as in run.py).
double EvaluationsToTarget(const std::string& function, int n, uint64_t seed) {
  const Landscape land(n, seed);
  const bool many = function == "rastrigin";
  const int budget = many ? 30000 : 100000;
  OptimizerSpec spec{"cma_es", {}, {{"preset", "hansen"}}};
  if (many) spec.numbers["population"] = 10 * n;
  const auto optimizer = Make(spec, n, seed);
  for (int evaluations = 0; evaluations < budget;) {
    const auto proposals = *optimizer->Ask(optimizer->batch_size());
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : proposals) {
      const double value = land.Value(function, ToUnits(proposal.genome));
      ++evaluations;
      if (value <= kTarget) return evaluations;
      outcomes.push_back({proposal.id, {-value}, false});
    }
    if (!optimizer->Tell(outcomes).ok()) std::exit(2);
  }
  return HUGE_VAL;
}

void Functions(int seeds) {
  const std::vector<std::pair<std::string, int>> cases = {
      {"sphere", 10}, {"sphere", 20}, {"ellipsoid", 10},  {"ellipsoid", 20},  {"cigar", 10},    {"cigar", 20},
      {"discus", 10}, {"discus", 20}, {"rosenbrock", 10}, {"rosenbrock", 20}, {"rastrigin", 10}};
  for (const auto& [function, n] : cases) {
    Vector counts;
    for (int seed = 1; seed <= seeds; ++seed) counts.push_back(EvaluationsToTarget(function, n, seed));
    std::printf("{\"function\": \"%s\", \"n\": %d, \"median\": %.0f, \"reached\": %d}\n", function.c_str(), n,
                Median(counts),
                static_cast<int>(std::count_if(counts.begin(), counts.end(), [](double c) { return c < HUGE_VAL; })));
    std::fflush(stdout);
  }
}

FitnessVector Zdt(int which, const Vector& x) {
  double g = 0;
  for (size_t i = 1; i < x.size(); ++i) g += x[i];
  g = 1 + 9 * g / static_cast<double>(x.size() - 1);
  const double ratio = x[0] / g;
  const double h = which == 1   ? 1 - std::sqrt(ratio)
                   : which == 2 ? 1 - ratio * ratio
                                : 1 - std::sqrt(ratio) - ratio * std::sin(10 * M_PI * x[0]);
  return {-x[0], -g * h};
}

void ZdtFronts(int seeds) {
  for (int which = 1; which <= 3; ++which) {
    Vector volumes;
    for (int seed = 1; seed <= seeds; ++seed) {
      Nsga2 optimizer(40, GenomeSpec::Continuous(10), static_cast<uint64_t>(seed));
      for (int generation = 0; generation < 100; ++generation) {
        std::vector<Outcome> outcomes;
        const auto proposals = *optimizer.Ask(40);
        for (const Proposal& proposal : proposals) outcomes.push_back({proposal.id, Zdt(which, proposal.genome), false});
        if (!optimizer.Tell(outcomes).ok()) std::exit(2);
      }
      std::vector<FitnessVector> front;
      for (const Individual& parent : optimizer.parents()) front.push_back(parent.fitness);
      volumes.push_back(Hypervolume(front, {-1.1, -1.1}));
    }
    std::printf("{\"problem\": \"ZDT%d\", \"median\": %.4f, \"lowest\": %.4f}\n", which, Median(volumes),
                *std::min_element(volumes.begin(), volumes.end()));
  }
}

// Ask and tell only: the sphere's own time is taken off.
// Of this process: other work on the machine does not count.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void Time(int n, bool separable) {
  OptimizerSpec spec = {"cma_es", {}, {{"preset", "hansen"}}};
  if (separable) spec.words["covariance"] = "separable";
  const auto optimizer = Make(spec, n, 1);
  const int batch = optimizer->batch_size();
  // Whole intervals of the covariance's root (cma_state.h), for at least some seconds.
  const CmaConstants k = MakeCmaConstants(CmaVariant::kHansen, n, batch);
  const int interval = separable ? 1 : std::max(1, static_cast<int>(1 / (10.0 * n * (k.c_1 + k.c_mu))));
  double seconds = 0;
  int64_t generations = 0;
  while (seconds < (n <= 1000 ? 4 : 1) || generations % interval != 0 || generations < 2 * interval) {
    const auto begin = CpuSeconds();
    const auto proposals = *optimizer->Ask(batch);
    const auto asked = CpuSeconds();
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : proposals) {
      double sum = 0;
      for (const double x : proposal.genome) sum += (x - 0.4) * (x - 0.4);
      outcomes.push_back({proposal.id, {-sum}, false});
    }
    const auto evaluated = CpuSeconds();
    if (!optimizer->Tell(outcomes).ok()) std::exit(2);
    const auto told = CpuSeconds();
    seconds += asked - begin + told - evaluated;
    ++generations;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"n\": %d, \"population\": %d, \"candidates_per_second\": %.1f, \"generations\": %lld, \"peak_mib\": %.0f}\n", n,
      batch, static_cast<double>(generations * batch) / seconds, static_cast<long long>(generations),
      static_cast<double>(usage.ru_maxrss) / 1024);
}

struct Simulated {
  double evaluations = HUGE_VAL, wall = HUGE_VAL;
};

// `workers` evaluate at a time; an evaluation takes exp(N(-s^2 / 2, s^2)), s = 0.5: mean 1. Barrier: a generation is asked
// for when the one before it is told. Rolling: a free worker takes a new proposal at once, each outcome is told as it comes.
Simulated Simulate(const std::string& function, int n, int workers, int population, bool rolling, uint64_t seed) {
  const Landscape land(n, seed);
  const auto optimizer =
      Make({"cma_es", {{"population", population}}, {{"update", rolling ? "rolling" : "generation"}}}, n, seed);
  Rng times(seed, 3000);
  const auto duration = [&] { return std::exp(0.5 * times.Normal() - 0.125); };
  std::vector<Proposal> queue;           // asked, not begun
  std::multimap<double, Proposal> busy;  // by the time of their end
  std::vector<Outcome> done;             // barrier: of the open generation
  double now = 0;
  for (int evaluations = 0; evaluations < 60000;) {
    if (rolling) {
      while (static_cast<int>(busy.size()) < workers) busy.emplace(now + duration(), optimizer->Ask(1)->front());
    } else {
      if (busy.empty() && queue.empty()) queue = *optimizer->Ask(population);
      while (static_cast<int>(busy.size()) < workers && !queue.empty()) {
        busy.emplace(now + duration(), queue.front());
        queue.erase(queue.begin());
      }
    }
    const auto first = busy.begin();
    now = first->first;
    const double value = land.Value(function, ToUnits(first->second.genome));
    ++evaluations;
    if (value <= kTarget) return {static_cast<double>(evaluations), now};
    const Outcome outcome{first->second.id, {-value}, false};
    busy.erase(first);
    if (rolling) {
      if (!optimizer->Tell({outcome}).ok()) std::exit(2);
      continue;
    }
    done.push_back(outcome);
    if (busy.empty() && queue.empty()) {
      if (!optimizer->Tell(done).ok()) std::exit(2);
      done.clear();
    }
  }
  return {};
}

void Rolling(int seeds) {
  for (const std::string function : {"sphere", "ellipsoid", "rosenbrock"}) {
    for (const int workers : {8, 16, 32}) {
      const int population = std::max(DefaultPopulation(10), workers);
      Vector evaluations[2], walls[2];
      for (int seed = 1; seed <= seeds; ++seed) {
        for (const bool rolling : {false, true}) {
          const Simulated run = Simulate(function, 10, workers, population, rolling, seed);
          evaluations[rolling].push_back(run.evaluations);
          walls[rolling].push_back(run.wall);
        }
      }
      std::printf(
          "{\"function\": \"%s\", \"workers\": %d, \"population\": %d, \"barrier_evaluations\": %.0f, \"barrier_wall\": "
          "%.0f, "
          "\"rolling_evaluations\": %.0f, \"rolling_wall\": %.0f}\n",
          function.c_str(), workers, population, Median(evaluations[0]), Median(walls[0]), Median(evaluations[1]),
          Median(walls[1]));
      std::fflush(stdout);
    }
  }
}

int Main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int seeds = argc > 2 ? std::atoi(argv[2]) : 21;
  if (what == "functions") {
    Functions(seeds);
  } else if (what == "zdt") {
    ZdtFronts(seeds);
  } else if ((what == "time" || what == "separable") && argc > 2) {
    for (int i = 2; i < argc; ++i) Time(std::atoi(argv[i]), what == "separable");
  } else if (what == "rolling") {
    Rolling(seeds);
  } else {
    std::fprintf(stderr, "usage: optimizer_bench functions|zdt|rolling [SEEDS] | time|separable N...\n");
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }
