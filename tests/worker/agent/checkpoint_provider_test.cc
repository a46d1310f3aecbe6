// A worker whose checkpoints are replaced while it works (what it fetches is tested with the server that gives it out,
// tests/coordinator/rpc/checkpoint_share_test.cc).
#include "worker/agent/checkpoint_provider.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"
#include "tests/testing/process.h"
#include "worker/agent/failure_class.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Opens the job's models in each call, as one that was started again does, and holds them to the content that it is given.
class RestartedEvaluator final : public CandidateEvaluator {
 public:
  absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback&, std::stop_token) override {
    MG_RETURN_IF_ERROR(Open(spec));
    return JobFacts{};
  }
  absl::StatusOr<Evaluation> Evaluate(const JobSpec& spec, const Recipe& recipe, const std::vector<std::string>&,
                                      const PhaseCallback&, std::stop_token) override {
    MG_RETURN_IF_ERROR(Open(spec));
    merged.push_back(SplitContent(recipe.models.at(0).path).first);
    return Evaluation{};
  }
  std::vector<std::string> merged;  // where the recipes had their model
  absl::Status broken;              // that every call gives

 private:
  absl::Status Open(const JobSpec& spec) const {
    for (const ModelRef& model : spec.models) {
      const auto [dir, content] = SplitContent(model.path);
      if (content.empty() || CheckpointContent(dir).value_or("") == content) continue;
      return absl::FailedPreconditionError("another content");
    }
    return broken;
  }
};

class CheckpointProviderTest : public testing::Test {
 protected:
  CheckpointProviderTest() {
    WriteCheckpoint(dir_ + "/ja", 4000, 1);
    content_ = *CheckpointContent(dir_ + "/ja");
    spec_.models = {{"ja", WithContent(dir_ + "/ja", content_)}};
    recipe_.models = {{"ja", dir_ + "/ja"}};
    options_.resolve = [](const std::string& path) -> absl::StatusOr<std::string> {
      if (fs::exists(path)) return path;
      return absl::NotFoundError(absl::StrCat("no directory '", path, "'"));
    };
  }
  absl::Status Evaluate(CheckpointProvider& provider) {
    ProvidedEvaluator provided(&provider, &evaluator_);
    return provided.Evaluate(spec_, recipe_, {}, [](absl::string_view) {}, {}).status();
  }
  void Replace() {
    fs::remove_all(dir_ + "/ja");
    WriteCheckpoint(dir_ + "/ja", 4000, 2);
  }

  const std::string dir_ = testing_support::FreshDir("provider");
  std::string content_;
  JobSpec spec_;
  Recipe recipe_;
  CheckpointProviderOptions options_;
  RestartedEvaluator evaluator_;
};

TEST_F(CheckpointProviderTest, WeightsThatAreReplacedAreAnErrorThatNamesModelPathAndBothContents) {
  CheckpointProvider provider(options_);
  ASSERT_TRUE(Evaluate(provider).ok());
  Replace();
  const absl::Status refused = Evaluate(provider);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("models.ja.path: "), HasSubstr(absl::StrCat("'", dir_, "/ja'")),
                    HasSubstr(absl::StrCat("has the content ", *CheckpointContent(dir_ + "/ja"), ", not ", content_))));
  EXPECT_EQ(FailureClassOf(refused), FailureClass::kUnavailable) << "other workers go on";
  EXPECT_THAT(evaluator_.merged, ElementsAre(dir_ + "/ja")) << "nothing of the other model was merged";
}

TEST_F(CheckpointProviderTest, ACopyBelowTheModelRootsIsTakenInstead) {
  options_.model_roots = {dir_ + "/roots"};
  fs::create_directories(dir_ + "/roots");
  fs::copy(dir_ + "/ja", dir_ + "/roots/copy");
  CheckpointProvider provider(options_);
  ASSERT_TRUE(Evaluate(provider).ok());
  Replace();
  const absl::Status evaluated = Evaluate(provider);
  EXPECT_TRUE(evaluated.ok()) << evaluated;
  EXPECT_THAT(evaluator_.merged, ElementsAre(dir_ + "/ja", dir_ + "/roots/copy"));
}

TEST_F(CheckpointProviderTest, ItGoesOnWhenTheyAreBack) {
  CheckpointProvider provider(options_);
  Replace();
  ASSERT_FALSE(Evaluate(provider).ok());
  fs::remove_all(dir_ + "/ja");
  EXPECT_THAT(Evaluate(provider).message(), HasSubstr("is not on this worker"));
  WriteCheckpoint(dir_ + "/ja", 4000, 1);
  const absl::Status evaluated = Evaluate(provider);
  EXPECT_TRUE(evaluated.ok()) << evaluated;
}

TEST_F(CheckpointProviderTest, AnErrorOfTheEvaluatorThatIsNotAboutTheModelsStaysWhatItIs) {
  CheckpointProvider provider(options_);
  evaluator_.broken = absl::FailedPreconditionError("device cuda:0 is gone");
  EXPECT_EQ(Evaluate(provider), evaluator_.broken);
  EXPECT_THAT(evaluator_.merged, IsEmpty());
}

}  // namespace
}  // namespace merganser
