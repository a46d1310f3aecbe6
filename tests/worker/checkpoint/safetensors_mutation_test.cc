#include <gtest/gtest.h>

#include <string>

#include "common/base/rng.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace merganser {
namespace {

const char kHeader[] =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I8","shape":[],"data_offsets":[32,33]}})";

bool Accepted(const std::string& file) {
  return ParseSafetensors({reinterpret_cast<const std::byte*>(file.data()), file.size()}, "f").ok();
}

// The bytes live in a buffer of exactly their size, so that AddressSanitizer sees a step over the
// end.
void Feed(const std::string& file) {
  const std::vector<uint8_t> exact(file.begin(), file.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());  // aborts on anything wrong
}

std::string Mutated(std::string file, Rng& rng) {
  const char* const pieces[] = {"0",
                                "9",
                                "-",
                                "1e9",
                                "[",
                                "]",
                                "{",
                                "}",
                                "\"",
                                ",",
                                ":",
                                "18446744073709551615",
                                "9223372036854775807",
                                "null",
                                "\"F64\"",
                                "\"t\"",
                                "\\u0000",
                                "data_offsets",
                                "\xff"};
  const int edits = 1 + static_cast<int>(rng.NextU64() % 3);
  for (int i = 0; i < edits && !file.empty(); ++i) {
    const size_t at = rng.NextU64() % file.size();
    switch (rng.NextU64() % 5) {
      case 0:
        file[at] = static_cast<char>(rng.NextU64());
        break;
      case 1:
        file.erase(at, 1 + rng.NextU64() % 8);
        break;
      case 2:
        file.insert(at, pieces[rng.NextU64() % std::size(pieces)]);
        break;
      case 3:
        file.insert(at, file.substr(rng.NextU64() % file.size(), rng.NextU64() % 64));
        break;
      case 4:
        file.resize(at);
        break;
    }
  }
  return file;
}

TEST(SafetensorsMutationTest, NoMutationOfBytesEscapesTheChecks) {
  const std::string valid = SafetensorsBytes(kHeader, std::string(33, 'x'));
  ASSERT_TRUE(Accepted(valid));
  Rng rng(StableHash64("safetensors bytes"), 0);
  int refused = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string file = Mutated(valid, rng);
    Feed(file);
    refused += !Accepted(file);
  }
  EXPECT_GT(refused, 4000);
}

// Here the length prefix stays right, so that most cases reach the checks behind the JSON.
TEST(SafetensorsMutationTest, NoMutationOfHeaderEscapesTheChecks) {
  Rng rng(StableHash64("safetensors header"), 0);
  for (int i = 0; i < 6000; ++i) Feed(SafetensorsBytes(Mutated(kHeader, rng), std::string(33, 'x')));
}

// Replaces one number of the header at a time: the JSON stays valid and only the arithmetic can
// refuse it.
TEST(SafetensorsMutationTest, ChangedNumbersAreAlwaysRefused) {
  const std::string header = kHeader;
  const char* const numbers[] = {"5", "7", "23", "25", "34", "4294967296", "9223372036854775807"};
  int tried = 0;
  for (size_t at = 0; at < header.size(); ++at) {
    const bool number = isdigit(header[at]) && (header[at - 1] == '[' || header[at - 1] == ',');
    if (!number) continue;
    const size_t end = header.find_first_not_of("0123456789", at);
    for (const char* other : numbers) {
      if (header.substr(at, end - at) == other) continue;
      ++tried;
      const std::string changed = header.substr(0, at) + other + header.substr(end);
      EXPECT_FALSE(Accepted(SafetensorsBytes(changed, std::string(33, 'x')))) << changed;
    }
  }
  EXPECT_GT(tried, 50);
}

}  // namespace
}  // namespace merganser
