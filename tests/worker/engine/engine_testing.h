// Models for the engine's tests.
#ifndef MERGANSER_TESTS_WORKER_ENGINE_ENGINE_TESTING_H_
#define MERGANSER_TESTS_WORKER_ENGINE_ENGINE_TESTING_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/engine/decoder.h"
#include "worker/engine/weight_layout.h"

namespace merganser {

// Random fp32 weights for any config, the same for the same seed. They lie in the order of
// WeightLayout without gaps.
class RandomWeights : public WeightSource {
 public:
  RandomWeights(const ModelConfig& config, uint64_t seed);
  absl::StatusOr<WeightView> Find(absl::string_view name) const override;
  bool may_alias() const override { return alias; }

  // The values of one tensor, to be changed by a test.
  std::vector<float*> Elements(const std::string& name);
  void Reshape(const std::string& name, std::vector<int64_t> shape) { shapes_[name] = std::move(shape); }
  void Remove(const std::string& name) { shapes_.erase(name); }

  bool alias = false;

 private:
  std::vector<float> arena_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, int64_t> offsets_;
  std::map<std::string, int64_t> sizes_;
};

// Two layers, hidden size 32, 4 heads on 2 key heads, 64 tokens, 96 positions.
ModelConfig SmallConfig();

// Prompts of 1 to 30 tokens.
std::vector<std::vector<int32_t>> RandomPrompts(int count, uint64_t seed, int vocab = 64);

// A decoder with its weights loaded; the test ends at an error.
std::unique_ptr<Decoder> MakeDecoder(const ModelConfig& config, const WeightSource& weights, const EngineOptions& options);

// Generate without stop token and progress.
std::vector<Generation> GenerateAll(Decoder& decoder, const std::vector<GenerationRequest>& requests);

inline bool operator==(const Generation& a, const Generation& b) { return a.tokens == b.tokens && a.reason == b.reason; }

// input_ids and logits of a reference.safetensors.
struct Reference {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [ids, vocab]
  float bf16_difference = 0;  // of transformers in bf16 to `logits`; 0 where the file has none
};
Reference ReadReference(const std::string& path);

// Largest |a[i] - b[i]|; infinity where the sizes differ or a value is NaN.
double MaxDifference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_ENGINE_ENGINE_TESTING_H_
