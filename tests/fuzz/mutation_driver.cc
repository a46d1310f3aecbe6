// Feeds mutations of seed files to a fuzz target, for compilers without libFuzzer:
//
//   NAME_fuzz SECONDS SEED FILE...
//
// The same seed gives the same inputs in the same order. Before each run the input is kept in crash-NAME.bin of the working
// directory (removed at the end), so that a crash leaves what caused it.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using merganser::Rng;

constexpr size_t kInputBytesMax = 1 << 16;

std::string ReadAll(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string Mutated(std::string input, const std::vector<std::string>& seeds, Rng& rng) {
  static const char* const kPieces[] = {"0", "9", "-", "1e999", ".inf", "[", "]", "{", "}", "\"", "'", ",", ":", ": ", "\n", "\n  ",
                                        "\n- ", "&a ", "*a", "!!int ", "|", ">", "#", "18446744073709551615", "9223372036854775807",
                                        "null", "~", "true", "*", "<<: ", "\\u0000", "\xff", "\0"};
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
        if (b != std::string::npos) input = input.substr(0, at) + input.substr(a, b - a) + input.substr(at, a - at) + input.substr(b);
        break;
      }
    }
  }
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: " << argv[0] << " SECONDS SEED FILE...\n";
    return 2;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atol(argv[1]));
  std::vector<std::string> seeds;
  for (int i = 3; i < argc; ++i) seeds.push_back(ReadAll(argv[i]));
  Rng rng(static_cast<uint64_t>(std::atoll(argv[2])), 0);
  // The current input lies in a mapped file: whatever ends the process, the file has it.
  const std::string name = argv[0];
  const std::string crash = "crash-" + name.substr(name.find_last_of('/') + 1) + ".bin";
  const int fd = open(crash.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, kInputBytesMax + 8) != 0) return 2;
  auto* kept = static_cast<uint8_t*>(mmap(nullptr, kInputBytesMax + 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (kept == MAP_FAILED) return 2;
  std::vector<std::string> pool = seeds;
  uint64_t runs = 0;
  while (std::chrono::steady_clock::now() < end) {
    std::string input = Mutated(pool[rng.NextU64() % pool.size()], seeds, rng);
    const uint64_t size = input.size();
    std::copy_n(reinterpret_cast<const uint8_t*>(&size), 8, kept);
    std::copy(input.begin(), input.end(), kept + 8);
    // A buffer of exactly its size, so that AddressSanitizer sees a step over the end.
    const std::vector<uint8_t> exact(input.begin(), input.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
    // Some mutations live on and are mutated further.
    if (runs % 64 == 0) {
      if (pool.size() < 4096) pool.push_back(std::move(input));
      else pool[seeds.size() + rng.NextU64() % (pool.size() - seeds.size())] = std::move(input);
    }
    ++runs;
  }
  unlink(crash.c_str());
  std::cout << name << ": " << runs << " inputs, no crash" << std::endl;
  return 0;
}
