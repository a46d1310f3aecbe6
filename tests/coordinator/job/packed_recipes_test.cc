#include "coordinator/job/packed_recipes.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::IsEmpty;

// A recipe with something in every field.
Recipe Whole() {
  Recipe recipe;
  recipe.models = {{.name = "base", .path = "/models/base"},
                   {.name = "ja", .path = "ja", .lora = "l", .rename = {{"", "m."}}}};
  GroupSettings group{.group = {.name = "layer.3", .parts = {ModelPart::kLayers}, .first_layer = 3, .end_layer = 4}};
  group.source_parameters = {{{"weight", 0.7}, {"density", 0.5}}, {}, {{"weight", -0.0}}};
  group.parameters = {{"lambda", 1.25}, {"normalize", 0}};
  recipe.stacks = {{.name = "a", .method = "dare_ties", .base = "base", .sources = {"ja"}, .settings = {group, group}},
                   {.name = "b", .sources = {"ja"}, .arithmetic = Arithmetic::kMergekit, .layer_offsets = {{"ja", 1}}}};
  recipe.path = {{0, 0, 1.0}, {1, 31, 0.1 + 0.2}, {0, 2, -3e-300}};
  recipe.tokenizer_from = "base";
  recipe.mask_seed = 77;
  recipe.embedding_from = "a";
  recipe.tokenizer = {.source = "union", .tokens = {{.token = "<x>", .model = "ja"}}, .pad_to_multiple_of = 8};
  recipe.chat_template = "auto";
  return recipe;
}

TEST(PackedRecipesTest, WhatComesOutIsWhatWentIn) {
  PackedRecipes packed;
  Recipe other = Whole();
  other.path.clear();
  other.stacks[0].settings[1].source_parameters[0]["weight"] = std::numeric_limits<double>::denorm_min();
  packed.Put(5, Whole());
  packed.Put(2, other);
  packed.Put(3, {});
  EXPECT_EQ(packed.Get(5), Whole());
  EXPECT_TRUE(std::signbit(packed.Get(5).stacks[0].settings[0].source_parameters[2]["weight"])) << "the bits too";
  EXPECT_EQ(packed.Get(2), other);
  EXPECT_EQ(packed.Get(3), Recipe());
  EXPECT_TRUE(packed.Has(2));
  EXPECT_FALSE(packed.Has(4));
}

TEST(PackedRecipesTest, ARecipeOfNoNumberIsKeptToo) {
  PackedRecipes packed;
  Recipe recipe = Whole();
  recipe.stacks[0].settings[0].parameters["lambda"] = std::nan("");
  packed.Put(0, recipe);
  EXPECT_TRUE(std::isnan(packed.Get(0).stacks[0].settings[0].parameters["lambda"]));
}

TEST(PackedRecipesTest, ManyShapesAreKeptAsWell) {
  PackedRecipes packed;
  const auto named = [](int i) {
    Recipe recipe = Whole();
    recipe.stacks[0].name = absl::StrCat("stack ", i % 20);
    recipe.stacks[0].settings[0].parameters["lambda"] = i;
    return recipe;
  };
  for (int i = 0; i < 100; ++i) packed.Put(i, named(i));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(packed.Get(i), named(i)) << i;
}

TEST(PackedRecipesTest, EqualWhereTheirRecipesAre) {
  PackedRecipes a, b;
  a.Put(1, Whole());
  b.Put(1, Whole());
  EXPECT_TRUE(a == b);
  b.Put(2, Whole());
  EXPECT_FALSE(a == b);
  Recipe other = Whole();
  other.path[1].scale = std::nextafter(other.path[1].scale, 1);
  a.Put(2, other);
  EXPECT_FALSE(a == b);
}

TEST(FinishedRecipesTest, AreNotInTheListOfCandidatesButWithEveryOneThatIsAskedFor) {
  World world;
  world.AddWorker("w");
  const JobSummary job = world.Run(world.Submit(StagedSpec()).id);
  ASSERT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  const JobState& state = *world.loop->StateOf(job.id);
  std::map<int64_t, Recipe> logged;
  const JobManager::EventBatch batch = *world.loop->EventsAfter(job.id, 0);
  for (const auto& [seq, event] : batch.events) {
    const auto* proposed = std::get_if<CandidatesProposed>(&event.body);
    if (proposed == nullptr) continue;
    for (const Candidate& candidate : proposed->candidates) logged[candidate.number] = candidate.recipe;
  }
  const std::vector<Candidate> listed = world.Candidates(job.id);
  ASSERT_EQ(listed.size(), logged.size());
  for (const Candidate& candidate : listed) {
    SCOPED_TRACE(candidate.number);
    EXPECT_EQ(candidate.recipe, logged[candidate.number]);
    EXPECT_EQ(world.loop->GetCandidate(job.id, candidate.number)->recipe, logged[candidate.number]);
    EXPECT_EQ(state.RecipeOf(candidate.number), logged[candidate.number]);
    if (candidate.kind == CandidateKind::kSearch) {
      EXPECT_THAT(state.Find(candidate.number)->recipe.stacks, IsEmpty());
    }
  }
}

}  // namespace
}  // namespace merganser
