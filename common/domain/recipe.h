// A recipe: the complete, self-contained description of one merged model (docs/recipes.md). Two equal recipes give the
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
  std::string lora;  // a PEFT adapter, by directory or Hub id, that is merged into the weights when they are read; "": none
  // Beginnings of its tensors' names and what stands for them in the merge: {"": "language_model."} fits a language model
  // into a LLaVA. A model with rules is a part of those without, which give config and tokenizer. It may lack tensors whose
  // names begin with none of the replacements: a stack merges them of its other sources, or copies them where there is one.
  // Of a model that sees, what no rule names of vision tower and projector is left out; other names without a rule stay.
  std::map<std::string, std::string> rename;
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
  std::string method;  // one of AllMethodSpecs() (merge_method_spec.h)
  std::string base;    // name of a ModelRef; "" where the method takes none
  // Names of ModelRefs, or of stacks that stand earlier in the recipe (nested merges; those are computed in fp32, with no
  // rounding in between). The base is not among them.
  std::vector<std::string> sources;
  std::vector<GroupSettings> settings;  // for each tensor the first group that it belongs to
  Arithmetic arithmetic = Arithmetic::kFp32;
  // Layer L of this stack is made of layer L + layer_offsets[name] of the source or base `name`; not listed: of layer L.
  std::map<std::string, int> layer_offsets;
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

// Where the embedding row of one token comes from, instead of from whichever models know the token.
struct TokenRule {
  std::string token;        // "": all that several models know and no rule names; then `model` is given, and nothing else
  std::string model;        // name of a ModelRef; "": no row of a model
  std::string model_token;  // the token of `model` whose row it is; "": the one of the same name (or `token_id`)
  int token_id = -1;        // row of `model`; -1: by name
  bool zero = false;        // a row of zeros, instead of a model's
  bool force = false;       // also for models that have the token
  bool operator==(const TokenRule&) const = default;
};

// The merged vocabulary, where the models' tokenizers differ. Rows of embedding and head are rearranged to it before they
// are merged; a token that a model lacks gets the row of its rule, else of the one model that has it, else of the model of
// the rule without a token (unset: the base of stacks[0]) if that has it, else the mean over the models that have it.
struct TokenizerSpec {
  // "": the tokenizer of Recipe::tokenizer_from as it is, and all models must have its vocabulary size; "union": its tokens
  // and then the others'; else the name of a ModelRef: that model's tokens.
  std::string source;
  std::vector<TokenRule> tokens;
  int pad_to_multiple_of = 0;  // rows are added up to a multiple of it; 0: none
  bool operator==(const TokenizerSpec&) const = default;
};

struct Recipe {
  std::vector<ModelRef> models;
  std::vector<Stack> stacks;
  std::vector<Hop> path;           // empty: the layers of stacks[0] in order, all scales 1
  std::string tokenizer_from;      // name of the model whose tokenizer, config and chat template the merge takes
  std::string dtype = "bfloat16";  // storage type of the merged weights: "bfloat16", "float16" or "float32"
  uint64_t mask_seed = 0;          // seed of random masks (DARE); the same for all candidates of a job
  // Names of the stacks that give the embedding, and the final norm and head; "": stacks[0].
  std::string embedding_from;
  std::string head_from;
  // Name of the model whose config.json the merge takes although settings of the forward pass (RoPE, window, norms) differ;
  // of a part of tokenizer_from's: that one's, with the part's settings. "": that of tokenizer_from, and they must be equal.
  std::string config_from;
  // "tied" or "untied": what the merge does where some models tie their head to the embedding and some do not. "": that is
  // an error.
  std::string head;
  // Name of the model whose number of embedding rows the merge has where the models' differ; rows that a model lacks are
  // that model's own. "": that is an error.
  std::string vocabulary_from;
  TokenizerSpec tokenizer;
  // Jinja text, or "auto": the most frequent template of the models; "": that of tokenizer_from.
  std::string chat_template;
  bool operator==(const Recipe&) const = default;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_RECIPE_H_
