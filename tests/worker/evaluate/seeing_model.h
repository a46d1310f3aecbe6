// A tiny model that sees and can be asked: the LLaVA-NeXT fixture with the example's tokenizer and an <image> token.
#ifndef MERGANSER_TESTS_WORKER_EVALUATE_SEEING_MODEL_H_
#define MERGANSER_TESTS_WORKER_EVALUATE_SEEING_MODEL_H_

#include <filesystem>
#include <fstream>
#include <string>

#include "common/base/files.h"
#include "nlohmann/json.hpp"
#include "tests/worker/evaluate/example_job.h"

namespace merganser {

inline std::string Picture(const std::string& name) { return MG_SOURCE_DIR "/tests/worker/vision/testdata/images/" + name; }

inline void WriteSeeingModel(const std::string& dir) {
  namespace fs = std::filesystem;
  fs::create_directories(dir);
  const std::string fixture = MG_SOURCE_DIR "/tests/worker/vision/testdata/llava_next/";
  for (const char* name : {"config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors"}) {
    fs::copy_file(fixture + name, dir + "/" + name);
  }
  fs::copy_file(ExampleDir() + "/base/tokenizer_config.json", dir + "/tokenizer_config.json");
  nlohmann::json tokenizer = nlohmann::json::parse(ReadFile(ExampleDir() + "/base/tokenizer.json").value());
  nlohmann::json image = tokenizer["added_tokens"][0];
  image["id"] = 1024;
  image["content"] = "<image>";
  tokenizer["added_tokens"].push_back(image);
  std::ofstream(dir + "/tokenizer.json") << tokenizer.dump();
}

// DIR/seeing.yaml, a benchmark of four samples on two pictures, with its data and pictures.
inline void WriteSeeingBenchmark(const std::string& dir) {
  namespace fs = std::filesystem;
  fs::create_directories(dir + "/images");
  for (const char* name : {"rocket.jpg", "page.png"}) fs::copy_file(Picture(name), dir + "/images/" + name);
  std::ofstream(dir + "/samples.jsonl") << R"({"image": "images/rocket.jpg", "question": "これは何ですか。", "answer": "?"}
{"image": "images/page.png", "question": "これは何ですか。", "answer": "?"}
{"image": "images/rocket.jpg", "question": "何色ですか。", "answer": "?"}
{"image": "images/page.png", "question": "What is it?", "answer": "?"}
)";
  std::ofstream(dir + "/seeing.yaml") << "data: samples.jsonl\nprompt: \"<image>\\n{{question}}\"\ntarget: \"{{answer}}\"\n"
                                         "max_new_tokens: 8\nstop: []\nmetrics: [exact_match]\n";
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_EVALUATE_SEEING_MODEL_H_
