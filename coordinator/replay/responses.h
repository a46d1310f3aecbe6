// Recorded outcomes of many recipes on the same samples, and models of them: searches can then be
// played again without a model.
#ifndef MERGANSER_COORDINATOR_REPLAY_RESPONSES_H_
#define MERGANSER_COORDINATOR_REPLAY_RESPONSES_H_

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/optimizer/gaussian_process.h"

namespace merganser {

// What one recipe got right.
struct Response {
  std::string recipe;          // for people: "candidate 12"
  std::vector<double> genome;  // [dimension], in [0, 1]
  std::vector<bool> correct;   // [samples]
};

inline constexpr int kResponsesMin = 20;    // recipes: fewer say nothing of a space
inline constexpr int kResponsesMax = 2000;  // the surrogate is exact: O(recipes^3)

// InvalidArgument, naming the recipe: fewer than kResponsesMin or more than kResponsesMax, other
// lengths than the first's, no genes or samples, a gene outside [0, 1].
absl::Status CheckResponses(const std::vector<Response>& responses);

// What a genome would get right. Pure: equal genomes, equal outcomes.
class ResponseModel {
 public:
  virtual ~ResponseModel() = default;
  virtual int dimension() const = 0;
  virtual int samples() const = 0;
  // [samples]. REQUIRES: genome is [dimension].
  virtual std::vector<bool> Correct(const std::vector<double>& genome) const = 0;
};

// The recorded recipe nearest to the genome (Euclidean): real outcomes, of a finite pool.
std::unique_ptr<ResponseModel> MakeNearestModel(std::vector<Response> responses);

// A Gaussian process over genomes, one kernel for all samples (fitted to the mean score): each sample
// has a predicted probability, and is right where that exceeds a number drawn once for the sample,
// so two near genomes differ in few samples and the mean score is the mean probability.
std::unique_ptr<ResponseModel> MakeSurrogateModel(std::vector<Response> responses);

// How far the surrogate is off on recipes that it has not seen: ten-fold cross-validation of the mean
// score.
struct SurrogateError {
  double rmse = 0;         // of the mean score
  double spread = 0;       // standard deviation of the recorded mean scores: what a constant's rmse is
  double correlation = 0;  // between predicted and recorded
};
SurrogateError LeftOutError(const std::vector<Response>& responses);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_RESPONSES_H_
