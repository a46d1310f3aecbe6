// What every merge method promises, over all of AllMergeMethods() and every storage type.
#include <cmath>
#include <string>
#include <tuple>

#include "common/domain/merge_method_spec.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"
#include "worker/merge/merge_method.h"

namespace merganser {
namespace {

using testing_merge::Gaussian;
using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::MergeAll;
using testing_merge::NamedTensor;
using testing_merge::OneGroup;
using testing_merge::Values;
using Parameters = std::map<std::string, double>;

constexpr DType kStored[] = {DType::kBF16, DType::kF16, DType::kF32};

class MergeMethodContractTest : public ::testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  std::string method() const { return std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  const MethodSpec& spec() const { return *FindMethodSpec(method()); }
  std::string base() const { return spec().base == MethodSpec::Base::kRequired ? "base" : ""; }
  bool Takes(const std::string& parameter) const { return spec().Find(parameter) != nullptr; }
  bool MergesSeveral() const { return spec().sources_max > 1; }
  // "a" and "b", or "a" where the method takes one.
  std::vector<std::string> Names() const {
    return MergesSeveral() ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a"};
  }

  Parameters Source(double weight, double density) const {
    Parameters parameters;
    if (Takes("weight")) parameters["weight"] = weight;
    if (Takes("density")) parameters["density"] = density;
    if (Takes("scale")) parameters["scale"] = weight;
    return parameters;
  }
  std::vector<Parameters> Own(const Parameters& a, const Parameters& b) const {
    return MergesSeveral() ? std::vector<Parameters>{a, b} : std::vector<Parameters>{a};
  }

  // Three tensors: below a block, several blocks, several chunks.
  static std::vector<NamedTensor> Tensors(uint64_t seed, float sigma, const std::vector<NamedTensor>& around = {}) {
    std::vector<NamedTensor> tensors = {{"model.norm.weight", {37}, {}},
                                        {"model.layers.0.mlp.up_proj.weight", {70, 200}, {}},
                                        {"model.embed_tokens.weight", {1001, 150}, {}}};
    for (size_t t = 0; t < tensors.size(); ++t) {
      int64_t count = 1;
      for (const int64_t dim : tensors[t].shape) count *= dim;
      tensors[t].values = Gaussian(count, seed + 100 * t, sigma, around.empty() ? Values{} : around[t].values);
    }
    return tensors;
  }

  enum class Alike { kNone, kSources, kAll };
  std::shared_ptr<const MergeSources> Family(Alike alike = Alike::kNone) const {
    const auto base = Tensors(1, 0.5f);
    const auto a = alike == Alike::kAll ? base : Tensors(2, 0.1f, base);
    const auto b = alike == Alike::kNone ? Tensors(3, 0.1f, base) : a;
    return *MergeSources::Create(
        {{"base", MakeModel(base, dtype())}, {"a", MakeModel(a, dtype())}, {"b", MakeModel(b, dtype())}},
        MakeLayout(base, dtype()));
  }

  std::vector<Values> Stored(const MergeSources& sources, int model) const {
    std::vector<Values> all;
    for (size_t t = 0; t < sources.layout().tensors().size(); ++t) {
      const FloatTensor& tensor = sources.tensor(model, static_cast<int>(t));
      all.emplace_back(tensor.count);
      LoadBlock(tensor, 0, tensor.count, all.back().data());
    }
    return all;
  }

  std::vector<Values> Merge(const std::shared_ptr<const MergeSources>& sources, const std::vector<std::string>& names,
                            const std::vector<Parameters>& own, const MaterializerOptions& options = {},
                            Parameters whole = {}) const {
    if (Takes("t")) whole.emplace("t", 0.35);
    if (Takes("select_topk")) whole.emplace("select_topk", 0.6);
    const auto merged =
        MergeAll(OneGroup(method(), base(), names, own, whole, std::string(ConfigName(dtype()))), sources, options);
    EXPECT_TRUE(merged.ok()) << merged.status();
    return merged.ok() ? *merged : std::vector<Values>{};
  }

  // Half a unit in the last place of the storage type, plus a few roundings in fp32.
  double Tolerance(float value) const {
    const double unit = dtype() == DType::kBF16 ? 0x1p-8 : dtype() == DType::kF16 ? 0x1p-11 : 0;
    return (unit + 4e-7) * std::max(1.0f, std::fabs(value));
  }
};

TEST_P(MergeMethodContractTest, IdenticalSourcesGiveThatSource) {
  if (!MergesSeveral()) GTEST_SKIP() << method() << " takes one source";
  const auto sources = Family(Alike::kSources);
  // sce selects where sources differ, so here nothing: its contract is with all elements.
  Parameters whole;
  if (Takes("select_topk")) whole["select_topk"] = 1;
  // ram leaves smaller changes than its epsilon out.
  if (method().starts_with("ram")) whole["epsilon"] = 0;
  const auto merged = Merge(sources, {"a", "b"}, {Source(0.5, 1), Source(0.5, 1)}, {}, whole);
  const auto want = Stored(*sources, sources->IndexOf("a"));
  for (size_t t = 0; t < want.size(); ++t) {
    for (size_t i = 0; i < want[t].size(); ++i)
      ASSERT_NEAR(merged[t][i], want[t][i], Tolerance(want[t][i])) << t << ":" << i;
  }
}

TEST_P(MergeMethodContractTest, IdenticalModelsGiveThatModel) {
  const auto sources = Family(Alike::kAll);
  const double weight = MergesSeveral() ? 0.5 : 1;
  const auto merged = Merge(sources, Names(), Own(Source(weight, 1), Source(weight, 1)));
  const auto want = Stored(*sources, 0);
  for (size_t t = 0; t < want.size(); ++t) {
    for (size_t i = 0; i < want[t].size(); ++i)
      ASSERT_NEAR(merged[t][i], want[t][i], Tolerance(want[t][i])) << t << ":" << i;
  }
}

TEST_P(MergeMethodContractTest, ZeroWeightsGiveTheBaseBitForBit) {
  if (base().empty() || !Takes("weight")) GTEST_SKIP() << method() << " has no base or no weight";
  const auto sources = Family();
  EXPECT_EQ(Merge(sources, {"a", "b"}, {Source(0, 0.5), Source(0, 0.7)}), Stored(*sources, sources->IndexOf("base")));
}

TEST_P(MergeMethodContractTest, DensityZeroGivesTheBaseBitForBit) {
  if (!Takes("density")) GTEST_SKIP() << method() << " has no density";
  const auto sources = Family();
  EXPECT_EQ(Merge(sources, {"a", "b"}, {Source(1, 0), Source(1, 0)}), Stored(*sources, sources->IndexOf("base")));
}

TEST_P(MergeMethodContractTest, TwoSourcesMayChangePlacesWithTheirParameters) {
  if (!MergesSeveral()) GTEST_SKIP() << method() << " takes one source";
  const auto sources = Family();
  const auto merged = Merge(sources, {"a", "b"}, {Source(0.6, 0.4), Source(0.3, 0.8)});
  const auto swapped = Merge(sources, {"b", "a"}, {Source(0.3, 0.8), Source(0.6, 0.4)});
  if (FindMergeMethod(method())->statistic() != MergeMethod::Statistic::kProducts) {
    // With two sources every sum has two terms, so even the bits agree; masks follow the model's name, not its place.
    EXPECT_EQ(merged, swapped);
    return;
  }
  // Coefficients on a sphere come from angles: t and 1 - t are rounded apart.
  for (size_t t = 0; t < merged.size(); ++t) {
    for (size_t i = 0; i < merged[t].size(); ++i)
      ASSERT_NEAR(merged[t][i], swapped[t][i], 2 * Tolerance(merged[t][i])) << t << ":" << i;
  }
}

TEST_P(MergeMethodContractTest, ParametersBelongToTheirSource) {
  if (!MergesSeveral() || !Takes("weight")) GTEST_SKIP() << method() << " has no parameters per source";
  const auto sources = Family();
  EXPECT_NE(Merge(sources, {"a", "b"}, {Source(0.6, 0.4), Source(0.3, 0.8)}),
            Merge(sources, {"b", "a"}, {Source(0.6, 0.4), Source(0.3, 0.8)}));
}

TEST_P(MergeMethodContractTest, BlocksAndThreadsDoNotChangeABit) {
  const auto sources = Family();
  const std::vector<Parameters> own = Own(Source(0.6, 0.37), Source(-0.3, 0.81));
  const auto want = Merge(sources, Names(), own, {.threads = 1});
  EXPECT_EQ(Merge(sources, Names(), own, {.threads = 4}), want);
  EXPECT_EQ(Merge(sources, Names(), own, {.threads = 2, .block_elements = 64}), want);
  EXPECT_EQ(Merge(sources, Names(), own, {.threads = 3, .block_elements = 65536, .order_bytes_max = 0}), want);
}

TEST_P(MergeMethodContractTest, LambdaZeroGivesTheBase) {
  if (!Takes("lambda")) GTEST_SKIP() << method() << " has no lambda";
  const auto sources = Family();
  EXPECT_EQ(Merge(sources, {"a", "b"}, {Source(1, 0.5), Source(1, 0.5)}, {}, {{"lambda", 0}}),
            Stored(*sources, sources->IndexOf("base")));
}

TEST_P(MergeMethodContractTest, StoredResultIsTheRoundedFp32Result) {
  const auto sources = Family();
  const std::vector<Parameters> own = Own(Source(0.6, 0.37), Source(0.3, 0.81));
  const auto merged = Merge(sources, Names(), own);
  std::map<std::string, MergeSources::Model> models;
  for (const std::string& name : sources->names()) {
    std::vector<NamedTensor> tensors = Tensors(1, 1);
    const auto stored = Stored(*sources, sources->IndexOf(name));
    for (size_t t = 0; t < tensors.size(); ++t) tensors[t].values = stored[t];
    models[name] = MakeModel(tensors, DType::kF32);
  }
  const auto wide = *MergeSources::Create(models, MakeLayout(Tensors(1, 1), DType::kF32));
  Parameters whole;
  if (Takes("t")) whole["t"] = 0.35;
  if (Takes("select_topk")) whole["select_topk"] = 0.6;
  const auto exact = MergeAll(OneGroup(method(), base(), Names(), own, whole), wide);
  ASSERT_TRUE(exact.ok()) << exact.status();
  for (size_t t = 0; t < exact->size(); ++t) {
    const int64_t count = static_cast<int64_t>((*exact)[t].size());
    std::vector<std::byte> bytes(count * SizeOf(dtype()));
    StoreBlock(dtype(), (*exact)[t].data(), count, bytes.data());
    Values rounded(count);
    LoadBlock({dtype(), bytes.data(), count}, 0, count, rounded.data());
    EXPECT_EQ(merged[t], rounded) << t;
  }
}

std::vector<std::string> MethodNames() {
  std::vector<std::string> names;
  for (const MergeMethod* method : AllMergeMethods()) names.emplace_back(method->name());
  return names;
}

INSTANTIATE_TEST_SUITE_P(AllMethods, MergeMethodContractTest,
                         ::testing::Combine(::testing::ValuesIn(MethodNames()), ::testing::ValuesIn(kStored)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::string(Name(std::get<1>(info.param)));
                         });

TEST(MergeMethodRegistryTest, HasExactlyTheMethodsThatJobsMayName) {
  std::vector<std::string> known;
  for (const MethodSpec& method : AllMethodSpecs()) known.push_back(method.name);
  EXPECT_EQ(MethodNames(), known);
  EXPECT_EQ(FindMergeMethod("nothing"), nullptr);
}

}  // namespace
}  // namespace merganser
