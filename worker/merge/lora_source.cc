#include "worker/merge/lora_source.h"

#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/lora_config.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/rank_product.h"
#include "worker/merge/thread_pool.h"

namespace merganser {
namespace {

// The two matrices of one module. For embeddings PEFT stores A as [rank, rows] and B as [width, rank],
// and what is added is their product's transpose.
struct Pair {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
  bool embedding = false;
};

std::vector<float> AsFloats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.NumElements()));
  LoadBlock({view.dtype, view.data.data(), view.NumElements()}, 0, view.NumElements(), values.data());
  return values;
}

// [columns, rows] of a [rows, columns] matrix.
std::vector<float> Transposed(const std::vector<float>& values, int64_t rows, int64_t columns) {
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) out[j * rows + i] = values[i * columns + j];
  }
  return out;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TensorSource>> LoraSource(std::shared_ptr<const TensorSource> model,
                                                               const std::string& adapter_dir, int threads) {
  const std::string config_path = adapter_dir + "/adapter_config.json";
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, int64_t{16} << 20));
  MG_ASSIGN_OR_RETURN(const LoraConfig config, LoraConfig::Parse(text, config_path));
  MG_ASSIGN_OR_RETURN(const std::shared_ptr<const WeightFiles> files, WeightFiles::Open(adapter_dir, "adapter_model"));
  auto adapted = std::make_shared<DerivedSource>(model, absl::StrCat(model->label(), "+", adapter_dir));
  std::map<std::string, Pair> pairs;
  std::map<std::string, TensorView> replacements;  // by the model's name; `files` keeps their bytes
  for (const TensorView& tensor : files->tensors()) {
    const auto bad = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", files->FileOf(tensor.name), "': tensor '", Printable(tensor.name), "' ", what));
    };
    if (!IsMergeable(tensor.dtype)) return bad(absl::StrCat("has type ", Name(tensor.dtype)));
    absl::string_view name = tensor.name;
    absl::ConsumePrefix(&name, "base_model.model.");
    const auto ends = [&](absl::string_view suffix) { return absl::ConsumeSuffix(&name, suffix); };
    if (ends(".lora_A.weight")) {
      pairs[std::string(name)].a = &tensor;
    } else if (ends(".lora_B.weight")) {
      pairs[std::string(name)].b = &tensor;
    } else if (ends(".lora_embedding_A")) {
      pairs[std::string(name)].a = &tensor;
      pairs[std::string(name)].embedding = true;
    } else if (ends(".lora_embedding_B")) {
      pairs[std::string(name)].b = &tensor;
      pairs[std::string(name)].embedding = true;
    } else {
      // A module that was trained whole; or, beside its matrices, the one that they were trained on: PEFT writes embeddings
      // so.
      std::string whole(name);
      if (ends(".base_layer.weight")) whole = absl::StrCat(name, ".weight");
      const TensorHeader* replaced = model->Find(whole);
      if (replaced == nullptr) return bad(absl::StrCat("has no place in '", model->label(), "'"));
      if (replaced->shape != tensor.shape) {
        return bad(absl::StrCat("has shape ", ShapeText(tensor.shape), "; the model's is ", ShapeText(replaced->shape)));
      }
      TensorView view = tensor;
      view.name = whole;
      replacements[whole] = view;
      adapted->Replace(
          {view.name, view.dtype, view.shape},
          [view, files] {
            return LoadedTensor{view, files};
          },
          0);
    }
  }
  if (pairs.empty()) return absl::InvalidArgumentError(absl::StrCat("'", adapter_dir, "' adapts no tensor"));
  for (const auto& [module, pair] : pairs) {
    const std::string name = module + ".weight";
    const auto bad = [&, module = module](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("'", adapter_dir, "': module '", Printable(module), "' ", what));
    };
    if (pair.a == nullptr || pair.b == nullptr) return bad("has one of its two matrices only");
    const TensorHeader* header = model->Find(name);
    if (header == nullptr) return bad(absl::StrCat("has no place in '", model->label(), "': no tensor '", name, "'"));
    const bool two = header->shape.size() == 2 && pair.a->shape.size() == 2 && pair.b->shape.size() == 2;
    const bool transposed = config.fan_in_fan_out || pair.embedding;
    const int64_t rank = two ? pair.a->shape[0] : 0;
    if (!two || rank < 1 || pair.b->shape[1] != rank || pair.a->shape[1] != header->shape[transposed ? 0 : 1] ||
        pair.b->shape[0] != header->shape[transposed ? 1 : 0]) {
      return bad(absl::StrCat("has matrices of shape ", ShapeText(pair.a->shape), " and ", ShapeText(pair.b->shape), "; '",
                              name, "' is ", ShapeText(header->shape)));
    }
    if (const int64_t said = config.RankOf(module); said != 0 && said != rank) {
      return bad(absl::StrCat("has matrices of rank ", rank, ", and adapter_config.json says ", said,
                              ": the scale lora_alpha / r is not known"));
    }
    const auto scale = static_cast<float>(config.Scale(module, rank));
    TensorHeader out{name, DType::kF32, header->shape};
    const auto trained_on = replacements.find(name);
    const bool replaced = trained_on != replacements.end();
    const TensorView replacement = replaced ? trained_on->second : TensorView{};
    // `files` keeps what the pair points into.
    adapted->Replace(
        out,
        [=, pair = pair]() -> absl::StatusOr<LoadedTensor> {
          LoadedTensor original{replacement, files};
          if (!replaced) {
            MG_ASSIGN_OR_RETURN(original, model->Load(name));
          }
          const int64_t count = original.view.NumElements();
          const auto buffer = NewBuffer(count * 4);
          auto* weights = reinterpret_cast<float*>(buffer.get());
          LoadBlock({original.view.dtype, original.view.data.data(), count}, 0, count, weights);
          const std::vector<float> a = AsFloats(*pair.a), b = AsFloats(*pair.b);
          const int64_t rows = out.shape[0], columns = out.shape[1];
          ThreadPool pool(threads);
          if (transposed) {  // (B A)^T = A^T B^T
            const std::vector<float> left = Transposed(a, rank, rows), right = Transposed(b, columns, rank);
            AddRankProduct(left.data(), right.data(), rows, rank, columns, scale, weights, pool);
          } else {
            AddRankProduct(b.data(), a.data(), rows, rank, columns, scale, weights, pool);
          }
          return LoadedTensor{{name, DType::kF32, out.shape, {buffer.get(), static_cast<size_t>(count * 4)}}, buffer};
        },
        out.NumBytes() + model->BufferBytes(name));
  }
  return std::shared_ptr<const TensorSource>(std::move(adapted));
}

}  // namespace merganser
