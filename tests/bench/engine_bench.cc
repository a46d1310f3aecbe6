// Samples per second of the engine on a file of prompts, and where the time goes. Run beside
// transformers_peer.py, which measures the same with transformers:
//
//   python tests/bench/transformers_peer.py examples/ja-math/ja --tasks
//   examples/ja-math/tasks/ja_math.train.jsonl
//                                           --dump prompts.txt
//   engine_bench examples/ja-math/ja prompts.txt [new tokens 36] [repetitions 5] [threads 0]
//   [sequences 96]
//                                                [fp32|bf16]
//
// prompts.txt has one prompt a line: its token ids, with blanks between. Lines like "1 2 3 | 4 5 | 6" are a context and its
// choices, of which log-likelihoods are computed (choices.py writes them); then new tokens do not apply. Prints one JSON
// object a line. On a busy machine compare the processor's seconds (load_cpu, generate_cpu) with one thread.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/decoder.h"

namespace merganser {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

double CpuSeconds(std::clock_t clocks) { return static_cast<double>(clocks) / static_cast<double>(CLOCKS_PER_SEC); }

int Run(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: engine_bench MODEL_DIR PROMPTS [NEW_TOKENS REPETITIONS THREADS SEQUENCES "
                 "fp32|bf16]\n");
    return 2;
  }
  const auto number = [&](int i, int otherwise) { return argc > i ? std::atoi(argv[i]) : otherwise; };
  auto checkpoint = Checkpoint::Open(argv[1]);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  std::vector<GenerationRequest> requests;
  std::vector<ScoringRequest> choices;
  size_t samples = 0;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line); ++samples) {
    std::vector<std::vector<int32_t>> parts;
    for (const absl::string_view part : absl::StrSplit(line, '|')) {
      std::istringstream ids{std::string(part)};
      parts.emplace_back();
      for (int32_t id; ids >> id;) parts.back().push_back(id);
    }
    for (size_t i = 1; i < parts.size(); ++i) choices.push_back({parts[0], parts[i]});
    if (parts.size() == 1) requests.push_back({parts[0], number(3, 36), {}});
  }
  EngineOptions options;
  options.threads = number(5, 0);
  options.max_sequences = number(6, options.max_sequences);
  if (argc > 7 && std::string(argv[7]) == "bf16") options.compute = ComputeType::kBf16;
  options.eos_token_ids = (*checkpoint)->generation_config().eos_token_ids;
  auto decoder = Decoder::Create((*checkpoint)->config(), options);
  if (!decoder.ok()) return Fail(decoder.status());
  const Clock& clock = Clock::Real();
  double best = 0;
  for (int i = 0; i < number(4, 5); ++i) {
    // A source of its own each time, so that loading is measured each time.
    const CheckpointWeights weights(*checkpoint);
    const std::clock_t cpu_start = std::clock();
    const absl::Duration start = clock.Monotonic();
    if (const absl::Status loaded = (*decoder)->LoadWeights(weights); !loaded.ok()) return Fail(loaded);
    const double load = absl::ToDoubleSeconds(clock.Monotonic() - start);
    const std::clock_t cpu_loaded = std::clock();
    if (auto generations = (*decoder)->Generate(requests, {}, nullptr); !generations.ok()) return Fail(generations.status());
    if (auto scores = (*decoder)->LogLikelihood(choices, {}, nullptr); !scores.ok()) return Fail(scores.status());
    const double all = absl::ToDoubleSeconds(clock.Monotonic() - start);
    const GenerationTimings timings = (*decoder)->timings();
    best = std::max(best, static_cast<double>(samples) / all);
    std::printf(
        "{\"seconds\": %.4f, \"load\": %.4f, \"prefill\": %.4f, \"decode\": %.4f, "
        "\"prompt_tokens\": %lld, "
        "\"generated_tokens\": %lld, \"load_cpu\": %.4f, \"generate_cpu\": %.4f, "
        "\"samples_per_second\": %.1f}\n",
        all, load, timings.prefill_seconds, timings.decode_seconds, static_cast<long long>(timings.prompt_tokens),
        static_cast<long long>(timings.generated_tokens), CpuSeconds(cpu_loaded - cpu_start),
        CpuSeconds(std::clock() - cpu_loaded), static_cast<double>(samples) / all);
  }
  std::printf("{\"engine\": \"%s\", \"samples\": %zu, \"best_samples_per_second\": %.1f}\n",
              (*decoder)->description().c_str(), samples, best);
  return 0;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Run(argc, argv); }
