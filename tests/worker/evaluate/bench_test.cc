#include "worker/evaluate/bench.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"

namespace merganser {
namespace {

TEST(BenchTest, CountsEveryToken) {
  const BenchRequest request{ExampleDir() + "/ja", 5, 12, 7, 1};
  const auto result = BenchModel(request, CpuOptions(), {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->prompt_tokens, 5 * 12);
  EXPECT_EQ(result->generated_tokens, 5 * 7);
  EXPECT_EQ(result->parameters, 1'148'544);
  EXPECT_GT(result->seconds, 0);
  EXPECT_GT(result->limit_seconds, 0);
}

TEST(BenchTest, BadNumbersAreNamed) {
  BenchRequest request{ExampleDir() + "/ja"};
  request.new_tokens = 0;
  EXPECT_EQ(BenchModel(request, CpuOptions(), {}).status().message(), "new_tokens is 0, not in [1, 16777216]");
  request.new_tokens = 500;
  EXPECT_THAT(std::string(BenchModel(request, CpuOptions(), {}).status().message()),
              testing::HasSubstr("prompt_tokens and new_tokens are 564 together; "));
}

}  // namespace
}  // namespace merganser
