// Speed of materializing one candidate, next to copying as many bytes as the result has.
//   build/bin/bench/merge_bench [--benchmark_filter=ties]
// Synthetic bf16 sources: eight tensors of 8 Mi elements (64 Mi parameters), a base and two
// fine-tunes. Counters: bytes_per_second of result; read_write_GBps counts what one pass reads and
// writes; vs_memcpy is the result's rate over memcpy's (measured first).
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

namespace merganser {
namespace {

constexpr int kTensors = 8;
constexpr int64_t kElements = int64_t{8} << 20;
constexpr int64_t kBytes = kTensors * kElements * 2;

struct World {
  std::shared_ptr<const MergeSources> sources;
  std::unique_ptr<Arena> arena;
  double memcpy_bytes_per_second = 0;

  World() {
    std::vector<ArenaTensor> tensors;
    for (int t = 0; t < kTensors; ++t)
      tensors.push_back({"model.layers." + std::to_string(t) + ".mlp.up_proj.weight", {kElements}});
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
        model.tensors.push_back(
            {tensors[t].name, DType::kBF16, {kElements}, absl::MakeConstSpan(data, kElements * 2)});
      }
      models[name] = std::move(model);
    }
    sources = *MergeSources::Create(models, layout);
    arena = *Arena::Create(layout);
    const std::byte* from = sources->tensor(0, 0).data;
    std::memcpy(arena->data(0), from, kBytes);
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      std::memcpy(arena->data(0), from, kBytes);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      memcpy_bytes_per_second = std::max(memcpy_bytes_per_second, kBytes / seconds.count());
    }
  }
};

World& TheWorld() {
  static auto* const world = new World;
  return *world;
}

void BM_Memcpy(benchmark::State& state) {
  World& world = TheWorld();
  for (auto _ : state) std::memcpy(world.arena->data(0), world.sources->tensor(0, 0).data, kBytes);
  state.SetBytesProcessed(state.iterations() * kBytes);
}

// Arguments: threads; whether magnitude orders fit (TIES).
void Merge(benchmark::State& state, const std::string& method, double density) {
  World& world = TheWorld();
  MaterializerOptions options;
  options.threads = static_cast<int>(state.range(0));
  options.order_bytes_max = state.range(1) != 0 ? int64_t{1} << 30 : 0;
  auto materializer = *Materializer::Create(world.sources, options);
  std::map<std::string, double> own = {{"weight", 0.6}};
  if (density < 1) own["density"] = density;
  Recipe recipe;
  Stack stack{
      "merged", method, method == "linear" ? "" : "base", {"a", "b"}, {{{"all"}, {own, own}, {}}}};
  const MergePlan plan = *MergePlan::Build(recipe, stack, world.sources);
  materializer->Prepare(plan);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) MG_CHECK(materializer->Run(plan, *world.arena).ok());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  state.SetBytesProcessed(state.iterations() * kBytes);
  const double rate = static_cast<double>(state.iterations()) * kBytes / seconds.count();
  state.counters["read_write_GBps"] = rate * (method == "linear" ? 3 : 4) / 1e9;
  state.counters["vs_memcpy"] = rate / world.memcpy_bytes_per_second;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) {
  using merganser::Merge;
  benchmark::RegisterBenchmark("memcpy", merganser::BM_Memcpy)->UseRealTime();
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const struct {
    const char* name;
    const char* method;
    double density;
    int orders;
  } cases[] = {{"linear", "linear", 1, 0},
               {"task_arithmetic", "task_arithmetic", 1, 0},
               {"ties_order", "ties", 0.5, 1},
               {"ties_histogram", "ties", 0.5, 0},
               {"dare_linear", "dare_linear", 0.5, 0},
               {"dare_ties", "dare_ties", 0.5, 0}};
  for (const auto& c : cases) {
    benchmark::RegisterBenchmark(c.name,
                                 [c](benchmark::State& s) { Merge(s, c.method, c.density); })
        ->Args({1, c.orders})
        ->Args({threads, c.orders})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
