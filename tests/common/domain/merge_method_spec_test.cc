#include "common/domain/merge_method_spec.h"

#include <cmath>
#include <set>

#include "common/domain/job_spec.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(MethodSpecTest, NamesAreUniqueAndDefaultsWithinTheirBounds) {
  std::set<std::string> methods;
  for (const MethodSpec& spec : AllMethodSpecs()) {
    EXPECT_TRUE(methods.insert(spec.name).second) << spec.name;
    EXPECT_LE(spec.sources_min, spec.sources_max) << spec.name;
    std::set<std::string> parameters;
    for (const MethodParameter& parameter : spec.parameters) {
      EXPECT_TRUE(parameters.insert(parameter.name).second) << spec.name << " " << parameter.name;
      if (parameter.otherwise) {
        EXPECT_TRUE(CheckValue(parameter, *parameter.otherwise).ok()) << spec.name << " " << parameter.name;
      }
    }
  }
  EXPECT_EQ(methods.size(), 20);
  EXPECT_EQ(FindMethodSpec("tiess"), nullptr);
}

TEST(MethodSpecTest, ValuesOutsideTheirBoundsAreNamed) {
  const auto message = [](const char* method, const char* parameter, double value) {
    return std::string(CheckValue(*FindMethodSpec(method)->Find(parameter), value).message());
  };
  EXPECT_EQ(message("ties", "density", 1.5), "density 1.5 is not in [0, 1]");
  EXPECT_EQ(message("ties", "weight", std::nan("")), "weight nan is not finite");
  EXPECT_EQ(message("ties", "weight", 1e39), "weight 1e+39 is not finite");
  EXPECT_EQ(message("ties", "normalize", 2), "normalize 2 is neither 0 nor 1");
  EXPECT_EQ(message("karcher", "max_iter", 2.5), "max_iter 2.5 is not a whole number");
  EXPECT_EQ(message("karcher", "tol", -1), "tol -1 is below 0");
  EXPECT_EQ(message("ties", "density", 0.3), "");
}

TEST(MethodSpecTest, SourceCountsOutsideTheirBoundsAreNamed) {
  const auto message = [](const char* method, int sources) {
    return std::string(FindMethodSpec(method)->CheckSourceCount(sources).message());
  };
  EXPECT_EQ(message("slerp", 2), "slerp merges its base with exactly 1 source; the stack has 2");
  EXPECT_EQ(message("nuslerp", 3), "nuslerp merges exactly 2 sources; the stack has 3");
  EXPECT_EQ(message("model_stock", 1), "model_stock merges its base with at least 2 sources; the stack has 1");
  EXPECT_EQ(message("linear", 0), "linear merges at least 1 source; the stack has 0");
  EXPECT_EQ(message("ties", 5), "");
}

TEST(MethodSpecTest, JobsKnowEveryMethodByItsShortForm) {
  ASSERT_EQ(KnownMethods().size(), AllMethodSpecs().size());
  const MethodSignature& ties = *FindMethod("ties");
  EXPECT_TRUE(ties.needs_base && ties.takes_base);
  EXPECT_EQ(ties.source_parameters, (std::vector<std::string>{"weight", "density"}));
  EXPECT_EQ(ties.parameters, (std::vector<std::string>{"lambda", "normalize", "rescale"}));
  EXPECT_FALSE(FindMethod("nuslerp")->needs_base);
  EXPECT_TRUE(FindMethod("nuslerp")->takes_base);
  EXPECT_FALSE(FindMethod("linear")->takes_base);
}

}  // namespace
}  // namespace merganser
