// A merge from disk to disk of models that are larger than the memory it may take.
//
//   large_merge_bench FOLDER [SHAPE] [THREADS]      SHAPE: 7b, 3b (the default), 0.35b
//
// Writes a base and two fine-tunes of that shape (random bf16 weights, sharded) below FOLDER, unless they are there; then
// merges them by `linear` and by `ties` and copies one model's files, all with the same files in the page cache as far as it
// holds them. Prints seconds, and the most anonymous memory (RssAnon: resident beyond the page cache) that the process had.
// Results are removed; the models stay for the next run: remove FOLDER when done.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/checkpoint/checkpoint_writer.h"
#include "worker/merge/recipe_export.h"

namespace {

namespace fs = std::filesystem;
using namespace merganser;

struct Shape {
  std::string name;
  int64_t layers, hidden, mlp, kv, vocab;
};

const Shape kShapes[] = {{"7b", 32, 4096, 14336, 1024, 32000},   // Mistral 7B
                         {"3b", 28, 3072, 8192, 1024, 32000},    // Llama 3.2 3B without its large vocabulary
                         {"0.35b", 24, 960, 2560, 320, 49152}};  // SmolLM2 360M

std::vector<TensorHeader> TensorsOf(const Shape& s) {
  std::vector<TensorHeader> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.push_back({name, DType::kBF16, std::move(shape)});
  };
  add("model.embed_tokens.weight", {s.vocab, s.hidden});
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string p = absl::StrCat("model.layers.", i, ".");
    add(p + "self_attn.q_proj.weight", {s.hidden, s.hidden});
    add(p + "self_attn.k_proj.weight", {s.kv, s.hidden});
    add(p + "self_attn.v_proj.weight", {s.kv, s.hidden});
    add(p + "self_attn.o_proj.weight", {s.hidden, s.hidden});
    add(p + "mlp.gate_proj.weight", {s.mlp, s.hidden});
    add(p + "mlp.up_proj.weight", {s.mlp, s.hidden});
    add(p + "mlp.down_proj.weight", {s.hidden, s.mlp});
    add(p + "input_layernorm.weight", {s.hidden});
    add(p + "post_attention_layernorm.weight", {s.hidden});
  }
  add("model.norm.weight", {s.hidden});
  add("lm_head.weight", {s.vocab, s.hidden});
  return tensors;
}

absl::Status WriteModel(const Shape& s, int number, const std::string& dir) {
  const std::string donor = dir + "-config";
  fs::create_directories(donor);
  std::ofstream(donor + "/config.json")
      << "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": " << s.vocab
      << ", \"hidden_size\": " << s.hidden << ", \"intermediate_size\": " << s.mlp << ", \"num_hidden_layers\": " << s.layers
      << ", \"num_attention_heads\": " << s.hidden / 64 << ", \"num_key_value_heads\": " << s.kv / 64
      << ", \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": false}";
  CheckpointWriterOptions options;
  options.out_dir = dir;
  options.donor_dir = donor;
  uint64_t state = 1;  // the same for all: fine-tunes are the base with other low bits
  const absl::Status written = CheckpointWriter(options).Write(
      TensorsOf(s), [&](const TensorHeader& tensor, const CheckpointWriter::Append& append) -> absl::Status {
        std::vector<uint16_t> piece(1 << 20);
        for (int64_t left = tensor.NumBytes() / 2; left > 0;) {
          const int64_t n = std::min<int64_t>(left, static_cast<int64_t>(piece.size()));
          for (int64_t i = 0; i < n; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const auto base = static_cast<uint16_t>(0x3c00u | (state >> 40 & 0x80ffu));
            piece[i] = number == 0 ? base : static_cast<uint16_t>(base ^ (state >> (20 + 9 * number) & 0xfu));
          }
          const absl::Status status = append({reinterpret_cast<const std::byte*>(piece.data()), static_cast<size_t>(n) * 2});
          if (!status.ok()) return status;
          left -= n;
        }
        return absl::OkStatus();
      });
  fs::remove_all(donor);
  return written;
}

int64_t AnonymousKib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::strtoll(line.c_str() + 8, nullptr, 10);
  }
  return 0;
}

// Seconds of `body`, and the most anonymous memory meanwhile.
template <typename Body>
void Measure(const std::string& name, int64_t bytes, Body body) {
  std::atomic<bool> done = false;
  std::atomic<int64_t> peak = 0;
  std::thread watch([&] {
    while (!done) {
      peak = std::max(peak.load(), AnonymousKib());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = body();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  done = true;
  watch.join();
  if (!status.ok()) {
    std::cerr << name << ": " << status << std::endl;
    std::exit(1);
  }
  std::printf("%-8s %8.1f s  %6.2f GB read and written  %7.1f MB/s  peak RssAnon %.2f GiB\n", name.c_str(), seconds,
              static_cast<double>(bytes) / 1e9, static_cast<double>(bytes) / 1e6 / seconds,
              static_cast<double>(peak) / (1 << 20));
  std::fflush(stdout);
}

// A plain copy as one would write it: 16 MiB at a time, synced.
absl::Status CopyFiles(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  std::vector<char> buffer(16 << 20);
  for (const auto& entry : fs::directory_iterator(from)) {
    const int in = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    const int out =
        open((to + "/" + entry.path().filename().string()).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (in < 0 || out < 0) return absl::UnavailableError("cannot open");
    for (ssize_t n; (n = read(in, buffer.data(), buffer.size())) > 0;) {
      if (write(out, buffer.data(), static_cast<size_t>(n)) != n) return absl::UnavailableError("cannot write");
    }
    if (fsync(out) != 0) return absl::UnavailableError("cannot sync");
    close(in);
    close(out);
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER [7b|3b|0.35b] [THREADS]\n";
    return 2;
  }
  const std::string folder = argv[1], wanted = argc > 2 ? argv[2] : "3b";
  const int threads = argc > 3 ? std::atoi(argv[3]) : static_cast<int>(std::thread::hardware_concurrency());
  const auto shape = std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return s.name == wanted; });
  if (shape == std::end(kShapes) || threads < 1) {
    std::cerr << "no shape '" << wanted << "', or bad threads\n";
    return 2;
  }
  fs::create_directories(folder);
  int64_t model_bytes = 0;
  for (const TensorHeader& tensor : TensorsOf(*shape)) model_bytes += tensor.NumBytes();
  const auto free_bytes = static_cast<int64_t>(fs::space(folder).available);
  int missing = 1;  // the result
  for (int i = 0; i < 3; ++i) missing += !fs::exists(absl::StrCat(folder, "/model-", i));
  if (free_bytes < missing * model_bytes + (int64_t{1} << 30)) {
    std::cerr << "needs " << missing * model_bytes / 1e9 << " GB in " << folder << "; free are " << free_bytes / 1e9 << "\n";
    return 1;
  }
  std::printf("shape %s: %.2f GB a model, %d threads\n", shape->name.c_str(), static_cast<double>(model_bytes) / 1e9,
              threads);
  std::string dirs[3];
  for (int i = 0; i < 3; ++i) {
    dirs[i] = absl::StrCat(folder, "/model-", i);
    if (fs::exists(dirs[i])) continue;
    const absl::Status written = WriteModel(*shape, i, dirs[i]);
    if (!written.ok()) {
      std::cerr << written << std::endl;
      return 1;
    }
  }
  Recipe recipe;
  recipe.models = {{"base", dirs[0]}, {"a", dirs[1]}, {"b", dirs[2]}};
  GroupSettings all;
  all.group.name = "all";
  all.source_parameters = {{{"weight", 0.6}}, {{"weight", 0.4}}};
  RecipeExportOptions options;
  options.threads = threads;
  const auto merge = [&](const std::string& method) {
    Stack stack{"merge", method, "", {"a", "b"}, {all}};
    if (method != "linear") {
      stack.base = "base";
      for (auto& parameters : stack.settings[0].source_parameters) parameters["density"] = 0.5;
    }
    recipe.stacks = {stack};
    options.out_dir = absl::StrCat(folder, "/out-", method);
    const int models = method == "linear" ? 2 : 3;
    Measure(method, model_bytes * (models + 1), [&] {
      return ExportRecipeFiles(recipe, [](const std::string& path) -> absl::StatusOr<std::string> { return path; }, options,
                               {})
          .status();
    });
    fs::remove_all(options.out_dir);
  };
  const auto copy = [&] {
    Measure("copy", 2 * model_bytes, [&] { return CopyFiles(dirs[0], folder + "/out-copy"); });
    fs::remove_all(folder + "/out-copy");
  };
  copy();
  merge("linear");
  merge("ties");
  copy();
  return 0;
}
