#include "coordinator/search_space/data_flow_space.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/domain/limits.h"
#include "coordinator/search_space/parameter_space.h"
#include "coordinator/search_space/recipe_frame.h"

namespace merganser {
namespace {

using Encoding = DataFlowSpace::Encoding;

// Of a slot's number p in kPublished: the optimizer's sigma0 of 1/6 gives p a standard deviation of 0.1.
constexpr double kSpan = 2;            // p = kSpan * (g - 0.5)
constexpr double kDeviation = 0.1;     // of p and of scales
constexpr double kSigma0 = 1.0 / 6;    // the optimizers' default
constexpr double kProbablyKept = 0.9;  // first mean of a gene of two levels: far in level 1
constexpr double kProbablyDropped = 0.1;
// Of a network of scales: a hidden unit's weights, which let it tell a layer from its neighbours, and what it adds to a
// scale.
constexpr Bounds kNetworkWeights{-3, 3};
constexpr Bounds kNetworkOutputs{-1, 1};
constexpr double kNetworkDeviation = 1;
constexpr double kProbablyStays = 0.15;  // with the favourite: one or two of eight choices leave it

// Adds stacks of a source to the recipe under construction and remembers where they went.
class Stacks {
 public:
  explicit Stacks(Recipe* recipe) : recipe_(*recipe) {}

  // The number of the source's stack in the recipe.
  int Add(const Recipe& source, int stack) {
    Stack wanted = source.stacks[stack];
    for (int turn = 1;; ++turn) {
      const auto same =
          std::find_if(recipe_.stacks.begin(), recipe_.stacks.end(), [&](const Stack& s) { return s.name == wanted.name; });
      if (same == recipe_.stacks.end()) break;
      if (*same == wanted) return static_cast<int>(same - recipe_.stacks.begin());
      wanted.name = absl::StrCat(source.stacks[stack].name, "-", turn + 1);
    }
    recipe_.stacks.push_back(std::move(wanted));
    return static_cast<int>(recipe_.stacks.size()) - 1;
  }

  // The same for a stack by name; "": the first.
  int AddNamed(const Recipe& source, const std::string& name) {
    for (size_t i = 0; i < source.stacks.size(); ++i) {
      if (source.stacks[i].name == name) return Add(source, static_cast<int>(i));
    }
    return Add(source, 0);
  }

 private:
  Recipe& recipe_;
};

}  // namespace

int DataFlowDecoder::AddGene(Gene gene, GeneLabel label) {
  genome_.genes.push_back(gene);
  labels_.push_back(std::move(label));
  return genome_.dimension() - 1;
}

DataFlowDecoder::Choice DataFlowDecoder::AddChoice(const std::string& group, const std::string& what) {
  Choice choice;
  const int sources = static_cast<int>(space_.sources.size());
  if (sources == 1) return choice;
  // Where an earlier winner or a merge comes first, the search begins at it; among models it has no favourite.
  const bool favourite = space_.sources.front() == "winner" || space_.sources.front() == "merged";
  if (favourite) {
    choice.leave_gene = AddGene({.kind = Gene::Kind::kCategorical, .levels = 2, .start = kProbablyStays},
                                {group, "", absl::StrCat(what, " leaves ", space_.sources.front()), {0, 1}});
  }
  const int others = sources - (favourite ? 1 : 0);
  if (others > 1) {
    choice.source_gene = AddGene({.kind = Gene::Kind::kCategorical, .levels = others},
                                 {group, "", what, {favourite ? 1.0 : 0.0, sources - 1.0}});
  }
  return choice;
}

int DataFlowDecoder::SourceOf(const Choice& choice, absl::Span<const double> genome) const {
  const auto level = [&](int gene) { return gene < 0 ? 0 : genome_.genes[gene].LevelOf(genome[gene]); };
  if (choice.leave_gene < 0) return level(choice.source_gene);
  return level(choice.leave_gene) == 0 ? 0 : 1 + level(choice.source_gene);
}

absl::StatusOr<DataFlowDecoder> DataFlowDecoder::Create(const JobSpec& spec, int num_layers, int stage,
                                                        const Recipe* winner) {
  const SearchStage in = StageOf(spec, stage);
  const std::string at = absl::StrCat(StageField(stage), "space.data_flow");
  if (!in.data_flow) return absl::InvalidArgumentError(absl::StrCat(at, ": missing"));
  if (num_layers < 1)
    return absl::InvalidArgumentError(absl::StrCat("models: a model of ", num_layers, " layers has no path"));
  const DataFlowSpace& space = *in.data_flow;
  DataFlowDecoder decoder;
  decoder.spec_ = spec;
  decoder.space_ = space;
  int longest = 0;
  for (const std::string& source : space.sources) {
    Recipe recipe;
    if (source == "winner") {
      recipe = winner != nullptr ? *winner : SourceRecipe(spec, spec.models.front().name);
    } else if (source != "merged") {
      recipe = SourceRecipe(spec, source);
    }
    decoder.pool_hops_.push_back(Hops(recipe, num_layers));
    decoder.pool_.push_back(std::move(recipe));
    decoder.first_global_.push_back(decoder.layers_);
    const int layers = static_cast<int>(decoder.pool_hops_.back().size());
    decoder.layers_ += layers;
    longest = std::max(longest, layers);
  }
  const int64_t per_repeat = space.encoding == Encoding::kPath ? longest : decoder.layers_;
  const int64_t slots = per_repeat * space.repeats;
  if (slots + 2 > limits::kPathLengthMax) {
    return absl::InvalidArgumentError(absl::StrCat(at, ".repeats: ", space.repeats, " times ", per_repeat,
                                                   " layers make paths of up to ", slots, " hops; at most ",
                                                   limits::kPathLengthMax - 2));
  }
  const int64_t matrix = space.scales == DataFlowSpace::Scales::kMatrix ? int64_t{decoder.layers_} * decoder.layers_ : 0;
  const int64_t dimension = slots * 4 + matrix + 4;  // a network's genes are too few to count
  if (dimension > limits::kGenomeDimensionMax) {
    return absl::InvalidArgumentError(absl::StrCat(at, ": the genome would have about ", dimension, " coordinates (", slots,
                                                   " slots, ", matrix, " scales of a matrix of ", decoder.layers_, " x ",
                                                   decoder.layers_, "); at most ", limits::kGenomeDimensionMax,
                                                   "; scales: slot has fewer"));
  }
  // The ends that kPublished forces may come on top.
  decoder.longest_path_ = static_cast<int>(space.max_hops > 0 ? std::min<int64_t>(space.max_hops, slots) : slots);
  decoder.AddSlots(space);
  decoder.AddScalesAndEnds(space);
  return decoder;
}

void DataFlowDecoder::AddSlots(const DataFlowSpace& space) {
  const int sources = static_cast<int>(space.sources.size());
  if (space.encoding == Encoding::kPath) {
    int longest = 0;
    for (const auto& hops : pool_hops_) longest = std::max(longest, static_cast<int>(hops.size()));
    for (int depth = 0; depth < longest; ++depth) {
      for (int repeat = 0; repeat < space.repeats; ++repeat) {
        Slot slot{.depth = depth};
        const std::string group = repeat == 0 ? absl::StrCat("depth.", depth) : absl::StrCat("again.", repeat, ".", depth);
        slot.source = AddChoice(group, "source");
        slot.keep_gene =
            AddGene({.kind = Gene::Kind::kCategorical, .levels = 2, .start = repeat == 0 ? kProbablyKept : kProbablyDropped},
                    {group, "", "keep", {0, 1}});
        slots_.push_back(slot);
      }
    }
    return;
  }
  for (int repeat = 0; repeat < space.repeats; ++repeat) {
    for (int source = 0; source < sources; ++source) {
      for (int index = 0; index < static_cast<int>(HopsOf(source).size()); ++index) {
        const bool first_pass = repeat == 0 && source == 0;
        Slot slot{.layer = LayerOf(source, index)};
        const GeneLabel label{absl::StrCat("slot.", slots_.size()), space.sources[source], "keep", {0, 1}};
        if (space.encoding == Encoding::kPublished) {
          slot.keep_gene =
              AddGene({.start = 0.5 + (first_pass ? 2 * kDeviation / kSpan : 0), .scale = kDeviation / kSpan / kSigma0},
                      {label.group, label.source, label.parameter, {-kSpan / 2, kSpan / 2}});
        } else {
          slot.keep_gene = AddGene(
              {.kind = Gene::Kind::kCategorical, .levels = 2, .start = first_pass ? kProbablyKept : kProbablyDropped},
              label);
        }
        slots_.push_back(slot);
      }
    }
  }
}

void DataFlowDecoder::AddScalesAndEnds(const DataFlowSpace& space) {
  const Bounds& bounds = space.scale_bounds;
  const double width = bounds.high - bounds.low;
  const Gene scale{.start = (1 - bounds.low) / width, .scale = kDeviation / width / kSigma0};
  if (space.scales == DataFlowSpace::Scales::kSlot) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].scale_gene = AddGene(scale, {absl::StrCat("scale.", i), "", "scale", bounds});
    }
  } else if (space.scales == DataFlowSpace::Scales::kMatrix) {
    for (int from = 0; from < layers_; ++from) {
      for (int to = 0; to < layers_; ++to) {
        const int gene = AddGene(scale, {absl::StrCat("scale.", from, ".", to), "", "scale", bounds});
        if (matrix_gene_ < 0) matrix_gene_ = gene;
      }
    }
  } else if (space.scales == DataFlowSpace::Scales::kNetwork) {
    AddNetwork(static_cast<int>(space.sources.size()), space.hidden_units);
  }
  if (space.ends == DataFlowSpace::Ends::kFirst) return;
  embedding_ = AddChoice("ends", "embedding");
  head_ = AddChoice("ends", "head");
}

void DataFlowDecoder::AddNetwork(int sources, int hidden) {
  network_.emplace(sources, hidden);
  const auto gene = [](const Bounds& range, double deviation) {
    return Gene{.scale = deviation / (range.high - range.low) / kSigma0};
  };
  for (int unit = 0; unit < hidden; ++unit) {
    for (int input = 0; input < network_->inputs(); ++input) {
      const int added = AddGene(gene(kNetworkWeights, kNetworkDeviation),
                                {absl::StrCat("network.", unit), "", network_->InputName(input), kNetworkWeights});
      if (network_gene_ < 0) network_gene_ = added;
    }
  }
  for (int unit = 0; unit < hidden; ++unit) {
    AddGene(gene(kNetworkOutputs, kDeviation), {absl::StrCat("network.", unit), "", "scale", kNetworkOutputs});
  }
}

void DataFlowDecoder::ScaleByLayers(absl::Span<const double> genome, std::vector<Kept>* kept) const {
  std::vector<double> values;
  for (int i = 0; network_.has_value() && i < network_->parameters(); ++i) {
    const Bounds& range = labels_[network_gene_ + i].bounds;
    values.push_back(range.low + genome[network_gene_ + i] * (range.high - range.low));
  }
  const auto depth = [&](const Layer& layer) { return Spread(layer.index, static_cast<int>(HopsOf(layer.source).size())); };
  for (size_t i = 1; i < kept->size(); ++i) {
    const Layer &from = (*kept)[i - 1].layer, &to = (*kept)[i].layer;
    double& scale = (*kept)[i].scale;
    if (matrix_gene_ >= 0) {
      scale = ScaleOf(genome[matrix_gene_ + from.global * layers_ + to.global]);
    } else if (network_.has_value()) {
      const double hop = Spread(static_cast<int>(i), longest_path_);
      scale = std::clamp(network_->Scale({from.source, depth(from), to.source, depth(to), hop}, values),
                         space_.scale_bounds.low, space_.scale_bounds.high);
    }
  }
}

double DataFlowDecoder::ScaleOf(double gene) const {
  const Bounds& bounds = space_.scale_bounds;
  return std::clamp(bounds.low + gene * (bounds.high - bounds.low), bounds.low, bounds.high);
}

std::vector<DataFlowDecoder::Kept> DataFlowDecoder::Keep(absl::Span<const double> genome) const {
  std::vector<Kept> kept;
  for (const Slot& slot : slots_) {
    Kept hop{.layer = slot.layer, .strength = genome[slot.keep_gene]};
    // Published: p > 0. A gene of two levels is at level 1 from 0.5 on.
    if (space_.encoding == Encoding::kPublished ? !(hop.strength > 0.5) : hop.strength < 0.5) continue;
    if (space_.encoding == Encoding::kPath) {
      const int source = SourceOf(slot.source, genome);
      // A source that is shorter than the longest has nothing so deep.
      if (slot.depth >= static_cast<int>(HopsOf(source).size())) continue;
      hop.layer = LayerOf(source, slot.depth);
    }
    if (slot.scale_gene >= 0) hop.scale = ScaleOf(genome[slot.scale_gene]);
    kept.push_back(hop);
  }
  if (space_.encoding == Encoding::kPublished) ForceEnds(&kept);
  if (space_.max_hops > 0) Shorten(&kept);
  ScaleByLayers(genome, &kept);
  return kept;
}

void DataFlowDecoder::ForceEnds(std::vector<Kept>* kept) const {
  const int last = static_cast<int>(HopsOf(0).size()) - 1;
  const auto is = [](const Kept& hop, int index) { return hop.layer.source == 0 && hop.layer.index == index; };
  if (kept->empty() || !is(kept->front(), 0)) kept->insert(kept->begin(), Kept{.layer = LayerOf(0, 0)});
  kept->front().forced = true;
  if (!is(kept->back(), last)) kept->push_back({.layer = LayerOf(0, last)});
  kept->back().forced = true;
}

void DataFlowDecoder::Shorten(std::vector<Kept>* kept) const {
  while (static_cast<int>(kept->size()) > space_.max_hops) {
    auto weakest = kept->end();
    for (auto hop = kept->begin(); hop != kept->end(); ++hop) {
      // Among equals the last goes.
      if (!hop->forced && (weakest == kept->end() || hop->strength <= weakest->strength)) weakest = hop;
    }
    if (weakest == kept->end()) return;  // only the forced ends are left
    kept->erase(weakest);
  }
}

absl::StatusOr<Recipe> DataFlowDecoder::Decode(absl::Span<const double> genome, const Recipe* merged) const {
  if (absl::Status fits = CheckGenome(genome, labels_); !fits.ok()) return fits;
  const std::vector<Kept> kept = Keep(genome);
  if (kept.empty()) return absl::InvalidArgumentError("space.data_flow: the path keeps no layer");
  const auto source = [&](int i) -> const Recipe& { return pool_[i].stacks.empty() ? *merged : pool_[i]; };
  for (const Recipe& recipe : pool_) {
    if (recipe.stacks.empty() && merged == nullptr) return absl::InternalError("space.data_flow: nothing is merged");
  }
  Recipe recipe = RecipeFrame(spec_);
  Stacks stacks(&recipe);
  for (const Kept& hop : kept) {
    const Hop& own = HopsOf(hop.layer.source)[hop.layer.index];
    recipe.path.push_back({stacks.Add(source(hop.layer.source), own.stack), own.layer, own.scale * hop.scale});
  }
  const Recipe& embedding = source(SourceOf(embedding_, genome));
  const Recipe& head = source(SourceOf(head_, genome));
  const int embedding_stack = stacks.AddNamed(embedding, embedding.embedding_from);
  const int head_stack = stacks.AddNamed(head, head.head_from);
  if (embedding_stack != 0) recipe.embedding_from = recipe.stacks[embedding_stack].name;
  if (head_stack != 0) recipe.head_from = recipe.stacks[head_stack].name;
  const bool plain = embedding_stack == 0 && head_stack == 0 && recipe.stacks.size() == 1;
  const Recipe& first = source(kept.front().layer.source);
  if (plain && first.path.empty() && IsStack(recipe, static_cast<int>(HopsOf(kept.front().layer.source).size()))) {
    recipe.path.clear();
  }
  return recipe;
}

}  // namespace merganser
