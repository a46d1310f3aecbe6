// A recipe: the complete, self-contained description of one merged model (DESIGN.md "Recipe"). Two equal recipes give the
// same weights, bit for bit, on one CPU type.
#ifndef MERGANSER_COMMON_DOMAIN_RECIPE_H_
#define MERGANSER_COMMON_DOMAIN_RECIPE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// A source checkpoint under the name that stacks use for it.
struct ModelRef {
  std::string name;
  std::string path;  // a directory, or a Hub id "org/name[@revision]"
  bool operator==(const ModelRef&) const = default;
};

// Which part of a model a tensor belongs to. The names are those of YAML: "embedding", "layers", "norm", "head".
enum class ModelPart { kEmbedding, kLayers, kNorm, kHead };

// A group of tensors. A tensor belongs when every given condition holds: its part is listed (no parts: any), its layer lies
// in [first_layer, end_layer) (end_layer -1: no bound; only tensors of layers are asked), and its name contains `filter`
// ("": any).
struct TensorGroup {
  std::string name;  // for people: "embed", "layer.3", "layers.4-7", "self_attn", "out"
  std::vector<ModelPart> parts;
  int first_layer = 0;
  int end_layer = -1;
  std::string filter;
  bool operator==(const TensorGroup&) const = default;
};

// True if the tensor called `tensor_name`, of `part` and (for kLayers) of layer `layer`, belongs to `group`.
bool Belongs(const TensorGroup& group, ModelPart part, int layer, absl::string_view tensor_name);

// "embedding", "layers", "norm", "head".
absl::string_view ModelPartName(ModelPart part);

// A merge method's parameters for one group of tensors.
struct GroupSettings {
  TensorGroup group;
  // One map per entry of Stack::sources, in its order: {"weight": 0.7, "density": 0.5}. A missing key means the method's
  // default.
  std::vector<std::map<std::string, double>> source_parameters;
  // Parameters of the method as a whole: {"lambda": 1.0, "normalize": 0}.
  std::map<std::string, double> parameters;
  bool operator==(const GroupSettings&) const = default;
};

// How a merge computes. kFp32: in fp32, rounded once. kMergekit: as mergekit 0.1.5 does with `dtype` set to the recipe's:
// values are cast to that type first, most methods round every operation to it, and random masks are those of
// torch.manual_seed(mask_seed).
enum class Arithmetic { kFp32, kMergekit };

// A source checkpoint as it is (method ""; `sources` holds its one name), or a merge of checkpoints.
struct Stack {
  std::string name;
  std::string method;                // one of AllMethodSpecs() (merge_method_spec.h)
  std::string base;                  // name of a ModelRef; "" where the method takes none
  std::vector<std::string> sources;  // names of ModelRefs; the base is not among them
  std::vector<GroupSettings> settings;  // for each tensor the first group that it belongs to
  Arithmetic arithmetic = Arithmetic::kFp32;
  bool operator==(const Stack&) const = default;
};

// One step of a model's forward path: layer `layer` of stack `stack`. `scale` multiplies the previous hop's MLP output
// before it joins the residual stream (hop 0: the embedding).
struct Hop {
  int stack = 0;
  int layer = 0;
  double scale = 1.0;
  bool operator==(const Hop&) const = default;
};

struct Recipe {
  std::vector<ModelRef> models;
  std::vector<Stack> stacks;
  std::vector<Hop> path;        // empty: the layers of stacks[0] in order, all scales 1
  std::string tokenizer_from;   // name of the model whose tokenizer, config and chat template the merge takes
  std::string dtype = "bfloat16";  // storage type of the merged weights: "bfloat16", "float16" or "float32"
  uint64_t mask_seed = 0;       // seed of random masks (DARE); the same for all candidates of a job
  bool operator==(const Recipe&) const = default;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_RECIPE_H_
