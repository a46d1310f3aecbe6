// Stands in for libFuzzer where the compiler has none, with the part of its command line that is used here:
//
//   NAME_fuzz [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=PREFIX] FOLDER...
//       the files of the folders, then mutations of them
//   NAME_fuzz FILE...
//       these inputs, once each
//
// Without -runs and -max_total_time it runs until it finds something. The same seed and number of runs give the same inputs
// in the same order. The target runs in a child process; where that dies, or takes more than a minute for one input, the
// input is written to PREFIX + "crash-" + its hash, and the exit code is 1.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "common/base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;
using merganser::Rng;
using Clock = std::chrono::steady_clock;

constexpr size_t kInputBytesMax = 1 << 16;
constexpr auto kInputTimeMax = std::chrono::seconds(60);

// What parent and child share: whatever ends the child, the parent has its last input.
struct Shared {
  std::atomic<uint64_t> runs;  // begun
  uint64_t size;
  uint8_t input[kInputBytesMax];
};

struct Options {
  uint64_t runs = UINT64_MAX;
  int64_t seconds = INT64_MAX / 4'000'000'000;
  uint64_t seed = 1;
  std::string artifact_prefix;
  std::vector<std::string> folders, files;
};

std::string ReadAll(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str().substr(0, kInputBytesMax);
}

std::string Mutated(std::string input, const std::vector<std::string>& seeds, Rng& rng) {
  static const std::string kPieces[] = {"0",
                                        "9",
                                        "-",
                                        "1e999",
                                        ".inf",
                                        "[",
                                        "]",
                                        "{",
                                        "}",
                                        "\"",
                                        "'",
                                        ",",
                                        ":",
                                        ": ",
                                        "\n",
                                        "\n  ",
                                        "\n- ",
                                        "&a ",
                                        "*a",
                                        "!!int ",
                                        "|",
                                        ">",
                                        "#",
                                        "18446744073709551615",
                                        "9223372036854775807",
                                        "null",
                                        "~",
                                        "true",
                                        "*",
                                        "<<: ",
                                        "\\u0000",
                                        "\xff",
                                        std::string(1, '\0')};
  const int edits = 1 + static_cast<int>(rng.NextU64() % 8);
  for (int i = 0; i < edits; ++i) {
    const size_t at = rng.NextU64() % (input.size() + 1);
    switch (rng.NextU64() % 7) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(rng.NextU64());
        break;
      case 1:
        input.erase(at, 1 + rng.NextU64() % 16);
        break;
      case 2:
        input.insert(at, kPieces[rng.NextU64() % std::size(kPieces)]);
        break;
      case 3:
        if (!input.empty()) input.insert(at, input.substr(rng.NextU64() % input.size(), rng.NextU64() % 64));
        break;
      case 4:
        if (rng.NextU64() % 8 == 0) input.resize(at);
        break;
      case 5: {  // a piece of another seed
        const std::string& other = seeds[rng.NextU64() % seeds.size()];
        if (!other.empty()) input.insert(at, other.substr(rng.NextU64() % other.size(), rng.NextU64() % 128));
        break;
      }
      case 6: {  // two lines change places
        const size_t a = input.find('\n', at), b = a == std::string::npos ? a : input.find('\n', a + 1);
        if (b != std::string::npos)
          input = input.substr(0, at) + input.substr(a, b - a) + input.substr(at, a - at) + input.substr(b);
        break;
      }
    }
  }
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  return input;
}

void RunOne(const std::string& input, Shared& shared) {
  shared.size = input.size();
  std::copy(input.begin(), input.end(), shared.input);
  shared.runs.fetch_add(1);
  // A buffer of exactly its size, so that AddressSanitizer sees a step over the end.
  const std::vector<uint8_t> exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void Fuzz(const Options& options, const std::vector<std::string>& seeds, Shared& shared) {
  for (const std::string& seed : seeds) RunOne(seed, shared);
  if (options.folders.empty()) return;
  const auto end = Clock::now() + std::chrono::seconds(options.seconds);
  Rng rng(options.seed, 0);
  std::vector<std::string> pool = seeds;
  for (uint64_t run = 0; run < options.runs && Clock::now() < end; ++run) {
    // Half of them of seeds: of mutations of mutations ever fewer get beyond a reader's first checks.
    const std::vector<std::string>& from = rng.NextU64() % 2 == 0 ? seeds : pool;
    std::string input = Mutated(from[rng.NextU64() % from.size()], seeds, rng);
    RunOne(input, shared);
    // Some mutations live on and are mutated further.
    if (run % 64 != 0) continue;
    if (pool.size() < 4096) {
      pool.push_back(std::move(input));
    } else {
      pool[seeds.size() + rng.NextU64() % (pool.size() - seeds.size())] = std::move(input);
    }
  }
}

// Waits for the child; true if it ended well.
bool Watch(pid_t child, const Shared& shared) {
  uint64_t seen = 0;
  auto since = Clock::now();
  for (int status = 0;; std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (const uint64_t runs = shared.runs.load(); runs != seen) {
      seen = runs;
      since = Clock::now();
    } else if (Clock::now() - since > kInputTimeMax) {
      std::cerr << "one input takes more than a minute\n";
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return false;
    }
  }
}

bool ParseOptions(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals),
                      value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (name == "-runs") {
      options.runs = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "-max_total_time") {
      options.seconds = std::strtoll(value.c_str(), nullptr, 10);
    } else if (name == "-seed") {
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "-artifact_prefix") {
      options.artifact_prefix = value;
    } else if (fs::is_directory(argument)) {
      options.folders.push_back(argument);
    } else if (fs::is_regular_file(argument)) {
      options.files.push_back(argument);
    } else {
      return false;
    }
  }
  return !options.folders.empty() || !options.files.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!ParseOptions(argc, argv, options)) {
    std::cerr << "usage: " << argv[0]
              << " [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=PREFIX] FOLDER... | FILE...\n";
    return 2;
  }
  for (const std::string& folder : options.folders) {
    for (const auto& entry : fs::directory_iterator(folder)) options.files.push_back(entry.path());
  }
  std::sort(options.files.begin(), options.files.end());
  std::vector<std::string> seeds;
  for (const std::string& file : options.files) seeds.push_back(ReadAll(file));
  if (seeds.empty()) seeds.emplace_back();
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto* shared = new (memory) Shared{};
  const pid_t child = fork();
  if (child < 0) return 2;
  if (child == 0) {
    Fuzz(options, seeds, *shared);
    std::exit(0);
  }
  const bool good = Watch(child, *shared);
  const std::string name = fs::path(argv[0]).filename();
  if (!good) {
    const std::string input(reinterpret_cast<const char*>(shared->input), shared->size);
    std::ostringstream file;
    file << options.artifact_prefix << "crash-" << std::hex << merganser::StableHash64(input);
    std::ofstream(file.str(), std::ios::binary) << input;
    std::cerr << name << ": input " << shared->runs << " ended it; it is in " << file.str() << "\n";
    return 1;
  }
  std::cout << name << ": " << shared->runs << " inputs, no crash" << std::endl;
  return 0;
}
