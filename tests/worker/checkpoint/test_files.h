// Small files and checkpoints for the tests of worker/checkpoint.
#ifndef MERGANSER_TESTS_WORKER_CHECKPOINT_TEST_FILES_H_
#define MERGANSER_TESTS_WORKER_CHECKPOINT_TEST_FILES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace merganser {

// A new, empty folder below testing::TempDir().
std::string NewFolder();

void WriteText(const std::string& path, absl::string_view text);
std::string ReadText(const std::string& path);

// The names in a folder, sorted.
std::vector<std::string> Names(const std::string& folder);

// A file's bytes: length prefix, `header` and `data`.
std::string SafetensorsBytes(absl::string_view header, absl::string_view data);

// A Llama with one layer, hidden 4, 2 heads, 1 key/value head, MLP 6, vocabulary 8.
inline constexpr char kTinyConfig[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 8, "hidden_size": 4,
  "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
  "torch_dtype": "float32", "eos_token_id": 2, "bos_token_id": 1
})";

// `kTinyConfig` with `"field": value` in place of what it says for `field`, or added.
std::string TinyConfigWith(absl::string_view field, absl::string_view value);

// The tensors of kTinyConfig, F32, in the order of ArchitectureTensors.
std::vector<TensorHeader> TinyTensors();

// Writes `tensors` to `path`; every F32 element of tensor i is i + 1.
void WriteTensors(const std::string& path, const std::vector<TensorHeader>& tensors);

// A whole checkpoint in a new folder: config.json and model.safetensors.
std::string TinyCheckpoint();

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_CHECKPOINT_TEST_FILES_H_
