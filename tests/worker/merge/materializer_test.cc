#include "worker/merge/materializer.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using testing_merge::ArenaValues;
using testing_merge::Gaussian;
using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::MergeAll;
using testing_merge::NamedTensor;
using testing_merge::OneGroup;
using testing_merge::Values;

NamedTensor Norm(Values values) {
  const int64_t count = static_cast<int64_t>(values.size());
  return {"model.norm.weight", {count}, std::move(values)};
}

std::shared_ptr<const MergeSources> TwoModels(Values base, Values ja, DType dtype = DType::kF32,
                                              DType stored = DType::kF32) {
  const NamedTensor norm = Norm(base);
  return *MergeSources::Create(
      {{"base", MakeModel({norm}, stored, "m/base")}, {"ja", MakeModel({Norm(ja)}, stored, "m/ja")}},
      MakeLayout({norm}, dtype));
}

TEST(MaterializerTest, NonFiniteSourcesAreNamedBeforeAnyMerge) {
  Values bad = {1, 2, std::numeric_limits<float>::infinity()};
  const auto materializer = Materializer::Create(TwoModels({1, 2, 3}, bad), {});
  EXPECT_EQ(materializer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(materializer.status().message(), "tensor 'model.norm.weight' of 'ja' (m/ja) holds inf at index 2");
}

TEST(MaterializerTest, InOneShotNonFiniteSourcesAreNamedByTheMergeEvenWhereAMaskDropsThem) {
  Values bad = Gaussian(70'000, 3);
  bad[66'000] = std::numeric_limits<float>::quiet_NaN();
  const auto sources = TwoModels(Gaussian(70'000, 2), bad);
  for (const std::string method : {"dare_ties", "ties", "task_arithmetic", "slerp", "passthrough", ""}) {
    const bool base = method != "passthrough" && method != "";
    const MethodSpec* spec = FindMethodSpec(method);
    std::map<std::string, double> own, whole;
    if (spec != nullptr && spec->Find("density") != nullptr) own["density"] = 0.00001;
    if (method == "slerp") whole["t"] = 0.5;
    const Recipe recipe = OneGroup(method, base ? "base" : "", {"ja"}, {own}, whole);
    EXPECT_EQ(MergeAll(recipe, sources, {.one_shot = true}).status().message(),
              "tensor 'model.norm.weight' of 'ja' (m/ja) holds nan at index 66000")
        << method;
  }
}

TEST(MaterializerTest, OneShotGivesTheBitsOfACandidate) {
  const int64_t n = 200'000;
  const Values base = Gaussian(n, 1, 0.02f);
  std::map<std::string, MergeSources::Model> models;
  const NamedTensor matrix{"model.layers.0.mlp.up_proj.weight", {n / 400, 400}, base};
  const NamedTensor norm{"model.norm.weight", {400}, Gaussian(400, 9)};
  models["base"] = MakeModel({matrix, norm}, DType::kBF16);
  for (int m = 0; m < 2; ++m) {
    NamedTensor own = matrix, own_norm = norm;
    own.values = Gaussian(n, 2 + m, 0.002f, base);
    own_norm.values = Gaussian(400, 5 + m, 0.01f, norm.values);
    models[m == 0 ? "en" : "ja"] = MakeModel({own, own_norm}, DType::kBF16);
  }
  const auto sources = *MergeSources::Create(models, MakeLayout({matrix, norm}, DType::kF32));
  ThreadPool pool(2);
  for (const MergeMethod* method : AllMergeMethods()) {
    const MethodSpec& spec = method->spec();
    std::map<std::string, double> own, whole;
    if (spec.Find("density") != nullptr) own["density"] = 0.4;
    if (spec.Find("t") != nullptr) whole["t"] = 0.001;
    if (spec.Find("rescale") != nullptr) whole["rescale"] = 1;
    const std::string base_name = spec.base == MethodSpec::Base::kRequired ? "base" : "";
    const std::vector<std::string> names =
        spec.sources_max == 1 ? std::vector<std::string>{"ja"} : std::vector<std::string>{"ja", "en"};
    const Recipe recipe =
        OneGroup(spec.name, base_name, names, std::vector<std::map<std::string, double>>(names.size(), own), whole);
    const auto candidate = MergeAll(recipe, sources);
    ASSERT_TRUE(candidate.ok()) << spec.name << ": " << candidate.status();
    EXPECT_EQ(*MergeAll(recipe, sources, {.mask_bytes_max = 0}), *candidate) << spec.name;
    EXPECT_EQ(*MergeAll(recipe, sources, {.one_shot = true, .pool = &pool}), *candidate) << spec.name;
    // Room for the masks of one source's matrix only.
    EXPECT_EQ(*MergeAll(recipe, sources, {.mask_bytes_max = n / 8 + 100, .one_shot = true}), *candidate) << spec.name;
  }
}

// Where everything is bf16, some methods merge in one pass over stored values. Sources that hold the same numbers as fp32 go
// the other way.
TEST(MaterializerTest, OnePassOverStoredValuesGivesTheSameBits) {
  const std::multimap<std::string, std::map<std::string, double>> methods = {
      {"linear", {}},
      {"task_arithmetic", {{"lambda", 1.3}, {"normalize", 1}}},
      {"ties", {}},
      {"slerp", {{"t", 0.3}}},
      {"multislerp", {}},
      {"karcher", {}},
      {"model_stock", {}},
      {"dare_ties", {}},
      {"dare_linear", {}},
      {"dare_ties", {{"rescale", 0}, {"lambda", 0.8}}},
      {"della", {}},
      {"della_linear", {{"lambda", -1.1}}},
      {"della", {{"rescale", 0}}}};
  const auto rounded = [](const Values& values) {
    std::vector<uint16_t> stored(values.size());
    StoreBlock(DType::kBF16, values.data(), static_cast<int64_t>(values.size()),
               reinterpret_cast<std::byte*>(stored.data()));
    Values back(values.size());
    LoadBlock({DType::kBF16, reinterpret_cast<const std::byte*>(stored.data()), static_cast<int64_t>(values.size())}, 0,
              static_cast<int64_t>(values.size()), back.data());
    return back;
  };
  constexpr int64_t kCount = 70'001;
  const NamedTensor base = Norm(rounded(Gaussian(kCount, 1)));
  std::map<std::string, MergeSources::Model> as_bf16 = {{"base", MakeModel({base}, DType::kBF16)}};
  std::map<std::string, MergeSources::Model> as_f32 = {{"base", MakeModel({base}, DType::kF32)}};
  std::vector<std::string> names;
  for (int s = 0; s < 5; ++s) {
    names.push_back(std::string(1, static_cast<char>('a' + s)));
    Values values = rounded(Gaussian(kCount, 10 + s, 0.1f, base.values));
    for (int64_t i = s; i < kCount; i += 7) values[i] = base.values[i];  // task vectors of 0
    as_bf16[names.back()] = MakeModel({Norm(values)}, DType::kBF16);
    as_f32[names.back()] = MakeModel({Norm(values)}, DType::kF32);
  }
  const ArenaLayout layout = MakeLayout({base}, DType::kBF16);
  const auto stored = *MergeSources::Create(as_bf16, layout), converted = *MergeSources::Create(as_f32, layout);
  for (const auto& [method, whole] : methods) {
    const MethodSpec& spec = *FindMethodSpec(method);
    for (int sources = spec.sources_min; sources <= std::min(spec.sources_max, 5); ++sources) {
      for (const double normalize : {0.0, 1.0}) {
        std::map<std::string, double> parameters = whole, own;
        if (spec.Find("normalize") != nullptr) parameters["normalize"] = normalize;
        std::vector<std::map<std::string, double>> each;
        for (int s = 0; s < sources; ++s) {
          if (spec.Find("weight") != nullptr) own["weight"] = s == 1 ? -0.2 : 0.7;
          if (spec.Find("density") != nullptr) own["density"] = s == 3 ? 1 : s == 2 ? 0 : 0.3 + 0.1 * s;
          each.push_back(own);
        }
        const Recipe recipe = OneGroup(method, spec.base == MethodSpec::Base::kRequired ? "base" : "",
                                       {names.begin(), names.begin() + sources}, each, parameters, "bfloat16");
        for (const bool one_shot : {false, true}) {
          const auto have = MergeAll(recipe, stored, {.threads = 2, .one_shot = one_shot}),
                     want = MergeAll(recipe, converted);
          ASSERT_TRUE(have.ok() && want.ok()) << have.status() << want.status();
          EXPECT_EQ(*have, *want) << method << " of " << sources << ", normalize " << normalize << ", one shot " << one_shot;
        }
      }
    }
  }
}

TEST(MaterializerTest, ResultsBeyondTheStorageTypeAreNamed) {
  const Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 100}}}, {}, "float16");
  const auto merged = MergeAll(recipe, TwoModels({1, 0}, {1, 2000}, DType::kF16));
  EXPECT_EQ(merged.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(merged.status().message(),
            "tensor 'model.norm.weight': the merged value at index 1 is inf in F16; the models "
            "hold 0 (base) 2000 (ja)");
}

// Keeps each run's bytes; wants no run from `wanted` on.
class KeptRuns final : public RunSink {
 public:
  KeptRuns(int64_t runs, int64_t wanted) : runs_(runs), wanted_(wanted) {}
  std::byte* Room(int64_t run) override {
    runs_[run].resize(kRunElements * 4);
    return run < wanted_ ? runs_[run].data() : nullptr;
  }
  void Put(int64_t run, int64_t bytes) override { runs_[run].resize(bytes); }
  void Fail(int64_t run) override { failed_ = run; }

  std::vector<std::byte> All() const {
    std::vector<std::byte> all;
    for (const auto& run : runs_) all.insert(all.end(), run.begin(), run.end());
    return all;
  }
  int64_t failed() const { return failed_; }

 private:
  std::vector<std::vector<std::byte>> runs_;
  const int64_t wanted_;
  int64_t failed_ = -1;
};

TEST(MaterializerTest, StreamedRunsAreTheBytesOfAnArena) {
  const int64_t n = 200'000;  // four runs
  const Values base = Gaussian(n, 1);
  for (const DType stored : {DType::kF32, DType::kBF16}) {
    const auto sources = TwoModels(base, Gaussian(n, 2, 0.1f, base), stored, stored);
    for (const std::string method : {"della", "ties", "task_arithmetic", ""}) {
      std::map<std::string, double> own;
      if (method == "della" || method == "ties") own["density"] = 0.5;
      const Recipe recipe = OneGroup(method, method == "" ? "" : "base", {"ja"}, {own}, {}, std::string(ConfigName(stored)));
      const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
      auto materializer = *Materializer::Create(sources, {.threads = 2});
      auto arena = *Arena::Create(sources->layout());
      ASSERT_TRUE(materializer->Run(plan, *arena).ok());
      KeptRuns kept(4, 4);
      ASSERT_TRUE(materializer->Stream(plan, kept).ok());
      EXPECT_EQ(kept.All(), std::vector<std::byte>(arena->data(0), arena->data(0) + n * SizeOf(stored))) << method;
    }
  }
}

TEST(MaterializerTest, AStreamThatNobodyWantsOrCanFinishEndsWithAnError) {
  Values large(200'000, 0.0f);
  large[190'000] = 2000;
  const auto sources = TwoModels(Values(200'000, 0.0f), large, DType::kF16);
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 100}}}, {}, "float16");
  const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
  auto materializer = *Materializer::Create(sources, {});
  KeptRuns kept(4, 4), unwanted(4, 1);
  EXPECT_EQ(
      materializer->Stream(plan, kept).message(),
      "tensor 'model.norm.weight': the merged value at index 190000 is inf in F16; the models hold 0 (base) 2000 (ja)");
  EXPECT_EQ(kept.failed(), 2);
  EXPECT_EQ(materializer->Stream(plan, unwanted).code(), absl::StatusCode::kCancelled);
  recipe.stacks[0].arithmetic = Arithmetic::kMergekit;
  const MergePlan whole = *MergePlan::Build(recipe, recipe.stacks[0], sources);
  EXPECT_THAT(std::string(materializer->Stream(whole, kept).message()), HasSubstr("merges whole tensors"));
}

TEST(MaterializerTest, TheArenaIsReusedAndKeepsNothingOfTheLastCandidate) {
  const auto sources = TwoModels({1, 2, 3}, {2, 4, 6});
  auto materializer = *Materializer::Create(sources, {});
  auto arena = *Arena::Create(sources->layout());
  const std::byte* place = arena->data(0);
  for (const double weight : {0.0, 1.0, 0.5, 1.0}) {
    const Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", weight}}});
    ASSERT_TRUE(materializer->Run(*MergePlan::Build(recipe, recipe.stacks[0], sources), *arena).ok());
    const float w = static_cast<float>(weight);
    EXPECT_EQ(ArenaValues(*arena, 0), (Values{1 + w, 2 + 2 * w, 3 + 3 * w}));
  }
  EXPECT_EQ(arena->data(0), place);
}

TEST(MaterializerTest, OneMaterializerServesPlansOfEveryMethodInAnyOrder) {
  const int64_t n = 200'000;  // several chunks
  const Values base = Gaussian(n, 1);
  const auto sources = TwoModels(base, Gaussian(n, 2, 0.1f, base));
  auto shared = *Materializer::Create(sources, {.threads = 3});
  auto arena = *Arena::Create(sources->layout());
  for (int round = 0; round < 2; ++round) {
    for (const std::string method : {"dare_ties", "ties", "task_arithmetic", "della", "slerp", "breadcrumbs", "ramplus_tl",
                                     "dare_linear", "arcee_fusion", "sce", "ties"}) {
      const MethodSpec& spec = FindMergeMethod(method)->spec();
      std::map<std::string, double> own, whole;
      if (spec.Find("weight") != nullptr) own["weight"] = 0.7;
      if (spec.Find("density") != nullptr) own["density"] = 0.4 + 0.1 * round;
      if (spec.Find("t") != nullptr) whole["t"] = 0.2 + 0.1 * round;
      if (method == "ramplus_tl") whole["epsilon"] = 0.05 + 0.1 * round;
      const Recipe recipe = OneGroup(method, "base", {"ja"}, {own}, whole);
      ASSERT_TRUE(shared->Run(*MergePlan::Build(recipe, recipe.stacks[0], sources), *arena).ok());
      EXPECT_EQ(ArenaValues(*arena, 0), (*MergeAll(recipe, sources))[0]) << method;
    }
  }
}

TEST(MaterializerTest, TiesThresholdsAreExactWithAndWithoutRoomForOrders) {
  const int64_t n = 70'001;
  const Values base = Gaussian(n, 1, 0.02f);
  // Stored as bf16, so that many task vectors' magnitudes are equal.
  const auto sources = TwoModels(base, Gaussian(n, 2, 0.002f, base), DType::kF32, DType::kBF16);
  for (const double density : {0.01, 0.5, 0.93}) {
    const Recipe recipe = OneGroup("ties", "base", {"ja"}, {{{"weight", 1}, {"density", density}}});
    const auto with_order = MergeAll(recipe, sources, {.order_bytes_max = 1 << 20});
    const auto with_histogram = MergeAll(recipe, sources, {.order_bytes_max = 0});
    ASSERT_TRUE(with_order.ok() && with_histogram.ok());
    EXPECT_EQ(*with_order, *with_histogram);
  }
}

TEST(MaterializerTest, DareRescalesToTheL1NormOfTheWholeTaskVector) {
  const int64_t n = 150'000;
  const Values base(n, 0.0f);
  const auto sources = TwoModels(base, Gaussian(n, 2));
  const Recipe recipe = OneGroup("dare_linear", "base", {"ja"}, {{{"weight", 1}, {"density", 0.2}}});
  const Values merged = (*MergeAll(recipe, sources))[0];
  Values source(n);
  LoadBlock(sources->tensor(1, 0), 0, n, source.data());
  double whole = 0, kept = 0;
  int64_t zeros = 0;
  for (int64_t i = 0; i < n; ++i) {
    whole += std::fabs(source[i]);
    kept += std::fabs(merged[i]);
    zeros += merged[i] == 0;
  }
  EXPECT_NEAR(kept / whole, 1, 1e-6);
  EXPECT_NEAR(static_cast<double>(zeros) / n, 0.8, 0.004);  // four sigma
}

TEST(MaterializerTest, DareByDensityDividesWhatItKeeps) {
  const int64_t n = 9'000;
  const auto sources = TwoModels(Values(n, 0.0f), Gaussian(n, 2));
  const std::map<std::string, double> own = {{"weight", 1}, {"density", 0.25}};
  const Values plain = (*MergeAll(OneGroup("dare_ties", "base", {"ja"}, {own}, {{"rescale", 0}}), sources))[0];
  const Values merged = (*MergeAll(OneGroup("dare_ties", "base", {"ja"}, {own}, {{"rescale_by_density", 1}}), sources))[0];
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(merged[i], 4 * plain[i]) << i;
}

TEST(MaterializerTest, DellaByDensityDividesEachElementByItsOwnProbability) {
  const int64_t n = 101;  // one row
  Values source(n);
  for (int64_t i = 0; i < n; ++i) source[i] = static_cast<float>(i + 1);  // its own rank
  const auto sources = TwoModels(Values(n, 0.0f), source);
  const std::map<std::string, double> own = {{"weight", 1}, {"density", 0.5}, {"epsilon", 0.2}};
  const Values merged =
      (*MergeAll(OneGroup("della_linear", "base", {"ja"}, {own}, {{"rescale_by_density", 1}}), sources))[0];
  int kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (merged[i] == 0) continue;
    ++kept;
    EXPECT_NEAR(merged[i], source[i] / (0.3 + 0.4 * static_cast<double>(i) / 100), 1e-4 * source[i]);
  }
  EXPECT_GT(kept, 30);
  EXPECT_LT(kept, 70);
}

TEST(MaterializerTest, DellaKeepsLargeElementsMoreOften) {
  const int64_t n = 200'000;
  Values source(n);
  for (int64_t i = 0; i < n; ++i) source[i] = 1 + static_cast<float>(i) / static_cast<float>(n);
  const auto sources = TwoModels(Values(n, 0.0f), source);
  const Recipe recipe = OneGroup("della", "base", {"ja"}, {{{"density", 0.5}, {"epsilon", 0.4}}});
  const Values merged = (*MergeAll(recipe, sources))[0];
  const auto kept = [&](int64_t from) {
    return n / 10 - std::count(merged.begin() + from, merged.begin() + from + n / 10, 0.0f);
  };
  // Probabilities run from 0.1 to 0.9: 0.14 and 0.86 over the first and the last tenth; five sigma.
  EXPECT_NEAR(static_cast<double>(kept(0)) / (n / 10), 0.14, 0.0123);
  EXPECT_NEAR(static_cast<double>(kept(n - n / 10)) / (n / 10), 0.86, 0.0123);
}

TEST(MaterializerTest, SourcesWithoutAMiddleOnTheSphereAreAnError) {
  const std::vector<NamedTensor> a = {Norm({1, 0})}, b = {Norm({-0.5f, 0.8660254f})}, c = {Norm({-0.5f, -0.8660254f})};
  const auto sources = *MergeSources::Create(
      {{"a", MakeModel(a, DType::kF32)}, {"b", MakeModel(b, DType::kF32)}, {"c", MakeModel(c, DType::kF32)}},
      MakeLayout(a, DType::kF32));
  const auto merged = MergeAll(OneGroup("multislerp", "", {"a", "b", "c"}, {{}, {}, {}}, {{"eps", 1e-6}}), sources);
  EXPECT_EQ(merged.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(merged.status().message(),
            "tensor 'model.norm.weight': the weighted directions of the sources cancel out, so "
            "multislerp has no middle");
}

TEST(MaterializerTest, MergekitsArithmeticRefusesWhatMergekitRefuses) {
  const NamedTensor column{"lm_head.weight", {3, 1}, {1, 2, 3}}, other{"lm_head.weight", {3, 1}, {2, 2, 5}};
  const auto sources =
      *MergeSources::Create({{"base", MakeModel({column}, DType::kF32)}, {"ja", MakeModel({other}, DType::kF32)}},
                            MakeLayout({column}, DType::kF32));
  Recipe recipe = OneGroup("della", "base", {"ja"}, {{{"density", 0.5}}});
  EXPECT_TRUE(MergeAll(recipe, sources).ok());  // a row of one has its density as its probability
  recipe.stacks[0].arithmetic = Arithmetic::kMergekit;
  EXPECT_EQ(MergeAll(recipe, sources).status().message(),
            "tensor 'lm_head.weight': mergekit's della cannot rank rows of one element");
  recipe.stacks[0].settings[0].parameters["rescale_by_density"] = 1;
  EXPECT_THAT(std::string(MergeAll(recipe, sources).status().message()),
              HasSubstr("rescale_by_density is not known to mergekit"));
}

TEST(MaterializerTest, EmptyTensorsAndScalarsMerge) {
  const std::vector<NamedTensor> tensors = {{"model.norm.weight", {0}, {}}, {"lm_head.weight", {}, {4}}};
  const std::vector<NamedTensor> other = {{"model.norm.weight", {0}, {}}, {"lm_head.weight", {}, {8}}};
  const auto sources = *MergeSources::Create(
      {{"base", MakeModel(tensors, DType::kF32)}, {"ja", MakeModel(other, DType::kF32)}}, MakeLayout(tensors, DType::kF32));
  for (const int64_t order_bytes : {0, 1000}) {
    const Recipe recipe = OneGroup("ties", "base", {"ja"}, {{{"density", 0.5}}});
    const auto merged = MergeAll(recipe, sources, {.order_bytes_max = order_bytes});
    ASSERT_TRUE(merged.ok()) << merged.status();
    EXPECT_EQ(*merged, (std::vector<Values>{{}, {8}}));
  }
}

TEST(MaterializerTest, SourcesOfOtherTypesAreConvertedExactly) {
  const NamedTensor norm = Norm({1.5f, -2.0f, 0.25f});
  const auto sources = *MergeSources::Create(
      {{"a", MakeModel({norm}, DType::kF16)}, {"b", MakeModel({norm}, DType::kBF16)}, {"c", MakeModel({norm}, DType::kF32)}},
      MakeLayout({norm}, DType::kBF16));
  for (const std::string name : {"a", "b", "c"}) {
    Recipe recipe = OneGroup("", "", {name}, {{}}, {}, "bfloat16");
    EXPECT_EQ((*MergeAll(recipe, sources))[0], norm.values) << name;
  }
  const Recipe recipe = OneGroup("linear", "", {"a", "b", "c"}, {{}, {}, {}}, {}, "bfloat16");
  EXPECT_EQ((*MergeAll(recipe, sources))[0], norm.values);
}

TEST(MaterializerTest, StopRequestEndsTheRun) {
  const auto sources = TwoModels({1, 2}, {3, 4});
  auto materializer = *Materializer::Create(sources, {});
  auto arena = *Arena::Create(sources->layout());
  std::stop_source stop;
  stop.request_stop();
  for (const std::string method : {"task_arithmetic", "ties", "dare_ties"}) {
    const Recipe recipe = OneGroup(method, "base", {"ja"}, {{}});
    const absl::Status status =
        materializer->Run(*MergePlan::Build(recipe, recipe.stacks[0], sources), *arena, stop.get_token());
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  }
}

TEST(MaterializerTest, PlansAndArenasOfOtherSourcesAreRefused) {
  const auto sources = TwoModels({1, 2}, {3, 4});
  const auto others = TwoModels({1, 2, 3}, {3, 4, 5});
  auto materializer = *Materializer::Create(sources, {});
  auto arena = *Arena::Create(sources->layout());
  auto other_arena = *Arena::Create(others->layout());
  const Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{}});
  const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
  const MergePlan other_plan = *MergePlan::Build(recipe, recipe.stacks[0], others);
  EXPECT_THAT(std::string(materializer->Run(other_plan, *arena).message()), HasSubstr("another materializer"));
  EXPECT_THAT(std::string(materializer->Run(plan, *other_arena).message()), HasSubstr("layout is not that of the sources"));
}

TEST(MaterializerTest, OptionsOutOfRangeAreRefused) {
  const auto sources = TwoModels({1}, {2});
  EXPECT_EQ(Materializer::Create(sources, {.threads = 0}).status().message(), "materializer: threads 0 is not in [1, 1024]");
  EXPECT_THAT(std::string(Materializer::Create(sources, {.block_elements = 100}).status().message()),
              HasSubstr("block_elements 100 is not a multiple of 64 that divides 65536"));
}

}  // namespace
}  // namespace merganser
