#include "coordinator/replay/responses.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"

namespace merganser {
namespace {

constexpr int kFolds = 10;

double MeanScore(const std::vector<bool>& correct) {
  return static_cast<double>(std::count(correct.begin(), correct.end(), true)) / static_cast<double>(correct.size());
}

class NearestModel final : public ResponseModel {
 public:
  explicit NearestModel(std::vector<Response> responses) : responses_(std::move(responses)) {}
  int dimension() const override { return static_cast<int>(responses_[0].genome.size()); }
  int samples() const override { return static_cast<int>(responses_[0].correct.size()); }
  std::vector<bool> Correct(const std::vector<double>& genome) const override {
    const auto distance = [&](const Response& one) {
      double sum = 0;
      for (size_t i = 0; i < genome.size(); ++i) sum += std::pow(one.genome[i] - genome[i], 2);
      return sum;
    };
    return std::min_element(responses_.begin(), responses_.end(),
                            [&](const Response& a, const Response& b) { return distance(a) < distance(b); })
        ->correct;
  }

 private:
  std::vector<Response> responses_;
};

// The mean score as a process, or nothing where all are equal.
std::optional<GaussianProcess> FitMean(const std::vector<Response>& responses) {
  std::vector<std::vector<double>> genomes;
  std::vector<double> scores;
  for (const Response& one : responses) {
    genomes.push_back(one.genome);
    scores.push_back(MeanScore(one.correct));
  }
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  if (!(*high > *low)) return std::nullopt;
  return GaussianProcess(GenomeSpec::Continuous(static_cast<int>(genomes[0].size())), genomes, scores);
}

class SurrogateModel final : public ResponseModel {
 public:
  explicit SurrogateModel(const std::vector<Response>& responses)
      : dimension_(static_cast<int>(responses[0].genome.size())), process_(FitMean(responses)) {
    const Eigen::Index recipes = static_cast<Eigen::Index>(responses.size());
    const Eigen::Index samples = static_cast<Eigen::Index>(responses[0].correct.size());
    Eigen::MatrixXd outcomes(recipes, samples);
    for (Eigen::Index r = 0; r < recipes; ++r) {
      for (Eigen::Index s = 0; s < samples; ++s) outcomes(r, s) = responses[r].correct[s] ? 1 : 0;
    }
    shares_ = outcomes.colwise().mean();
    outcomes.rowwise() -= shares_;
    if (process_.has_value()) coefficients_ = process_->Coefficients(outcomes);
    thresholds_.resize(samples);
    Rng rng(StableHash64("replay/thresholds"), 0);
    for (double& threshold : thresholds_) threshold = rng.Uniform();
  }
  int dimension() const override { return dimension_; }
  int samples() const override { return static_cast<int>(shares_.size()); }
  std::vector<bool> Correct(const std::vector<double>& genome) const override {
    Eigen::RowVectorXd probabilities = shares_;
    if (process_.has_value()) probabilities += process_->Means({genome}, coefficients_).row(0);
    std::vector<bool> correct(samples());
    for (int s = 0; s < samples(); ++s) correct[s] = probabilities[s] > thresholds_[s];
    return correct;
  }

 private:
  int dimension_;
  std::optional<GaussianProcess> process_;
  Eigen::MatrixXd coefficients_;  // [recipes, samples]
  Eigen::RowVectorXd shares_;     // [samples], mean over recipes
  Eigen::VectorXd thresholds_;    // [samples]
};

}  // namespace

absl::Status CheckResponses(const std::vector<Response>& responses) {
  if (responses.size() < static_cast<size_t>(kResponsesMin) || responses.size() > static_cast<size_t>(kResponsesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat(responses.size(), " recipes are not in [", kResponsesMin, ", ", kResponsesMax, "]"));
  }
  const Response& first = responses[0];
  for (const Response& one : responses) {
    const auto bad = [&](auto... what) { return absl::InvalidArgumentError(absl::StrCat(one.recipe, ": ", what...)); };
    if (one.genome.empty() || one.genome.size() != first.genome.size())
      return bad(one.genome.size(), " genes where '", first.recipe, "' has ", first.genome.size());
    if (one.correct.empty() || one.correct.size() != first.correct.size())
      return bad(one.correct.size(), " samples where '", first.recipe, "' has ", first.correct.size());
    for (const double gene : one.genome) {
      if (!(gene >= 0 && gene <= 1)) return bad("gene ", gene, " is not in [0, 1]");
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<ResponseModel> MakeNearestModel(std::vector<Response> responses) {
  return std::make_unique<NearestModel>(std::move(responses));
}

std::unique_ptr<ResponseModel> MakeSurrogateModel(std::vector<Response> responses) {
  return std::make_unique<SurrogateModel>(responses);
}

SurrogateError LeftOutError(const std::vector<Response>& responses) {
  std::vector<double> predicted, recorded;
  for (int fold = 0; fold < kFolds; ++fold) {
    std::vector<Response> seen;
    std::vector<std::vector<double>> left_out;
    for (size_t i = 0; i < responses.size(); ++i) {
      if (static_cast<int>(i % kFolds) != fold) {
        seen.push_back(responses[i]);
      } else {
        left_out.push_back(responses[i].genome);
        recorded.push_back(MeanScore(responses[i].correct));
      }
    }
    const auto process = FitMean(seen);
    if (process.has_value()) {
      const Eigen::VectorXd mean = process->Predict(left_out).mean;
      predicted.insert(predicted.end(), mean.begin(), mean.end());
    } else {
      predicted.resize(recorded.size(), MeanScore(seen[0].correct));
    }
  }
  const Eigen::Map<const Eigen::ArrayXd> p(predicted.data(), static_cast<Eigen::Index>(predicted.size()));
  const Eigen::Map<const Eigen::ArrayXd> r(recorded.data(), static_cast<Eigen::Index>(recorded.size()));
  const Eigen::ArrayXd dp = p - p.mean(), dr = r - r.mean();
  const double scale = std::sqrt(dp.square().sum() * dr.square().sum());
  return {std::sqrt((p - r).square().mean()), std::sqrt(dr.square().mean()), scale > 0 ? (dp * dr).sum() / scale : 0.0};
}

}  // namespace merganser
