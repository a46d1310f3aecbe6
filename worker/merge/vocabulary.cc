#include "worker/merge/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

absl::StatusOr<MergedVocabulary> MergedVocabulary::Create(const TokenizerSpec& spec, const std::string& first_of_union,
                                                          const std::string& base,
                                                          const std::map<std::string, TokenizerVocabulary>& vocabularies,
                                                          const std::map<std::string, int64_t>& rows) {
  MergedVocabulary merged;
  for (const auto& [name, vocabulary] : vocabularies) merged.models_.push_back(name);
  const auto number = [&](const std::string& name) {
    const auto it = std::find(merged.models_.begin(), merged.models_.end(), name);
    return it == merged.models_.end() ? -1 : static_cast<int>(it - merged.models_.begin());
  };
  const std::string& first = spec.source == "union" ? first_of_union : spec.source;
  if (number(first) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.source: no model '", first, "'", DidYouMean(first, merged.models_)));
  }
  merged.base_ = number(base);
  const TokenizerVocabulary& own = vocabularies.at(first);
  std::vector<std::string> tokens = own.tokens, added, entries;
  absl::flat_hash_map<std::string, int> ids = own.ids;
  if (spec.source == "union") {
    for (const auto& [name, vocabulary] : vocabularies) {
      for (const std::string& token : vocabulary.tokens) {
        if (token.empty() || !ids.emplace(token, static_cast<int>(tokens.size())).second) continue;
        tokens.push_back(token);
        added.push_back(token);
        const auto entry = vocabulary.added.find(token);
        entries.push_back(entry == vocabulary.added.end() ? "" : entry->second);
      }
    }
  }
  for (const TokenRule& rule : spec.tokens) {
    if (rule.token.empty()) continue;
    // A rule that has a row for a token which no tokenizer of the merge gives makes it.
    const auto model = vocabularies.find(rule.model);
    const bool theirs = model != vocabularies.end() && model->second.ids.count(rule.token) > 0;
    const bool has_row = rule.zero || rule.token_id >= 0 || !rule.model_token.empty() || theirs;
    if (!has_row || !ids.emplace(rule.token, static_cast<int>(tokens.size())).second) continue;
    tokens.push_back(rule.token);
    added.push_back(rule.token);
    const bool known = theirs && model->second.added.count(rule.token) > 0;
    entries.push_back(known ? model->second.added.at(rule.token) : "");
  }
  MG_ASSIGN_OR_RETURN(merged.tokenizer_json_, TokenizerJsonWith(own, added, entries));
  merged.rows_ = static_cast<int64_t>(tokens.size());
  if (spec.pad_to_multiple_of > 0) {
    const int64_t unit = spec.pad_to_multiple_of;
    merged.rows_ = (merged.rows_ + unit - 1) / unit * unit;
  } else {
    merged.rows_ = std::max(merged.rows_, rows.at(first));
  }
  for (const std::string& name : merged.models_) {
    merged.padding_.push_back({static_cast<int64_t>(vocabularies.at(name).tokens.size()), rows.at(name)});
  }
  merged.owners_.resize(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    for (size_t m = 0; m < merged.models_.size(); ++m) {
      const TokenizerVocabulary& vocabulary = vocabularies.at(merged.models_[m]);
      const auto row = vocabulary.ids.find(tokens[id]);
      // Some tokenizers have more tokens than their model has rows.
      if (tokens[id].empty() || row == vocabulary.ids.end() || row->second >= rows.at(merged.models_[m])) continue;
      merged.owners_[id].push_back({static_cast<int>(m), row->second});
    }
  }
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const TokenRule& rule = spec.tokens[i];
    const std::string field = absl::StrCat("tokenizer.tokens[", i, "]");
    const auto no_model = [&] {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".model: no model '", rule.model, "'", DidYouMean(rule.model, merged.models_)));
    };
    if (rule.token.empty()) {
      merged.base_ = number(rule.model);
      if (merged.base_ < 0) return no_model();
      continue;
    }
    const auto id = ids.find(rule.token);
    if (id == ids.end()) {
      return absl::InvalidArgumentError(absl::StrCat(field, ": the merged tokenizer has no token '", rule.token, "'"));
    }
    Rule& resolved = merged.rules_[id->second];
    resolved.force = rule.force;
    if (rule.zero) continue;
    const int model = number(rule.model);
    if (model < 0) return no_model();
    int row = rule.token_id;
    if (row < 0) {
      const std::string& token = rule.model_token.empty() ? rule.token : rule.model_token;
      const auto& theirs = vocabularies.at(rule.model).ids;
      const auto found = theirs.find(token);
      if (found == theirs.end()) {
        return absl::InvalidArgumentError(absl::StrCat(field, ": model '", rule.model, "' has no token '", token, "'"));
      }
      row = found->second;
    }
    if (row >= rows.at(rule.model)) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": row ", row, " of model '", rule.model, "', which has ", rows.at(rule.model), " rows"));
    }
    resolved.origin = {RowOrigin::Kind::kRow, model, row};
  }
  return merged;
}

std::vector<RowOrigin> MergedVocabulary::OriginsOf(int model) const {
  std::vector<RowOrigin> origins(static_cast<size_t>(rows_), {RowOrigin::Kind::kMeanOfOwn});
  for (int64_t id = std::max(tokens(), padding_[model].first); id < std::min(rows_, padding_[model].end); ++id) {
    origins[static_cast<size_t>(id)] = {RowOrigin::Kind::kRow, model, static_cast<int>(id)};
  }
  for (size_t id = 0; id < owners_.size(); ++id) {
    const std::vector<Owner>& owners = owners_[id];
    const auto of = [&](int wanted) {
      return std::find_if(owners.begin(), owners.end(), [&](const Owner& owner) { return owner.model == wanted; });
    };
    const auto rule = rules_.find(static_cast<int>(id));
    const auto own = of(model), bases = of(base_);
    if (rule != rules_.end() && (rule->second.force || own == owners.end())) {
      origins[id] = rule->second.origin;
    } else if (own != owners.end()) {
      origins[id] = {RowOrigin::Kind::kRow, model, own->row};
    } else if (owners.size() == 1) {
      origins[id] = {RowOrigin::Kind::kRow, owners[0].model, owners[0].row};
    } else if (bases != owners.end()) {
      origins[id] = {RowOrigin::Kind::kRow, base_, bases->row};
    } else {
      origins[id] = {owners.empty() ? RowOrigin::Kind::kZero : RowOrigin::Kind::kMeanOfOwners};
    }
  }
  return origins;
}

namespace {

// Gathers one matrix of one model.
class Gatherer {
 public:
  Gatherer(const std::map<std::string, std::shared_ptr<const TensorSource>>& models,
           std::shared_ptr<const MergedVocabulary> vocabulary, std::string tensor)
      : vocabulary_(std::move(vocabulary)), tensor_(std::move(tensor)) {
    for (const std::string& name : vocabulary_->models()) sources_.push_back(models.at(name));
  }

  absl::StatusOr<LoadedTensor> Load(int model, const TensorHeader& header) const {
    std::vector<LoadedTensor> tensors;
    for (const auto& source : sources_) {
      MG_ASSIGN_OR_RETURN(LoadedTensor tensor, source->Load(tensor_));
      tensors.push_back(std::move(tensor));
    }
    const int64_t width = header.NumBytes() / SizeOf(header.dtype) / std::max<int64_t>(1, vocabulary_->rows());
    const auto read = [&](int from, int64_t row, float* out) {
      const TensorView& view = tensors[from].view;
      LoadBlock({view.dtype, view.data.data(), view.NumElements()}, row * width, width, out);
    };
    const int64_t row_bytes = width * SizeOf(header.dtype);
    const auto buffer = NewBuffer(header.NumBytes());
    const std::vector<RowOrigin> origins = vocabulary_->OriginsOf(model);
    std::vector<float> row(width), sum(width), padding;
    for (size_t id = 0; id < origins.size(); ++id) {
      std::byte* out = buffer.get() + static_cast<int64_t>(id) * row_bytes;
      const RowOrigin& origin = origins[id];
      if (origin.kind == RowOrigin::Kind::kRow && tensors[origin.model].view.dtype == header.dtype) {
        std::memcpy(out, tensors[origin.model].view.data.data() + origin.row * row_bytes, row_bytes);
        continue;
      }
      std::fill(sum.begin(), sum.end(), 0.0f);
      const auto add = [&](int from, int64_t at) {
        read(from, at, row.data());
        for (int64_t j = 0; j < width; ++j) sum[j] += row[j];
      };
      if (origin.kind == RowOrigin::Kind::kRow) {
        add(origin.model, origin.row);
      } else if (origin.kind == RowOrigin::Kind::kMeanOfOwners) {
        const auto& owners = vocabulary_->owners(static_cast<int>(id));
        for (const auto& owner : owners) add(owner.model, owner.row);
        for (float& value : sum) value /= static_cast<float>(owners.size());
      } else if (origin.kind == RowOrigin::Kind::kMeanOfOwn) {
        if (padding.empty()) padding = MeanOfTokens(model, width, read);
        sum = padding;
      }
      StoreBlock(header.dtype, sum.data(), width, out);
    }
    return LoadedTensor{{header.name, header.dtype, header.shape, {buffer.get(), static_cast<size_t>(header.NumBytes())}},
                        buffer};
  }

 private:
  template <typename Read>
  std::vector<float> MeanOfTokens(int model, int64_t width, const Read& read) const {
    std::vector<RowOrigin> origins = vocabulary_->OriginsOf(model);
    origins.resize(static_cast<size_t>(vocabulary_->tokens()));
    std::vector<double> sum(width);
    std::vector<float> row(width);
    const auto add = [&](int from, int64_t at, double share) {
      read(from, at, row.data());
      for (int64_t j = 0; j < width; ++j) sum[j] += share * row[j];
    };
    for (size_t id = 0; id < origins.size(); ++id) {
      if (origins[id].kind == RowOrigin::Kind::kRow) {
        add(origins[id].model, origins[id].row, 1);
      } else if (origins[id].kind == RowOrigin::Kind::kMeanOfOwners) {
        const auto& owners = vocabulary_->owners(static_cast<int>(id));
        for (const auto& owner : owners) add(owner.model, owner.row, 1.0 / static_cast<double>(owners.size()));
      }
    }
    const double count = std::max(1.0, static_cast<double>(origins.size()));
    for (int64_t j = 0; j < width; ++j) row[j] = static_cast<float>(sum[j] / count);
    return row;
  }

  const std::shared_ptr<const MergedVocabulary> vocabulary_;
  const std::string tensor_;
  std::vector<std::shared_ptr<const TensorSource>> sources_;
};

}  // namespace

std::map<std::string, std::shared_ptr<const TensorSource>> WithVocabulary(
    const std::map<std::string, std::shared_ptr<const TensorSource>>& models,
    std::shared_ptr<const MergedVocabulary> vocabulary, const std::vector<std::string>& tensors) {
  std::map<std::string, std::shared_ptr<const TensorSource>> result;
  std::vector<std::shared_ptr<const Gatherer>> gatherers;
  for (const std::string& tensor : tensors) gatherers.push_back(std::make_shared<Gatherer>(models, vocabulary, tensor));
  for (size_t m = 0; m < vocabulary->models().size(); ++m) {
    const std::string& name = vocabulary->models()[m];
    const auto& model = models.at(name);
    auto derived = std::make_shared<DerivedSource>(model, model->label());
    for (size_t i = 0; i < tensors.size(); ++i) {
      TensorHeader header = *model->Find(tensors[i]);
      header.shape[0] = vocabulary->rows();
      derived->Replace(
          header, [gatherer = gatherers[i], m, header] { return gatherer->Load(static_cast<int>(m), header); },
          header.NumBytes());
    }
    result[name] = std::move(derived);
  }
  return result;
}

}  // namespace merganser
