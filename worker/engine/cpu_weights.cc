#include "worker/engine/cpu_weights.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/weight_layout.h"

namespace merganser {
namespace {

int RoundUp(int64_t n, int to) { return static_cast<int>((n + to - 1) / to * to); }

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fffu) << 13;
  if ((half & 0x7c00u) == 0x7c00u) return std::bit_cast<float>(sign | magnitude | 0x7f800000u);
  // Multiplying by 2^112 moves the exponent's bias and also makes subnormal halves normal.
  const float scaled = std::bit_cast<float>(magnitude) * std::bit_cast<float>(0x77800000u);
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

template <typename T>
T ReadAs(const std::byte* p) {
  T value;  // the source may be misaligned
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// Elements [begin, begin + n) of `view` as fp32.
void Convert(const WeightView& view, int64_t begin, int64_t n, float* out) {
  const std::byte* p = view.data + begin * SizeOf(view.dtype);
  switch (view.dtype) {
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) {
        out[i] = std::bit_cast<float>(static_cast<uint32_t>(ReadAs<uint16_t>(p + 2 * i)) << 16);
      }
      return;
    case DType::kF16:
      for (int64_t i = 0; i < n; ++i) out[i] = HalfToFloat(ReadAs<uint16_t>(p + 2 * i));
      return;
    case DType::kF64:
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(ReadAs<double>(p + 8 * i));
      return;
    default:
      std::memcpy(out, p, n * sizeof(float));
  }
}

// A row of a weight matrix that becomes an output column; no view: a column of zeros.
struct Row {
  const WeightView* view = nullptr;
  int64_t index = 0;
};

// bf16 to bf16 without a detour, everything else to fp32.
void Take(const WeightView& view, int64_t begin, int64_t n, float* out) { Convert(view, begin, n, out); }
void Take(const WeightView& view, int64_t begin, int64_t n, uint16_t* out) {
  std::memcpy(out, view.data + begin * 2, n * sizeof(uint16_t));
}

// To the nearest, ties to even.
uint16_t ToBf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Anything to bf16.
void TakeRounded(const WeightView& view, int64_t begin, int64_t n, std::vector<float>& scratch, uint16_t* out) {
  if (view.dtype == DType::kBF16) return Take(view, begin, n, out);
  scratch.resize(n);
  Convert(view, begin, n, scratch.data());
  for (int64_t i = 0; i < n; ++i) out[i] = ToBf16(scratch[i]);
}

}  // namespace

struct CpuWeights::Pack {
  PackedLinear to;
  std::function<Row(int column)> row;
  std::function<Row(int column)> bias_row;  // an element of a vector
  // Columns of the source come in groups of `group` that are spread to multiples of `group_stride`
  // (padded heads).
  int group;
  int group_stride;

  // The panel as pairs: values of k side by side.
  void PairPanel(int panel, std::vector<float>& scratch) const {
    const int source_k = to.k / group_stride * group;
    std::vector<uint16_t> row_values(source_k);
    uint16_t* out = static_cast<uint16_t*>(const_cast<void*>(to.At(panel)));
    for (int c = 0; c < kPanel; ++c) {
      const Row from = row(panel * kPanel + c);
      if (from.view == nullptr) continue;
      TakeRounded(*from.view, from.index * source_k, source_k, scratch, row_values.data());
      for (int i = 0; i < source_k; ++i) {
        const int64_t k = static_cast<int64_t>(i / group) * group_stride + i % group;
        out[(k / 2 * kPanel + c) * 2 + k % 2] = row_values[i];
      }
      CopyBias(panel, c);
    }
  }

  void CopyBias(int panel, int c) const {
    if (to.bias == nullptr) return;
    const Row bias = bias_row(panel * kPanel + c);
    Convert(*bias.view, bias.index, 1, const_cast<float*>(to.bias) + panel * kPanel + c);
  }

  template <typename T>
  void Panel(int panel, std::vector<float>& scratch) const {
    const int source_k = to.k / group_stride * group;
    scratch.resize(source_k);
    T* const row_values = reinterpret_cast<T*>(scratch.data());
    T* out = static_cast<T*>(const_cast<void*>(to.weight)) + static_cast<int64_t>(panel) * to.k * kPanel;
    for (int c = 0; c < kPanel; ++c) {
      const Row from = row(panel * kPanel + c);
      if (from.view == nullptr) continue;  // the memory started as zeros and padding is never written
      Take(*from.view, from.index * source_k, source_k, row_values);
      for (int g = 0; g * group < source_k; ++g) {
        T* column = out + static_cast<int64_t>(g) * group_stride * kPanel + c;
        const T* values = row_values + g * group;
        for (int i = 0; i < group; ++i) column[static_cast<int64_t>(i) * kPanel] = values[i];
      }
      CopyBias(panel, c);
    }
  }
};

CpuGeometry::CpuGeometry(const ModelConfig& config)
    : hidden(static_cast<int>(config.hidden_size)),
      inner(static_cast<int>(config.intermediate_size)),
      heads(static_cast<int>(config.num_heads)),
      kv_heads(static_cast<int>(config.num_kv_heads)),
      head_dim(static_cast<int>(config.head_dim)),
      vocab(static_cast<int>(config.vocab_size)),
      head_stride(RoundUp(head_dim, kLane)),
      hidden_stride(RoundUp(hidden, kPanel)),
      qkv_stride(RoundUp((heads + 2 * kv_heads) * head_stride, kPanel)),
      attention_stride(RoundUp(heads * head_stride, kPanel)),
      inner_stride(RoundUp(inner, kLane)),
      vocab_panels(RoundUp(vocab, kPanel) / kPanel) {}

void CpuWeights::Place(const ModelConfig& config, const CpuGeometry& g, int num_layers, std::byte* base, int64_t* bytes) {
  int64_t used = 0;
  const auto take = [&](int64_t n) -> const std::byte* {
    const int64_t at = used;
    used += (n + 127) / 128 * 128;
    return base == nullptr ? nullptr : base + at;
  };
  const auto floats = [&](int64_t n) {
    return reinterpret_cast<const float*>(take(n * static_cast<int64_t>(sizeof(float))));
  };
  const auto linear = [&](int64_t columns, int k, bool bias) {
    PackedLinear packed;
    packed.type = type_;
    packed.k = k;
    packed.panels = RoundUp(columns, kPanel) / kPanel;
    packed.weight = take(packed.panels * packed.PanelBytes());
    if (bias) packed.bias = floats(packed.panels * kPanel);
    return packed;
  };
  hidden_stride_ = g.hidden_stride;
  embedding_ = take(static_cast<int64_t>(g.vocab) * g.hidden_stride * (wide_embedding_ ? 4 : 2));
  layers_.resize(num_layers);
  for (Layer& layer : layers_) {
    layer.input_norm = floats(g.hidden_stride);
    layer.post_norm = floats(g.hidden_stride);
    if (config.output_norms) {
      layer.pre_mlp_norm = floats(g.hidden_stride);
      layer.post_mlp_norm = floats(g.hidden_stride);
    }
    if (config.qk_norm) {
      layer.q_norm = floats(g.head_stride);
      layer.k_norm = floats(g.head_stride);
    }
    layer.qkv = linear(g.qkv_stride, g.hidden, config.attention_bias);
    layer.o = linear(g.hidden_stride, g.heads * g.head_stride, config.attention_output_bias);
    layer.gate_up = linear(2 * g.inner_stride, g.hidden, config.mlp_bias);
    layer.down = linear(g.hidden_stride, g.inner, config.mlp_bias);
  }
  final_norm_ = floats(g.hidden_stride);
  head_ = linear(g.vocab, g.hidden, false);
  *bytes = used;
}

absl::Status CpuWeights::Reset(const ModelConfig& config, const WeightSource& source, int num_layers) {
  loaded_ = {};
  constant_id_ = source.constant_id();
  // One type for all matrices of a source.
  WeightType type = WeightType::kBf16;
  ModelConfig all_layers = config;
  all_layers.num_layers = num_layers;
  for (const TensorSpec& spec : WeightLayout(all_layers)) {
    const absl::StatusOr<WeightView> view = source.Find(spec.name);
    const bool matrix = spec.shape.size() == 2;
    if (matrix && view.ok() && view->dtype != DType::kBF16) type = WeightType::kFp32;
  }
  const bool wide_embedding = type == WeightType::kFp32;
  if (pairs_) type = WeightType::kBf16Pairs;
  const CpuGeometry g(config);
  if (memory_.data() == nullptr || type != type_ || wide_embedding != wide_embedding_ ||
      num_layers != static_cast<int>(layers_.size())) {
    type_ = type;
    wide_embedding_ = wide_embedding;
    int64_t bytes = 0;
    Place(config, g, num_layers, nullptr, &bytes);
    memory_ = {};
    MG_ASSIGN_OR_RETURN(memory_, ZeroedMemory::Allocate((bytes + 3) / 4));
    Place(config, g, num_layers, reinterpret_cast<std::byte*>(memory_.data()), &bytes);
  }
  return absl::OkStatus();
}

absl::Status CpuWeights::Load(const ModelConfig& config, const WeightSource& source, int num_layers,
                              const WeightsWanted& wanted, ThreadTeam& team) {
  const CpuGeometry g(config);
  if (constant_id_ == 0 || constant_id_ != source.constant_id()) {
    MG_RETURN_IF_ERROR(Reset(config, source, num_layers));
  }
  // Everything is looked up and checked before anything is written. Views stay where they are.
  std::vector<std::unique_ptr<WeightView>> views;
  const auto find = [&](const std::string& name, std::vector<int64_t> shape) -> absl::StatusOr<const WeightView*> {
    MG_ASSIGN_OR_RETURN(WeightView view, FindWeight(source, name, shape));
    views.push_back(std::make_unique<WeightView>(std::move(view)));
    return views.back().get();
  };
  std::vector<Pack> packs;
  std::vector<std::pair<const WeightView*, const float*>> norms;
  const auto plain = [](const WeightView* view, int rows) {
    return [view, rows](int c) { return c < rows ? Row{view, c} : Row{}; };
  };
  const int64_t q_rows = int64_t{g.heads} * g.head_dim;
  const int64_t kv_rows = int64_t{g.kv_heads} * g.head_dim;

  for (const int i : wanted.layers) {
    if (loaded_.layers.count(i) > 0) continue;
    Layer& layer = layers_[i];
    const auto vector = [&](absl::string_view name, int64_t size, const float* to) -> absl::Status {
      MG_ASSIGN_OR_RETURN(const WeightView* view, find(LayerTensorName(i, name), {size}));
      norms.emplace_back(view, to);
      return absl::OkStatus();
    };
    const auto matrices =
        [&](const std::vector<std::string>& modules, const std::vector<int64_t>& rows, int64_t columns,
            bool bias) -> absl::StatusOr<std::pair<std::vector<const WeightView*>, std::vector<const WeightView*>>> {
      std::vector<const WeightView*> weights, biases;
      for (size_t m = 0; m < modules.size(); ++m) {
        MG_ASSIGN_OR_RETURN(const WeightView* weight,
                            find(LayerTensorName(i, absl::StrCat(modules[m], ".weight")), {rows[m], columns}));
        weights.push_back(weight);
        if (!bias) continue;
        MG_ASSIGN_OR_RETURN(const WeightView* b, find(LayerTensorName(i, absl::StrCat(modules[m], ".bias")), {rows[m]}));
        biases.push_back(b);
      }
      if (!bias) biases.assign(modules.size(), nullptr);
      return std::pair(std::move(weights), std::move(biases));
    };
    MG_RETURN_IF_ERROR(vector("input_layernorm.weight", g.hidden, layer.input_norm));
    MG_RETURN_IF_ERROR(vector("post_attention_layernorm.weight", g.hidden, layer.post_norm));
    if (config.output_norms) {
      MG_RETURN_IF_ERROR(vector("pre_feedforward_layernorm.weight", g.hidden, layer.pre_mlp_norm));
      MG_RETURN_IF_ERROR(vector("post_feedforward_layernorm.weight", g.hidden, layer.post_mlp_norm));
    }
    if (config.qk_norm) {
      MG_RETURN_IF_ERROR(vector("self_attn.q_norm.weight", g.head_dim, layer.q_norm));
      MG_RETURN_IF_ERROR(vector("self_attn.k_norm.weight", g.head_dim, layer.k_norm));
    }
    MG_ASSIGN_OR_RETURN(const auto qkv, matrices({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                                                 {q_rows, kv_rows, kv_rows}, g.hidden, config.attention_bias));
    const auto head_row = [g](const std::vector<const WeightView*>& from) {
      return [g, from](int c) {
        const int head = c / g.head_stride;
        const int d = c % g.head_stride;
        if (d >= g.head_dim || head >= g.heads + 2 * g.kv_heads) return Row{};
        if (head < g.heads) return Row{from[0], head * int64_t{g.head_dim} + d};
        const int kv = (head - g.heads) % g.kv_heads;
        return Row{from[head < g.heads + g.kv_heads ? 1 : 2], kv * int64_t{g.head_dim} + d};
      };
    };
    packs.push_back({layer.qkv, head_row(qkv.first), head_row(qkv.second), g.hidden, g.hidden});
    MG_ASSIGN_OR_RETURN(const auto o, matrices({"self_attn.o_proj"}, {g.hidden}, q_rows, config.attention_output_bias));
    packs.push_back({layer.o, plain(o.first[0], g.hidden), plain(o.second[0], g.hidden), g.head_dim, g.head_stride});
    MG_ASSIGN_OR_RETURN(const auto gate_up,
                        matrices({"mlp.gate_proj", "mlp.up_proj"}, {g.inner, g.inner}, g.hidden, config.mlp_bias));
    const auto inner_row = [g](const std::vector<const WeightView*>& from) {
      return [g, from](int c) {
        const int unit = c / kPanel * kLane + c % kLane;
        return unit < g.inner ? Row{from[c % kPanel < kLane ? 0 : 1], unit} : Row{};
      };
    };
    packs.push_back({layer.gate_up, inner_row(gate_up.first), inner_row(gate_up.second), g.hidden, g.hidden});
    MG_ASSIGN_OR_RETURN(const auto down, matrices({"mlp.down_proj"}, {g.hidden}, g.inner, config.mlp_bias));
    packs.push_back({layer.down, plain(down.first[0], g.hidden), plain(down.second[0], g.hidden), g.inner, g.inner});
  }
  const WeightView* embedding = nullptr;
  const bool copy_embedding = wanted.embedding && !loaded_.embedding;
  const bool pack_head = wanted.head && !loaded_.head;
  if (copy_embedding || (pack_head && config.tie_word_embeddings)) {
    MG_ASSIGN_OR_RETURN(embedding, find("model.embed_tokens.weight", {g.vocab, g.hidden}));
  }
  if (pack_head) {
    MG_ASSIGN_OR_RETURN(const WeightView* norm, find("model.norm.weight", {g.hidden}));
    norms.emplace_back(norm, final_norm_);
    const WeightView* head = embedding;
    if (!config.tie_word_embeddings) {
      MG_ASSIGN_OR_RETURN(head, find("lm_head.weight", {g.vocab, g.hidden}));
    }
    packs.push_back({head_, plain(head, g.vocab), nullptr, g.hidden, g.hidden});
  }

  for (const auto& [view, to] : norms) {
    float* out = const_cast<float*>(to);
    Convert(*view, 0, view->shape[0], out);
    if (!config.norm_adds_one) continue;
    for (int64_t i = 0; i < view->shape[0]; ++i) out[i] += 1.0f;
  }
  // One index space over the embedding's rows (in panels of rows) and all panels of all matrices.
  std::vector<int64_t> first_panel{0};
  for (const Pack& pack : packs) first_panel.push_back(first_panel.back() + pack.to.panels);
  std::vector<std::vector<float>> scratch(team.size());
  team.For(first_panel.back() + (copy_embedding ? g.vocab_panels : 0), [&](int64_t index, int member) {
    if (index >= first_panel.back()) {
      const int64_t begin = (index - first_panel.back()) * kPanel;
      for (int64_t row = begin; row < std::min<int64_t>(begin + kPanel, g.vocab); ++row) {
        const int64_t at = row * g.hidden_stride;
        if (!wide_embedding_) {
          Take(*embedding, row * g.hidden, g.hidden, static_cast<uint16_t*>(const_cast<void*>(embedding_)) + at);
        } else {
          Take(*embedding, row * g.hidden, g.hidden, static_cast<float*>(const_cast<void*>(embedding_)) + at);
        }
      }
      return;
    }
    const auto after = std::upper_bound(first_panel.begin(), first_panel.end(), index);
    const size_t pack = after - first_panel.begin() - 1;
    const int panel = static_cast<int>(index - first_panel[pack]);
    if (type_ == WeightType::kBf16Pairs) {
      packs[pack].PairPanel(panel, scratch[member]);
    } else if (type_ == WeightType::kBf16) {
      packs[pack].Panel<uint16_t>(panel, scratch[member]);
    } else {
      packs[pack].Panel<float>(panel, scratch[member]);
    }
  });
  loaded_.layers.insert(wanted.layers.begin(), wanted.layers.end());
  loaded_.embedding = loaded_.embedding || wanted.embedding;
  loaded_.head = loaded_.head || wanted.head;
  return absl::OkStatus();
}

void CpuWeights::CopyEmbedding(int64_t token, float* out) const {
  if (wide_embedding_) {
    std::memcpy(out, static_cast<const float*>(embedding_) + token * hidden_stride_, hidden_stride_ * sizeof(float));
    return;
  }
  const uint16_t* row = static_cast<const uint16_t*>(embedding_) + token * hidden_stride_;
  for (int i = 0; i < hidden_stride_; ++i) {
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(row[i]) << 16);
  }
}

int64_t CpuWeights::LayerBytes() const {
  const Layer& layer = layers_.front();
  int64_t bytes = 0;
  for (const PackedLinear* m : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) bytes += m->panels * m->PanelBytes();
  return bytes;
}

}  // namespace merganser
