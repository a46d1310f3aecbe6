// Entry for libFuzzer and for the mutation driver: whatever the bytes of tokenizer.model, reading it ends in a
// tokenizer.json, or in an error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "worker/text/sentencepiece_tokenizer.h"

using namespace merganser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"LlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", ""}) {
    TokenizerConfig config;
    config.tokenizer_class = name;
    const auto json = TokenizerJsonOfSentencePiece(bytes, &config);
    if (!json.ok() && json.status().code() != absl::StatusCode::kInvalidArgument) std::abort();
    if (json.ok() && json->front() != '{') std::abort();
  }
  return 0;
}
