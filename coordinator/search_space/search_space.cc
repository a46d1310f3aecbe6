#include "coordinator/search_space/search_space.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/domain/limits.h"

namespace merganser {

absl::StatusOr<SearchSpace> SearchSpace::Create(const JobSpec& spec, int num_layers, int stage, const Recipe* winner,
                                                bool sees) {
  const SearchStage in = StageOf(spec, stage);
  SearchSpace space;
  const auto add = [&](const auto& decoder) {
    space.genome_.genes.insert(space.genome_.genes.end(), decoder.genome().genes.begin(), decoder.genome().genes.end());
    space.labels_.insert(space.labels_.end(), decoder.labels().begin(), decoder.labels().end());
  };
  if (in.parameter.used()) {
    MG_ASSIGN_OR_RETURN(ParameterSpaceDecoder parameter,
                        ParameterSpaceDecoder::Create(spec, num_layers, stage, winner, sees));
    add(parameter);
    space.parameter_ = std::move(parameter);
  }
  if (in.data_flow) {
    MG_ASSIGN_OR_RETURN(DataFlowDecoder data_flow, DataFlowDecoder::Create(spec, num_layers, stage, winner));
    add(data_flow);
    space.data_flow_ = std::move(data_flow);
  }
  if (space.dimension() > limits::kGenomeDimensionMax) {
    return absl::InvalidArgumentError(absl::StrCat(StageField(stage), "space: the genome would have ", space.dimension(),
                                                   " coordinates; at most ", limits::kGenomeDimensionMax));
  }
  return space;
}

absl::StatusOr<Recipe> SearchSpace::Decode(absl::Span<const double> genome) const {
  if (absl::Status fits = CheckGenome(genome, labels_); !fits.ok()) return fits;
  if (!data_flow_) return parameter_->Decode(genome);
  if (!parameter_) return data_flow_->Decode(genome, nullptr);
  const size_t parameters = static_cast<size_t>(parameter_->dimension());
  MG_ASSIGN_OR_RETURN(const Recipe merged, parameter_->Decode(genome.subspan(0, parameters)));
  return data_flow_->Decode(genome.subspan(parameters), &merged);
}

bool ArchitectureSees(absl::string_view architecture) { return absl::StartsWith(architecture, "Llava"); }

int HopCount(const Recipe& recipe, int num_layers) {
  return recipe.path.empty() ? num_layers : static_cast<int>(recipe.path.size());
}

}  // namespace merganser
