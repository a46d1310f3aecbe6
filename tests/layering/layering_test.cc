// The boundaries of docs/architecture.md, checked over the includes of every source file.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace {

namespace fs = std::filesystem;

// Prefixes of what is written between the quotes or brackets of an #include.
const std::vector<std::string> kTorch = {"ATen/", "c10/", "torch/"};
const std::vector<std::string> kGrpc = {"grpc", "grpcpp/"};
const std::vector<std::string> kProtobuf = {"google/protobuf/", "merganser/v1/", "common/codec/"};
const std::vector<std::string> kStores = {"hiredis", "sqlite3.h"};
const std::vector<std::string> kThreads = {"thread", "mutex", "stop_token", "absl/synchronization/"};
const std::vector<std::string> kClocks = {"chrono", "absl/time/clock.h", "common/base/clock.h"};
const std::vector<std::string> kLogging = {"common/base/log.h"};

using Lists = std::vector<std::vector<std::string>>;

struct Rule {
  std::string folder;
  std::vector<std::string> forbidden;
};

std::vector<std::string> Join(const Lists& lists) {
  std::vector<std::string> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

const std::vector<Rule>& Rules() {
  static const auto* const rules = new std::vector<Rule>{
      {"common/base", Join({kTorch, kGrpc, kProtobuf, kStores, {{"common/domain/", "coordinator/", "worker/", "client/"}}})},
      {"common/cli", Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, {{"coordinator/", "worker/", "client/"}}})},
      {"common/domain", Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, {{"coordinator/", "worker/", "client/"}}})},
      {"common/codec", Join({kTorch, kGrpc, kStores, {{"coordinator/", "worker/", "client/"}}})},
      {"common/config", Join({kTorch, kGrpc, kStores, {{"coordinator/", "worker/", "client/"}}})},
      {"common/store", Join({kTorch, kGrpc, kProtobuf, {{"coordinator/", "worker/", "client/"}}})},
      {"common/transfer", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "worker/", "client/"}}})},
      {"coordinator/optimizer",
       Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, kClocks, kLogging, {{"worker/", "client/"}}})},
      {"coordinator/replay",
       Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, kClocks, kLogging, {{"worker/", "client/"}}})},
      {"coordinator/search_space",
       Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, kClocks, kLogging, {{"worker/", "client/"}}})},
      {"coordinator/job", Join({kTorch, kGrpc, kProtobuf, kStores, {{"worker/", "client/"}}})},
      {"coordinator/dispatch", Join({kTorch, kGrpc, kProtobuf, kStores, {{"worker/", "client/"}}})},
      {"coordinator/rpc", Join({kTorch, kStores, {{"worker/", "client/"}}})},
      {"coordinator/http", Join({kTorch, kStores, {{"worker/", "client/"}}})},
      {"common/draw",
       Join({kTorch, kGrpc, kProtobuf, kStores, kThreads, kClocks, {{"coordinator/", "worker/", "client/"}}})},
      {"worker/checkpoint", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/merge", Join({kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/device_merge", Join({kGrpc, kProtobuf, kStores, {{"coordinator/", "client/", "worker/evaluate/"}}})},
      {"worker/engine", Join({kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/vision", Join({kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/text", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/serve", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "client/", "worker/evaluate/"}}})},
      {"worker/command", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "client/", "worker/evaluate/"}}})},
      {"worker/benchmark", Join({kTorch, kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/evaluate", Join({kGrpc, kProtobuf, kStores, {{"coordinator/", "client/"}}})},
      {"worker/agent", Join({kTorch, kStores, {{"client/", "worker/engine/", "worker/merge/"}}})},
      {"client", Join({kTorch, kStores})},
  };
  return *rules;
}

std::vector<std::string> Includes(const fs::path& file) {
  std::vector<std::string> includes;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("#include", 0) != 0) continue;
    const size_t from = line.find_first_of("<\""), to = line.find_last_of(">\"");
    if (from != std::string::npos && to > from) includes.push_back(line.substr(from + 1, to - from - 1));
  }
  return includes;
}

bool IsSource(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cc" || path.extension() == ".inc";
}

class LayeringTest : public testing::TestWithParam<Rule> {};

TEST_P(LayeringTest, IncludesNothingBeyondItsBoundary) {
  const fs::path folder = fs::path(MG_SOURCE_DIR) / GetParam().folder;
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
    ++files;
    for (const std::string& include : Includes(entry.path())) {
      for (const std::string& prefix : GetParam().forbidden) {
        EXPECT_NE(include.rfind(prefix, 0), 0u) << fs::relative(entry.path(), MG_SOURCE_DIR) << " includes " << include;
      }
    }
  }
  EXPECT_GT(files, 0) << "the rule is about an empty folder";
}

INSTANTIATE_TEST_SUITE_P(All, LayeringTest, testing::ValuesIn(Rules()), [](const auto& info) {
  std::string name = info.param.folder;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

// hiredis and sqlite stay in one folder each.
TEST(LayeringTest, EachStoreLibraryHasOneHome) {
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(MG_SOURCE_DIR) / "common/store")) {
    if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
    const std::string path = fs::relative(entry.path(), MG_SOURCE_DIR).string();
    for (const std::string& include : Includes(entry.path())) {
      if (include.rfind("hiredis", 0) == 0) {
        EXPECT_EQ(path.rfind("common/store/redis/", 0), 0u) << path;
      }
      if (include == "sqlite3.h") {
        EXPECT_EQ(path.rfind("common/store/sqlite/", 0), 0u) << path;
      }
    }
  }
}

TEST(LayeringTest, FilesStayShort) {
  for (const char* top : {"common", "coordinator", "worker", "client"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(MG_SOURCE_DIR) / top)) {
      if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
      std::ifstream in(entry.path());
      const auto lines = std::count(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>(), '\n');
      EXPECT_LE(lines, 500) << fs::relative(entry.path(), MG_SOURCE_DIR) << ": split it, one idea each";
    }
  }
}

}  // namespace
