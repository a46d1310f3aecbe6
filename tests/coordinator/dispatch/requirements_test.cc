#include "coordinator/dispatch/requirements.h"

#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(RequirementsTest, AnyWorkerFitsWhereNothingIsAsked) { EXPECT_EQ(Lacks({.id = "w"}, {}), ""); }

TEST(RequirementsTest, DeviceMemoryAndLabelsAreHardBounds) {
  const WorkerInfo worker{.id = "w", .device = "cuda:3", .memory_bytes = 100, .labels = {{"pool", "a"}, {"site", "x"}}};
  EXPECT_EQ(Lacks(worker, {{.memory_bytes = 100, .device = "cuda", .labels = {{"pool", "a"}}}}), "");
  EXPECT_EQ(Lacks(worker, {{.memory_bytes = 101}}), "memory");
  EXPECT_EQ(Lacks(worker, {{.device = "cpu"}}), "device");
  EXPECT_EQ(Lacks(worker, {{.labels = {{"pool", "b"}}}}), "labels");
  EXPECT_EQ(Lacks(worker, {{.labels = {{"rack", "1"}}}}), "labels");
}

TEST(RequirementsTest, MemoryThatIsNotKnownIsNotEnough) {
  EXPECT_EQ(Lacks({.id = "w"}, {{.memory_bytes = 1}}), "memory");
  const WorkerInfo unknown{.id = "w"};
  EXPECT_EQ(WhyNoneFits({&unknown}, {{.memory_bytes = int64_t{1} << 30}}).message,
            "no worker has 1.0 GiB of device memory; the largest has an unknown amount");
}

TEST(RequirementsTest, TheReasonIsOfTheWorkerThatComesNearest) {
  const WorkerInfo cpu{.id = "a", .device = "cpu"}, small{.id = "b", .device = "cuda:0", .memory_bytes = 1};
  const Needs needed{{.memory_bytes = int64_t{2} << 30, .device = "cuda"}};
  EXPECT_EQ(WhyNoneFits({&cpu}, needed).what, "device");
  EXPECT_EQ(WhyNoneFits({&cpu}, needed).message, "no worker has a device of the kind 'cuda'");
  EXPECT_EQ(WhyNoneFits({&cpu, &small}, needed).what, "memory");
}

TEST(RequirementsTest, AHubIdNeedsAWorkerThatMayUseItsHubCache) {
  const WorkerInfo confined{.id = "a", .hub_cache = false}, free{.id = "b"};
  JobSpec spec;
  spec.models = {{"base", "/models/base"}, {"ja", "org/ja@0123456789012345678901234567890123456789"}};
  EXPECT_EQ(Lacks(confined, NeedsOf(spec)), "hub_cache");
  EXPECT_EQ(Lacks(free, NeedsOf(spec)), "");
  const Unfit why = WhyNoneFits({&confined}, NeedsOf(spec));
  EXPECT_EQ(why.what, "hub_cache");
  EXPECT_EQ(why.message,
            "no worker that could run it may use its Hugging Face cache, where models.ja "
            "(org/ja@0123456789012345678901234567890123456789) would be: --model-root of merganser-worker must include it");
  // One that is held to its content is found wherever that is.
  spec.models[1].path += "@sha256:" + std::string(64, 'a');
  EXPECT_EQ(Lacks(confined, NeedsOf(spec)), "");
}

}  // namespace
}  // namespace merganser
