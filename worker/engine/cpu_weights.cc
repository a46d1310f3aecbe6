#include "worker/engine/cpu_weights.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <string>

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

struct PackJob {
  float* weight;
  float* bias;  // may be null
  int k;        // columns of the packed matrix
  int panels;
  std::function<Row(int column)> row;
  std::function<Row(int column)> bias_row;  // an element of a vector
  // Columns of the source come in groups of `group` that are spread to multiples of `group_stride`
  // (padded heads).
  int group;
  int group_stride;
};

void PackPanel(const PackJob& job, int panel, std::vector<float>& scratch) {
  const int source_k = job.k / job.group_stride * job.group;
  scratch.resize(source_k);
  float* out = job.weight + static_cast<int64_t>(panel) * job.k * kPanel;
  for (int c = 0; c < kPanel; ++c) {
    const Row row = job.row(panel * kPanel + c);
    if (row.view == nullptr) continue;  // the memory started as zeros and padding is never written
    Convert(*row.view, row.index * source_k, source_k, scratch.data());
    for (int g = 0; g * job.group < source_k; ++g) {
      float* to = out + static_cast<int64_t>(g) * job.group_stride * kPanel + c;
      const float* from = scratch.data() + g * job.group;
      for (int i = 0; i < job.group; ++i) to[static_cast<int64_t>(i) * kPanel] = from[i];
    }
    if (job.bias != nullptr) {
      const Row bias = job.bias_row(panel * kPanel + c);
      Convert(*bias.view, bias.index, 1, job.bias + panel * kPanel + c);
    }
  }
}

}  // namespace

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

absl::Status CpuWeights::Load(const ModelConfig& config, const WeightSource& source,
                              ThreadTeam& team) {
  const CpuGeometry g(config);
  // Two passes over the same code: the first, with no memory, adds up the sizes; the second hands
  // out the places.
  const auto place = [&](float* base, std::vector<Layer>& layers) -> int64_t {
    int64_t used = 0;
    const auto take = [&](int64_t floats) -> const float* {
      const int64_t at = used;
      used += (floats + kPanel - 1) / kPanel * kPanel;
      return base == nullptr ? nullptr : base + at;
    };
    const auto linear = [&](int64_t columns, int k, bool bias) {
      PackedLinear packed;
      packed.k = k;
      packed.panels = RoundUp(columns, kPanel) / kPanel;
      packed.weight = take(static_cast<int64_t>(packed.panels) * kPanel * k);
      if (bias) packed.bias = take(packed.panels * kPanel);
      return packed;
    };
    embedding_ = take(static_cast<int64_t>(g.vocab) * g.hidden_stride);
    layers.resize(config.num_layers);
    for (Layer& layer : layers) {
      layer.input_norm = take(g.hidden_stride);
      layer.post_norm = take(g.hidden_stride);
      layer.qkv = linear(g.qkv_stride, g.hidden, config.attention_bias);
      layer.o = linear(g.hidden_stride, g.heads * g.head_stride, config.attention_bias);
      layer.gate_up = linear(2 * g.inner_stride, g.hidden, config.mlp_bias);
      layer.down = linear(g.hidden_stride, g.inner, config.mlp_bias);
    }
    final_norm_ = take(g.hidden_stride);
    head_ = linear(g.vocab, g.hidden, false);
    return used;
  };
  if (memory_.data() == nullptr) {
    MG_ASSIGN_OR_RETURN(memory_, ZeroedMemory::Allocate(place(nullptr, layers_)));
  }
  place(memory_.data(), layers_);

  // Everything is looked up and checked before anything is written.
  const std::vector<TensorSpec> layout = WeightLayout(config);
  std::vector<WeightView> views;
  views.reserve(layout.size());
  for (const TensorSpec& spec : layout) {
    MG_ASSIGN_OR_RETURN(WeightView view, FindWeight(source, spec.name, spec.shape));
    views.push_back(std::move(view));
  }
  size_t next_view = 0;
  const auto next = [&](bool present = true) { return present ? &views[next_view++] : nullptr; };

  std::vector<PackJob> jobs;
  const auto writable = [](const float* p) { return const_cast<float*>(p); };
  const auto add = [&](const PackedLinear& packed, int group, int group_stride,
                       std::function<Row(int)> row, std::function<Row(int)> bias_row) {
    jobs.push_back({writable(packed.weight), writable(packed.bias), packed.k, packed.panels,
                    std::move(row), std::move(bias_row), group, group_stride});
  };
  const auto vector = [&](const WeightView* view, const float* to) {
    Convert(*view, 0, g.hidden, writable(to));
  };
  const auto plain = [](const WeightView* view, int rows) {
    return [view, rows](int c) { return c < rows ? Row{view, c} : Row{}; };
  };

  const WeightView* embedding = next();
  for (Layer& layer : layers_) {
    vector(next(), layer.input_norm);
    const WeightView* qkv[3] = {next(), nullptr, nullptr};
    qkv[1] = next();
    qkv[2] = next();
    const WeightView* qkv_bias[3] = {nullptr, nullptr, nullptr};
    for (auto& bias : qkv_bias) bias = next(config.attention_bias);
    const auto head_row = [g](const WeightView* const views[3]) {
      return [g, q = views[0], k = views[1], v = views[2]](int c) {
        const int head = c / g.head_stride;
        const int d = c % g.head_stride;
        if (d >= g.head_dim || head >= g.heads + 2 * g.kv_heads) return Row{};
        if (head < g.heads) return Row{q, head * int64_t{g.head_dim} + d};
        const int kv = (head - g.heads) % g.kv_heads;
        return Row{head < g.heads + g.kv_heads ? k : v, kv * int64_t{g.head_dim} + d};
      };
    };
    add(layer.qkv, g.hidden, g.hidden, head_row(qkv), head_row(qkv_bias));
    const WeightView* o = next();
    const WeightView* o_bias = next(config.attention_bias);
    add(layer.o, g.head_dim, g.head_stride, plain(o, g.hidden), plain(o_bias, g.hidden));
    vector(next(), layer.post_norm);
    const WeightView* gate = next();
    const WeightView* up = next();
    const WeightView* gate_bias = next(config.mlp_bias);
    const WeightView* up_bias = next(config.mlp_bias);
    const auto inner_row = [g](const WeightView* a, const WeightView* b) {
      return [g, a, b](int c) {
        const int unit = c / kPanel * kLane + c % kLane;
        return unit < g.inner ? Row{c % kPanel < kLane ? a : b, unit} : Row{};
      };
    };
    add(layer.gate_up, g.hidden, g.hidden, inner_row(gate, up), inner_row(gate_bias, up_bias));
    const WeightView* down = next();
    const WeightView* down_bias = next(config.mlp_bias);
    add(layer.down, g.inner, g.inner, plain(down, g.hidden), plain(down_bias, g.hidden));
  }
  vector(next(), final_norm_);
  const WeightView* head = config.tie_word_embeddings ? embedding : next();
  add(head_, g.hidden, g.hidden, plain(head, g.vocab), nullptr);

  // One index space over the embedding's rows (in panels of rows) and all panels of all matrices.
  std::vector<int> first_panel{0};
  for (const PackJob& job : jobs) first_panel.push_back(first_panel.back() + job.panels);
  std::vector<std::vector<float>> scratch(team.size());
  team.For(first_panel.back() + g.vocab_panels, [&](int64_t index, int member) {
    if (index >= first_panel.back()) {
      const int64_t begin = (index - first_panel.back()) * kPanel;
      for (int64_t row = begin; row < std::min<int64_t>(begin + kPanel, g.vocab); ++row) {
        Convert(*embedding, row * g.hidden, g.hidden, writable(embedding_) + row * g.hidden_stride);
      }
      return;
    }
    const auto after = std::upper_bound(first_panel.begin(), first_panel.end(), index);
    const size_t job = after - first_panel.begin() - 1;
    PackPanel(jobs[job], static_cast<int>(index - first_panel[job]), scratch[member]);
  });
  return absl::OkStatus();
}

}  // namespace merganser
