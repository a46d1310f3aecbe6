// Pictures: that what they must show is in them, and that nothing of a job becomes markup.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/draw/charts.h"
#include "common/draw/html.h"
#include "common/draw/recipe_picture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

Recipe TwoLayerMerge() {
  Recipe recipe;
  Stack stack;
  stack.name = "merged";
  stack.method = "ties";
  stack.base = "base";
  stack.sources = {"ja", "<math>"};
  for (const char* group : {"layer.0", "layer.1"}) {
    GroupSettings settings;
    settings.group.name = group;
    settings.source_parameters = {{{"weight", 0.5}}, {{"weight", 1.5}, {"density", 0.25}}};
    settings.parameters = {{"lambda", 1.0}};
    stack.settings.push_back(settings);
  }
  recipe.stacks = {stack};
  return recipe;
}

TEST(EscapeHtmlTest, MarkupBecomesText) {
  EXPECT_EQ(EscapeHtml("a<b & \"c\" 'd'"), "a&lt;b &amp; &quot;c&quot; &#39;d&#39;");
}

TEST(HeatmapTest, HasACellPerGroupAndParameterAndALegend) {
  const std::string svg = HeatmapSvg(TwoLayerMerge().stacks[0], {{"weight", {0, 2}}});
  EXPECT_EQ(Count(svg, "class=\"cell\""), 8) << "weight of both, density of one, lambda; two groups";
  EXPECT_EQ(Count(svg, "class=\"cell unset\""), 2) << "ja has no density";
  EXPECT_THAT(svg, HasSubstr("layer.1, weight of &lt;math&gt;: 1.5000"));
  EXPECT_THAT(svg, HasSubstr(">weight 0</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("<math>")));
  EXPECT_THAT(svg, Not(HasSubstr("style=")));
}

TEST(HeatmapTest, EqualValuesHaveEqualColoursAndTheBoundsTheEnds) {
  Stack stack = TwoLayerMerge().stacks[0];
  stack.settings[0].source_parameters[0]["weight"] = 0;
  stack.settings[1].source_parameters[0]["weight"] = 2;
  const std::string svg = HeatmapSvg(stack, {{"weight", {0, 2}}});
  EXPECT_THAT(svg, HasSubstr("fill=\"#440154\"><title>layer.0, weight of ja"));
  EXPECT_THAT(svg, HasSubstr("fill=\"#fde725\"><title>layer.1, weight of ja"));
}

TEST(RouteTest, HasAHopPerStepAtItsLayerAndBarsForScales) {
  Recipe recipe;
  recipe.stacks.resize(2);
  recipe.stacks[0].name = "ja";
  recipe.stacks[1].name = "math";
  recipe.path = {{0, 0, 1.0}, {0, 1, 1.2}, {1, 1, 0.7}, {0, 2, 1.0}};
  const std::string svg = RouteSvg(recipe);
  EXPECT_EQ(Count(svg, "class=\"hop "), 4);
  EXPECT_EQ(Count(svg, "class=\"scale\""), 2);
  EXPECT_THAT(svg, HasSubstr("hop 2: layer 1 of math, scale 0.7"));
  EXPECT_THAT(RecipePictures(recipe, {}), HasSubstr("path of 4 hops"));
  EXPECT_EQ(Count(RecipeTables(recipe), "<tr><th scope=\"row\""), 4);
}

TEST(RouteTest, APathThatNamesNoStackIsNotDrawn) {
  Recipe recipe;
  recipe.path = {{3, 0, 1.0}};
  EXPECT_EQ(RouteSvg(recipe), "");
}

TEST(RecipePicturesTest, APlainSourceHasNone) {
  Recipe recipe;
  recipe.stacks.resize(1);
  recipe.stacks[0].sources = {"ja"};
  EXPECT_EQ(RecipePictures(recipe, {}), "");
  EXPECT_EQ(RecipeTables(recipe), "");
}

TEST(FitnessSvgTest, LeavesOutWhatIsNotFinite) {
  const std::string svg = FitnessSvg({{7, 0, {0.25}}, {8, 0, {std::nan("")}}, {9, 1, {0.5}}}, {{"ja", {0.1}}, {"math", {}}});
  EXPECT_EQ(Count(svg, "class=\"point\""), 2);
  EXPECT_EQ(Count(svg, "class=\"baseline\""), 1);
  EXPECT_THAT(svg, HasSubstr("candidate 9: 0.5000"));
  EXPECT_EQ(FitnessSvg({}, {{"ja", {0.1}}}), "");
}

TEST(FitnessSvgTest, LabelsOfEqualSourcesAreApartAndWithinThePicture) {
  const std::string svg = FitnessSvg({{7, 0, {0.25}}}, {{"base", {0}}, {"ja", {0}}, {"math", {0}}, {"average", {0}}});
  double before = -100;
  for (const char* name : {"base", "ja", "math", "average"}) {
    const size_t end = svg.find(absl::StrCat("\">", name, " 0.000"));
    ASSERT_NE(end, std::string::npos) << name;
    const size_t begin = svg.rfind("y=\"", end) + 3;
    double y = 0;
    ASSERT_TRUE(absl::SimpleAtod(svg.substr(begin, end - begin), &y)) << svg.substr(begin, end - begin);
    EXPECT_GE(y, before + 12) << name;
    EXPECT_LE(y, 310) << "above the numbers of the generations";
    before = y;
  }
}

TEST(ParetoSvgTest, TheFrontIsWhatNoOtherBeats) {
  const std::string svg = ParetoSvg({{1, 0, {0.1, 0.9}}, {2, 0, {0.5, 0.5}}, {3, 0, {0.4, 0.4}}, {4, 0, {0.9, 0.1}}},
                                    {{"ja", {0.2, 0.2}}}, {"a.acc", "b.acc"});
  EXPECT_EQ(Count(svg, "class=\"front\""), 3);
  EXPECT_EQ(Count(svg, "class=\"baseline-point\""), 1);
  EXPECT_EQ(Count(svg, "class=\"front-area\""), 1);
  EXPECT_EQ(ParetoSvg({{1, 0, {0.1}}}, {}, {"a.acc"}), "") << "one objective has no front";
}

TEST(ParetoSvgTest, TheFrontGoesInStepsAndNeverAboveWhatWasFound) {
  const std::string svg = ParetoSvg({{1, 0, {0.1, 0.9}}, {2, 0, {0.5, 0.5}}, {3, 0, {0.9, 0.1}}}, {}, {"a.acc", "b.acc"});
  const std::string begin = "class=\"front-line\" points=\"";
  const size_t at = svg.find(begin) + begin.size();
  std::vector<std::pair<double, double>> line;
  for (absl::string_view point : absl::StrSplit(svg.substr(at, svg.find('"', at) - at), ' ', absl::SkipEmpty())) {
    const std::vector<std::string> xy = absl::StrSplit(point, ',');
    line.emplace_back(std::stod(xy[0]), std::stod(xy[1]));
  }
  ASSERT_EQ(line.size(), 7u) << "three to the right, three down, and where it begins";
  for (size_t i = 1; i < line.size(); ++i) {
    EXPECT_TRUE(line[i].first == line[i - 1].first || line[i].second == line[i - 1].second) << "no slope";
    EXPECT_GE(line[i].first, line[i - 1].first);
    EXPECT_GE(line[i].second, line[i - 1].second);
  }
  EXPECT_EQ(Count(ParetoSvg({{1, 0, {0.1, 0.9, 0.5}}}, {}, {"a.acc", "b.acc", "c.acc"}), "front-area"), 0)
      << "of three objectives it is no line here";
}

}  // namespace
}  // namespace merganser
