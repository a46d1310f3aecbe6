// A checkpoint directory of a test's own, and the golden files beside this header.
#ifndef MERGANSER_TESTS_WORKER_TEXT_TEMP_CHECKPOINT_H_
#define MERGANSER_TESTS_WORKER_TEXT_TEMP_CHECKPOINT_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/files.h"
#include "common/base/sha256.h"

namespace merganser {

// An empty folder that goes with the object.
class TempCheckpoint {
 public:
  TempCheckpoint() : path_(absl::StrCat(testing::TempDir(), "/text-", RandomToken())) {
    std::filesystem::create_directories(path_);
  }
  TempCheckpoint(const TempCheckpoint&) = delete;
  TempCheckpoint& operator=(const TempCheckpoint&) = delete;
  ~TempCheckpoint() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  void Write(const std::string& name, absl::string_view bytes) {
    std::ofstream(path_ + "/" + name, std::ios::binary).write(bytes.data(), bytes.size());
  }
  void CopyFrom(const std::string& file) {
    std::filesystem::copy_file(file, path_ + "/" + std::filesystem::path(file).filename().string());
  }

 private:
  std::string path_;
};

inline std::string TextTestData(const std::string& name) {
  return absl::StrCat(MG_SOURCE_DIR "/tests/worker/text/testdata/", name);
}

// The example's tokenizer (SentencePiece BPE with byte fallback), and a byte-level one.
inline std::string ByteFallbackDir() { return MG_SOURCE_DIR "/examples/ja-math/base"; }
inline std::string ByteLevelDir() { return TextTestData("byte_level"); }

inline nlohmann::ordered_json ReadGolden(const std::string& name) {
  return nlohmann::ordered_json::parse(ReadFile(TextTestData(name)).value());
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_TEXT_TEMP_CHECKPOINT_H_
