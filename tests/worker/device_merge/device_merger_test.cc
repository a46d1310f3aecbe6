// The device's merge on the CPU device (and on a GPU, where there is one), by the same ATen operations, against the merge in
// worker/merge.
#include "worker/device_merge/device_merger.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"
#include "worker/engine/device.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using testing_merge::Gaussian;
using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::NamedTensor;
using testing_merge::OneGroup;
using testing_merge::Values;
using Parameters = std::map<std::string, double>;

std::vector<NamedTensor> Tensors(uint64_t seed, float sigma, const std::vector<NamedTensor>& around = {}) {
  std::vector<NamedTensor> tensors = {{"model.embed_tokens.weight", {40, 33}, {}},
                                      {"model.layers.0.mlp.up_proj.weight", {70, 1000}, {}},
                                      {"model.norm.weight", {7}, {}}};
  for (size_t t = 0; t < tensors.size(); ++t) {
    int64_t count = 1;
    for (const int64_t size : tensors[t].shape) count *= size;
    tensors[t].values = Gaussian(count, seed + t, sigma, around.empty() ? Values{} : around[t].values);
    // Task vectors of 0, and equal ones.
    for (int64_t i = 0; i < count && !around.empty(); i += 5)
      tensors[t].values[i] = around[t].values[i] + (i % 2 ? 0.25f : 0.0f);
  }
  return tensors;
}

std::shared_ptr<const MergeSources> Sources(DType stored, DType merged) {
  const std::vector<NamedTensor> base = Tensors(1, 1);
  return *MergeSources::Create({{"base", MakeModel(base, stored)},
                                {"a", MakeModel(Tensors(11, 0.2f, base), stored)},
                                {"b", MakeModel(Tensors(21, 0.2f, base), stored)}},
                               MakeLayout(base, merged));
}

// Of the base and both sources.
int64_t SourceBytes(const MergeSources& sources, int models) {
  int64_t bytes = 0;
  for (size_t t = 0; t < sources.layout().tensors().size(); ++t) {
    for (int m = 0; m < models; ++m)
      bytes += sources.tensor(m, static_cast<int>(t)).count * SizeOf(sources.tensor(m, static_cast<int>(t)).dtype);
  }
  return bytes;
}

void ExpectSameBytes(const DeviceArena& device, const Arena& cpu, const std::string& what) {
  for (size_t t = 0; t < cpu.layout().tensors().size(); ++t) {
    const int64_t bytes = cpu.layout().tensors()[t].NumBytes();
    const at::Tensor host = device.tensor(static_cast<int>(t)).to(at::kCPU);
    const auto* have = static_cast<const std::byte*>(host.const_data_ptr());
    const std::byte* want = cpu.data(static_cast<int>(t));
    EXPECT_EQ(std::mismatch(have, have + bytes, want).first - have, bytes) << what << ", " << cpu.layout().tensors()[t].name;
  }
}

struct Method {
  std::string name;
  std::string method;
  std::vector<Parameters> own;
  Parameters whole;
};

class DeviceMergerTest : public ::testing::TestWithParam<Method> {};

Recipe RecipeOf(const Method& m, const std::string& dtype) {
  const MethodSpec& spec = *FindMethodSpec(m.method);
  const bool base = spec.base == MethodSpec::Base::kRequired;
  return OneGroup(m.method, base ? "base" : "",
                  m.own.size() == 1 ? std::vector<std::string>{"a"} : std::vector<std::string>{"a", "b"}, m.own, m.whole,
                  dtype);
}

const std::vector<Method>& Methods() {
  static const auto* const methods = new std::vector<Method>{
      Method{"linear", "linear", {{{"weight", 0.7}}, {{"weight", 0.4}}}, {}},
      Method{"linear_not_normalized", "linear", {{{"weight", 0.7}}, {{"weight", -0.4}}}, {{"normalize", 0}}},
      Method{
          "task_arithmetic", "task_arithmetic", {{{"weight", 0.7}}, {{"weight", 0.4}}}, {{"lambda", 1.3}, {"normalize", 1}}},
      Method{"ties", "ties", {{{"weight", 0.7}, {"density", 0.3}}, {{"weight", 0.4}, {"density", 0.61}}}, {}},
      Method{"ties_rescaled",
             "ties",
             {{{"weight", 0.7}, {"density", 0.3}}, {{"weight", -0.4}}},
             {{"rescale", 1}, {"normalize", 0}}},
      Method{"breadcrumbs", "breadcrumbs", {{{"density", 0.5}, {"gamma", 0.1}}, {{"density", 0.9}}}, {}},
      Method{"breadcrumbs_ties", "breadcrumbs_ties", {{{"density", 0.5}, {"gamma", 0.1}}, {{"density", 0.9}}}, {}},
      Method{"dare_linear", "dare_linear", {{{"density", 0.3}}, {{"density", 0.8}}}, {{"rescale_by_density", 1}}},
      Method{"dare_ties", "dare_ties", {{{"density", 0.3}}, {{"weight", 0.2}, {"density", 0.8}}}, {}},
      Method{"della", "della", {{{"density", 0.5}}, {{"weight", 0.2}, {"density", 0.4}}}, {}},
      Method{"della_by_density", "della_linear", {{{"density", 0.5}}, {{"density", 0.4}}}, {{"rescale_by_density", 1}}},
      Method{"slerp", "slerp", {{}}, {{"t", 0.35}}},
      Method{"multislerp", "multislerp", {{{"weight", 0.7}}, {{"weight", 0.4}}}, {}},
      Method{"karcher", "karcher", {{}, {}}, {}},
      Method{"model_stock", "model_stock", {{}, {}}, {}},
      Method{"model_stock_by_rows", "model_stock", {{}, {}}, {{"filter_wise", 1}}},
      Method{"sce", "sce", {{}, {}}, {{"select_topk", 0.5}}},
      Method{"nearswap", "nearswap", {{}}, {{"t", 0.1}}}};
  return *methods;
}

// Whatever stays on the device, in every type.
void ExpectBitsOfTheCpu(const Method& method, const std::string& device_name) {
  for (const auto& [stored, merged, name] :
       {std::tuple{DType::kBF16, DType::kBF16, "bfloat16"}, std::tuple{DType::kF32, DType::kF32, "float32"},
        std::tuple{DType::kF16, DType::kF16, "float16"}}) {
    const auto sources = Sources(stored, merged);
    auto materializer = *Materializer::Create(sources, {});
    const Recipe recipe = RecipeOf(method, name);
    const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
    const auto cpu = *Arena::Create(sources->layout());
    ASSERT_TRUE(materializer->Run(plan, *cpu).ok());
    for (const int64_t resident : {int64_t{0}, SourceBytes(*sources, 3) / 2, SourceBytes(*sources, 3)}) {
      auto merger = *DeviceMerger::Create(*materializer,
                                          {.device = device_name, .resident_bytes_max = resident, .chunk_elements = 8192});
      EXPECT_LE(merger->resident_bytes(), resident);
      const auto device = *DeviceArena::Create(sources->layout(), device_name);
      const absl::Status status = merger->Run(plan, *device);
      ASSERT_TRUE(status.ok()) << status;
      ExpectSameBytes(*device, *cpu,
                      method.name + ", " + std::string(name) + ", " + std::to_string(resident) + " bytes resident");
    }
  }
}

TEST_P(DeviceMergerTest, GivesTheBitsOfTheCpu) { ExpectBitsOfTheCpu(GetParam(), "cpu"); }

INSTANTIATE_TEST_SUITE_P(Methods, DeviceMergerTest, ::testing::ValuesIn(Methods()),
                         [](const auto& info) { return info.param.name; });

TEST(DeviceMergerGpuTest, GivesTheBitsOfTheCpu) {
  if (const absl::Status device = PrepareDevice(c10::Device(c10::kCUDA, 0)); !device.ok()) GTEST_SKIP() << device;
  for (const Method& method : Methods()) ExpectBitsOfTheCpu(method, "cuda:0");
}

TEST(DeviceMergerTrafficTest, OnlyWhatDoesNotStayStreams) {
  const auto sources = Sources(DType::kBF16, DType::kBF16);
  auto materializer = *Materializer::Create(sources, {});
  const Recipe recipe = RecipeOf({"", "ties", {{{"density", 0.5}}, {{"density", 0.5}}}, {}}, "bfloat16");
  const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
  const auto device = *DeviceArena::Create(sources->layout(), "cpu");
  const int64_t all = SourceBytes(*sources, 3);
  for (const int64_t resident : {int64_t{0}, all / 2, all}) {
    auto merger = *DeviceMerger::Create(*materializer, {.resident_bytes_max = resident, .chunk_elements = 8192});
    for (int run = 0; run < 2; ++run) {
      ASSERT_TRUE(merger->Run(plan, *device).ok());
      EXPECT_EQ(merger->traffic().needed, all + all / 3);
      EXPECT_EQ(merger->traffic().host_to_device, all - merger->resident_bytes());
    }
  }
}

TEST(DeviceMergerTrafficTest, MasksAndWhatTheCpuMergesAreCounted) {
  const auto sources = Sources(DType::kBF16, DType::kBF16);
  auto materializer = *Materializer::Create(sources, {});
  const auto device = *DeviceArena::Create(sources->layout(), "cpu");
  const int64_t all = SourceBytes(*sources, 3);
  auto merger = *DeviceMerger::Create(*materializer, {.resident_bytes_max = all, .chunk_elements = 8192});
  const auto traffic = [&](const Method& method) {
    const Recipe recipe = RecipeOf(method, "bfloat16");
    EXPECT_TRUE(merger->Run(*MergePlan::Build(recipe, recipe.stacks[0], sources), *device).ok());
    return merger->traffic().host_to_device;
  };
  int64_t mask = 0;
  for (const ArenaTensor& tensor : sources->layout().tensors()) {
    for (int64_t first = 0; first < tensor.NumElements(); first += 8192)
      mask += (std::min<int64_t>(8192, tensor.NumElements() - first) + 7) / 8;
  }
  EXPECT_EQ(traffic({"", "dare_ties", {{{"density", 0.5}}, {{"density", 0.5}}}, {}}), 2 * mask);
  EXPECT_EQ(traffic({"", "ram", {{}, {}}, {}}), all / 3);
}

TEST(DeviceMergerErrorsTest, ResultsBeyondTheTypeAreNamedAsByTheCpu) {
  const std::vector<NamedTensor> large = {{"model.norm.weight", {3}, {1, 60000, 2}}};
  const auto sources = *MergeSources::Create({{"a", MakeModel(large, DType::kF16)}, {"b", MakeModel(large, DType::kF16)}},
                                             MakeLayout(large, DType::kF16));
  auto materializer = *Materializer::Create(sources, {});
  auto merger = *DeviceMerger::Create(*materializer, {});
  const Recipe recipe =
      OneGroup("linear", "", {"a", "b"}, {{{"weight", 1}}, {{"weight", 1}}}, {{"normalize", 0}}, "float16");
  const MergePlan plan = *MergePlan::Build(recipe, recipe.stacks[0], sources);
  const auto cpu = *Arena::Create(sources->layout());
  const auto device = *DeviceArena::Create(sources->layout(), "cpu");
  const absl::Status status = merger->Run(plan, *device);
  EXPECT_EQ(status, materializer->Run(plan, *cpu));
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.norm.weight"));
}

TEST(DeviceMergerErrorsTest, OptionsOutOfRangeAreRefused) {
  auto materializer = *Materializer::Create(Sources(DType::kBF16, DType::kBF16), {});
  const auto refusal = [&](const DeviceMergeOptions& options) {
    return std::string(DeviceMerger::Create(*materializer, options).status().message());
  };
  EXPECT_THAT(refusal({.chunk_elements = 12}), HasSubstr("chunk_elements 12"));
  EXPECT_THAT(refusal({.resident_bytes_max = -1}), HasSubstr("resident_bytes_max -1"));
  EXPECT_THAT(refusal({.device = "gpu"}), HasSubstr("gpu"));
}

TEST(DeviceMergerErrorsTest, AStopEndsTheMerge) {
  const auto sources = Sources(DType::kBF16, DType::kBF16);
  auto materializer = *Materializer::Create(sources, {});
  auto merger = *DeviceMerger::Create(*materializer, {});
  const Recipe recipe = RecipeOf({"", "linear", {{}, {}}, {}}, "bfloat16");
  const auto device = *DeviceArena::Create(sources->layout(), "cpu");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(
      absl::IsCancelled(merger->Run(*MergePlan::Build(recipe, recipe.stacks[0], sources), *device, stop.get_token())));
}

}  // namespace
}  // namespace merganser
