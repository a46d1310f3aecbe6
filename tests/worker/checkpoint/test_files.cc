#include "tests/worker/checkpoint/test_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "worker/checkpoint/architecture_tensors.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {

namespace fs = std::filesystem;

std::string NewFolder() {
  // Removed when the process ends.
  static const struct Root {
    const std::string path = absl::StrCat(testing::TempDir(), "/mg-checkpoint-", getpid());
    ~Root() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } root;
  static int number = 0;
  const std::string path = absl::StrCat(root.path, "/", number++);
  fs::create_directories(path);
  return path;
}

void WriteText(const std::string& path, absl::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string SafetensorsBytes(absl::string_view header, absl::string_view data) {
  const uint64_t size = header.size();
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &size, 8);
  return absl::StrCat(prefix, header, data);
}

std::string TinyConfigWith(absl::string_view field, absl::string_view value) {
  auto json = nlohmann::json::parse(kTinyConfig);
  json[std::string(field)] = nlohmann::json::parse(value.begin(), value.end());
  return json.dump();
}

std::vector<TensorHeader> TinyTensors() {
  std::vector<TensorHeader> tensors;
  for (const ExpectedTensor& tensor : ArchitectureTensors(*ModelConfig::Parse(kTinyConfig, "tiny"))) {
    tensors.push_back({tensor.name, DType::kF32, tensor.shape});
  }
  return tensors;
}

void WriteTensors(const std::string& path, const std::vector<TensorHeader>& tensors) {
  auto writer = SafetensorsWriter::Create(path, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status();
  float value = 0;
  for (const TensorHeader& tensor : tensors) {
    value += 1;
    std::vector<std::byte> bytes(static_cast<size_t>(tensor.NumBytes()));
    for (size_t i = 0; i + 4 <= bytes.size(); i += 4) std::memcpy(bytes.data() + i, &value, 4);
    ASSERT_TRUE((*writer)->Append(bytes).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

std::string TinyCheckpoint() {
  const std::string dir = NewFolder();
  WriteText(dir + "/config.json", kTinyConfig);
  WriteTensors(dir + "/model.safetensors", TinyTensors());
  return dir;
}

}  // namespace merganser
