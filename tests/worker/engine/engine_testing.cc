#include "tests/worker/engine/engine_testing.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "worker/checkpoint/safetensors_reader.h"

namespace merganser {

RandomWeights::RandomWeights(const ModelConfig& config, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.25f);
  for (const TensorSpec& spec : WeightLayout(config)) {
    int64_t size = 1;
    for (const int64_t n : spec.shape) size *= n;
    shapes_[spec.name] = spec.shape;
    offsets_[spec.name] = static_cast<int64_t>(arena_.size());
    sizes_[spec.name] = size;
    const float mean = spec.name.find("norm") == std::string::npos ? 0.0f : 1.0f;
    for (int64_t i = 0; i < size; ++i) arena_.push_back(mean + normal(random));
  }
}

absl::StatusOr<WeightView> RandomWeights::Find(absl::string_view name) const {
  const auto shape = shapes_.find(std::string(name));
  if (shape == shapes_.end()) return absl::NotFoundError(absl::StrCat("no tensor '", name, "'"));
  return WeightView{DType::kF32, shape->second,
                    reinterpret_cast<const std::byte*>(arena_.data() + offsets_.at(shape->first))};
}

std::vector<float*> RandomWeights::Elements(const std::string& name) {
  std::vector<float*> elements;
  for (int64_t i = 0; i < sizes_.at(name); ++i) elements.push_back(&arena_[offsets_.at(name) + i]);
  return elements;
}

ModelConfig SmallConfig() {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 64;
  config.hidden_size = 32;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 96;
  return config;
}

std::vector<std::vector<int32_t>> RandomPrompts(int count, uint64_t seed, int vocab) {
  std::mt19937_64 random(seed);
  std::vector<std::vector<int32_t>> prompts(count);
  for (auto& prompt : prompts) {
    prompt.resize(1 + random() % 30);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % vocab);
  }
  return prompts;
}

std::unique_ptr<Decoder> MakeDecoder(const ModelConfig& config, const WeightSource& weights, const EngineOptions& options) {
  auto decoder = Decoder::Create(config, options);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  const absl::Status loaded = (*decoder)->LoadWeights(weights);
  EXPECT_TRUE(loaded.ok()) << loaded;
  return std::move(decoder).value();
}

std::vector<Generation> GenerateAll(Decoder& decoder, const std::vector<GenerationRequest>& requests) {
  auto generations = decoder.Generate(requests, {}, nullptr);
  EXPECT_TRUE(generations.ok()) << generations.status();
  return generations.ok() ? *std::move(generations) : std::vector<Generation>(requests.size());
}

Reference ReadReference(const std::string& path) {
  Reference reference;
  auto reader = SafetensorsReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return reference;
  const TensorView* ids = (*reader)->Find("input_ids");
  const TensorView* logits = (*reader)->Find("logits");
  std::vector<int64_t> wide(ids->NumElements());
  std::memcpy(wide.data(), ids->data.data(), ids->data.size());
  reference.ids.assign(wide.begin(), wide.end());
  reference.logits.resize(logits->NumElements());
  std::memcpy(reference.logits.data(), logits->data.data(), logits->data.size());
  if (const TensorView* difference = (*reader)->Find("bf16_difference")) {
    std::memcpy(&reference.bf16_difference, difference->data.data(), sizeof(float));
  }
  return reference;
}

double MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
  }
  return worst;
}

}  // namespace merganser
