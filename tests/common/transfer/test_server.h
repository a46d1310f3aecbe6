// server.py as a child, and small checkpoints to be served.
#ifndef MERGANSER_TESTS_COMMON_TRANSFER_TEST_SERVER_H_
#define MERGANSER_TESTS_COMMON_TRANSFER_TEST_SERVER_H_

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/process.h"

namespace merganser {

inline std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void WriteAll(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// A safetensors file with one tensor of `size` bytes that depend on `seed`.
inline std::string Weights(int64_t size, unsigned seed) {
  const std::string header = absl::StrCat(R"({"w":{"dtype":"U8","shape":[)", size, R"(],"data_offsets":[0,)", size, "]}}");
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((header.size() >> (8 * i)) & 0xff);
  bytes += header;
  for (int64_t i = 0; i < size; ++i) {
    seed = seed * 1664525 + 1013904223;
    bytes += static_cast<char>(seed >> 24);
  }
  return bytes;
}

// config.json, a tokenizer and weights; a pickle, a program and a second form of the weights, which nobody is to fetch.
inline void WriteCheckpoint(const std::string& dir, int64_t bytes, unsigned seed) {
  std::filesystem::create_directories(dir);
  WriteAll(dir + "/config.json", R"({"architectures": ["LlamaForCausalLM"]})");
  WriteAll(dir + "/tokenizer.json", R"({"version": "1.0"})");
  WriteAll(dir + "/model.safetensors", Weights(bytes, seed));
  WriteAll(dir + "/consolidated.safetensors", Weights(16, seed));
  WriteAll(dir + "/pytorch_model.bin", "a pickle");
  WriteAll(dir + "/modeling_evil.py", "import os");
}

class TestServer {
 public:
  // `flags` of server.py. Null where there is no python3.
  static std::unique_ptr<TestServer> Start(const std::string& root, std::vector<std::string> flags = {}) {
    if (std::system("python3 -c '' 2> /dev/null") != 0) return nullptr;
    std::unique_ptr<TestServer> server(new TestServer);
    const std::string dir = testing_support::FreshDir("server");
    server->log_ = dir + "/log";
    std::vector<std::string> argv = {
        "/usr/bin/env", "python3",     std::string(MG_SOURCE_DIR) + "/tests/common/transfer/server.py",
        root,           "--port-file", dir + "/port",
        "--log",        server->log_};
    argv.insert(argv.end(), flags.begin(), flags.end());
    server->process_ = std::make_unique<testing_support::Process>("server", argv, dir);
    EXPECT_TRUE(testing_support::Eventually([&] { return std::filesystem::exists(dir + "/port"); }))
        << server->process_->Stderr();
    server->url_ = "http://127.0.0.1:" + ReadAll(dir + "/port");
    return server;
  }
  const std::string& url() const { return url_; }
  // "GET /config.json bytes=10- 206" and so on, a line each.
  std::string log() const { return ReadAll(log_); }

 private:
  std::string url_, log_;
  std::unique_ptr<testing_support::Process> process_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_COMMON_TRANSFER_TEST_SERVER_H_
