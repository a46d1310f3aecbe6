// One vocabulary for models whose tokenizers differ: which row of which model stands for each token.
#ifndef MERGANSER_WORKER_MERGE_VOCABULARY_H_
#define MERGANSER_WORKER_MERGE_VOCABULARY_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/tokenizer_vocabulary.h"
#include "worker/merge/tensor_source.h"

namespace merganser {

// Where one row of one model's rearranged matrix comes from.
struct RowOrigin {
  enum class Kind { kRow, kMeanOfOwners, kMeanOfOwn, kZero };
  Kind kind = Kind::kZero;
  int model = -1;  // kRow
  int row = -1;    // kRow
  bool operator==(const RowOrigin&) const = default;
};

// The merged vocabulary of `models`, numbered in the order of their names.
class MergedVocabulary {
 public:
  // `vocabularies` and `rows` (rows of the embedding) of each model. `first`: the model whose tokens a union begins with.
  // `base`: the model whose row stands in where several models know a token, unless a rule without a token names another;
  // "": none, so that the mean of their rows does. A rule that has a row makes its token.
  // InvalidArgument: a source that is neither "union" nor a model, a rule for a token that neither the
  // vocabulary nor its model has, or with a model or token that does not exist (with the nearest name).
  static absl::StatusOr<MergedVocabulary> Create(const TokenizerSpec& spec, const std::string& first,
                                                 const std::string& base,
                                                 const std::map<std::string, TokenizerVocabulary>& vocabularies,
                                                 const std::map<std::string, int64_t>& rows);

  // Rows of the merged matrices: tokens, rounded up to pad_to_multiple_of; without that as many as the model that gave the
  // tokenizer has, if those are more. What lies behind the tokens is padding: the model's own row of that number where it
  // is padding there too, else the mean of its tokens' rows.
  int64_t rows() const { return rows_; }
  // Those of them that stand for tokens.
  int64_t tokens() const { return static_cast<int64_t>(owners_.size()); }
  // The merged tokenizer.json.
  const std::string& tokenizer_json() const { return tokenizer_json_; }
  // Row by row, what model number `model` has there.
  std::vector<RowOrigin> OriginsOf(int model) const;
  // Models that know the token with merged id `id`, and their rows.
  struct Owner {
    int model;
    int row;
  };
  const std::vector<Owner>& owners(int id) const { return owners_[id]; }

  const std::vector<std::string>& models() const { return models_; }

 private:
  MergedVocabulary() = default;

  std::vector<std::string> models_;
  int base_ = -1;  // whose rows stand in; -1: nobody's
  int64_t rows_ = 0;
  struct Padding {  // rows [first, end) of a model's own matrix
    int64_t first;
    int64_t end;
  };
  std::vector<Padding> padding_;  // by model
  std::string tokenizer_json_;
  std::vector<std::vector<Owner>> owners_;  // by merged id
  struct Rule {
    RowOrigin origin;
    bool force = false;
  };
  std::map<int, Rule> rules_;  // by merged id
};

// The models (by name, as in `vocabulary`) with the matrices called `tensors` rearranged to the merged
// rows, each in its model's type. A mean is computed in fp32.
std::map<std::string, std::shared_ptr<const TensorSource>> WithVocabulary(
    const std::map<std::string, std::shared_ptr<const TensorSource>>& models,
    std::shared_ptr<const MergedVocabulary> vocabulary, const std::vector<std::string>& tensors);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_VOCABULARY_H_
