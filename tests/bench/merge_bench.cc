// Speed of materializing one candidate in memory, next to copying.
//   build/bin/bench/merge_bench [--benchmark_filter=ties]
// Synthetic bf16 sources: eight tensors of 8 Mi elements (64 Mi parameters), a base and two fine-tunes; statistics are
// ready. Each merge is timed beside a plain copy of the same result by the same number of threads, by turns, so that a busy
// machine slows both. Counters: GBps, what the merge's last pass must read and write per second (the sources and the base
// once, the result once); copy_GBps, what the copy reads and writes; share_of_copy, their ratio. Methods with a second pass
// (a threshold by histogram, norms for `rescale`) are counted as if they had one.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "common/base/log.h"
#include "common/base/rng.h"
#include "worker/merge/materializer.h"
#include "worker/merge/thread_pool.h"

namespace merganser {
namespace {

constexpr int kTensors = 8;
constexpr int64_t kElements = int64_t{8} << 20;
constexpr int64_t kBytes = kTensors * kElements * 2;

struct World {
  std::shared_ptr<const MergeSources> sources;
  std::unique_ptr<Arena> arena;

  World() {
    std::vector<ArenaTensor> tensors;
    for (int t = 0; t < kTensors; ++t)
      tensors.push_back({"model.layers." + std::to_string(t) + ".mlp.up_proj.weight", {kElements / 2048, 2048}});
    const ArenaLayout layout = *ArenaLayout::Create(tensors);
    std::map<std::string, MergeSources::Model> models;
    std::vector<float> base(kElements), values(kElements);
    for (const std::string name : {"a", "b", "base"}) {
      auto bytes = std::make_shared<std::vector<std::byte>>(kBytes);
      MergeSources::Model model{name, {}, false, bytes};
      for (int t = 0; t < kTensors; ++t) {
        // Cheap triangular noise: normal numbers would take longer than the benchmark.
        const auto fill = [&](uint64_t key, float scale, std::vector<float>& out) {
          for (int64_t i = 0; i < kElements; i += 2) {
            const auto w = Philox4x32(key, i, t);
            out[i] = scale * (static_cast<float>(w[0]) - static_cast<float>(w[1])) * 0x1p-32f;
            out[i + 1] = scale * (static_cast<float>(w[2]) - static_cast<float>(w[3])) * 0x1p-32f;
          }
        };
        fill(1, 0.04f, base);
        fill(StableHash64(name), name == "base" ? 0.0f : 0.004f, values);
        for (int64_t i = 0; i < kElements; ++i) values[i] += base[i];
        std::byte* data = bytes->data() + t * kElements * 2;
        StoreBlock(DType::kBF16, values.data(), kElements, data);
        model.tensors.push_back({tensors[t].name, DType::kBF16, tensors[t].shape, absl::MakeConstSpan(data, kElements * 2)});
      }
      models[name] = std::move(model);
    }
    sources = *MergeSources::Create(models, layout);
    arena = *Arena::Create(layout);
  }
};

World& TheWorld() {
  static auto* const world = new World;
  return *world;
}

// Seconds of copying a result's bytes into the arena.
double TimeCopy(World& world, ThreadPool& pool) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  const std::byte* from = world.sources->tensor(0, 0).data;
  const auto start = std::chrono::steady_clock::now();
  pool.For(kBytes / kPiece,
           [&](int, int64_t i) { std::memcpy(world.arena->data(0) + i * kPiece, from + i * kPiece, kPiece); });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Case {
  const char* name;
  const char* method;
  double density;  // 1: none
  std::map<std::string, double> whole;
  int sources;
  bool orders;  // whole magnitude orders and ranks fit
};

// Argument: threads.
void Merge(benchmark::State& state, const Case& c) {
  World& world = TheWorld();
  MaterializerOptions options;
  options.threads = static_cast<int>(state.range(0));
  options.order_bytes_max = c.orders ? int64_t{1} << 30 : 0;
  ThreadPool pool(options.threads);
  auto materializer = *Materializer::Create(world.sources, options);
  const MethodSpec& spec = FindMergeMethod(c.method)->spec();
  std::map<std::string, double> own;
  if (spec.Find("weight") != nullptr) own["weight"] = 0.6;
  if (c.density < 1) own["density"] = c.density;
  const bool base = spec.base == MethodSpec::Base::kRequired;
  Recipe recipe;
  Stack stack{"merged", c.method, base ? "base" : "", {}, {{{"all"}, {}, c.whole}}};
  for (const char* name : {"a", "b"}) {
    if (static_cast<int>(stack.sources.size()) == c.sources) break;
    stack.sources.push_back(name);
    stack.settings[0].source_parameters.push_back(own);
  }
  const MergePlan plan = *MergePlan::Build(recipe, stack, world.sources);
  materializer->Prepare(plan);
  TimeCopy(world, pool);
  double copy_seconds = 0, merge_seconds = 0;
  int64_t runs = 0;
  for (auto _ : state) {
    copy_seconds += TimeCopy(world, pool);
    const auto start = std::chrono::steady_clock::now();
    MG_CHECK(materializer->Run(plan, *world.arena).ok());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    merge_seconds += seconds;
    ++runs;
  }
  const double moved = static_cast<double>(runs * kBytes) / 1e9;
  const double merge = moved * (c.sources + (base ? 1 : 0) + 1) / merge_seconds, copy = moved * 2 / copy_seconds;
  state.counters["GBps"] = merge;
  state.counters["copy_GBps"] = copy;
  state.counters["share_of_copy"] = merge / copy;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  using merganser::Case;
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const Case cases[] = {{"linear", "linear", 1, {}, 2, false},
                        {"slerp", "slerp", 1, {{"t", 0.4}}, 1, false},
                        {"karcher", "karcher", 1, {}, 2, false},
                        {"task_arithmetic", "task_arithmetic", 1, {}, 2, false},
                        {"ties_order", "ties", 0.5, {}, 2, true},
                        {"ties_histogram", "ties", 0.5, {}, 2, false},
                        {"breadcrumbs_order", "breadcrumbs", 0.5, {}, 2, true},
                        {"dare_ties", "dare_ties", 0.5, {}, 2, false},
                        {"dare_ties_by_density", "dare_ties", 0.5, {{"rescale_by_density", 1}}, 2, false},
                        {"della_ranks_kept", "della", 0.5, {}, 2, true},
                        {"sce", "sce", 1, {}, 2, false},
                        {"ram", "ram", 1, {}, 2, false},
                        {"nearswap", "nearswap", 1, {{"t", 0.001}}, 1, false}};
  for (const Case& c : cases) {
    auto* benchmark = benchmark::RegisterBenchmark(c.name, [c](benchmark::State& s) { merganser::Merge(s, c); });
    benchmark->Arg(1)->UseManualTime()->Unit(benchmark::kMillisecond);
    if (threads > 1) benchmark->Arg(threads);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
