// Files and places that the tests of worker/benchmark share.
#ifndef MERGANSER_TESTS_WORKER_BENCHMARK_TEST_FILES_H_
#define MERGANSER_TESTS_WORKER_BENCHMARK_TEST_FILES_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace merganser {

inline std::string SourcePath(const std::string& relative) { return absl::StrCat(MG_SOURCE_DIR, "/", relative); }

inline std::string LanguageModelPath() { return SourcePath("examples/ja-math/lid.176.ftz"); }

// A folder of this test's own.
inline std::string TestFolder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string folder =
      absl::StrCat(testing::TempDir(), "/benchmark-", getpid(), "-", info->test_suite_name(), "-", info->name());
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::string WriteTestFile(const std::string& name, const std::string& bytes) {
  const std::string path = absl::StrCat(TestFolder(), "/", name);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// An error of `code` whose message has `part`; `part` may be any gmock matcher of a string.
template <typename T, typename Matcher>
void ExpectError(const T& result, absl::StatusCode code, const Matcher& message) {
  absl::Status status;
  if constexpr (std::is_same_v<T, absl::Status>) {
    status = result;
  } else {
    status = result.status();
  }
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), message);
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_BENCHMARK_TEST_FILES_H_
