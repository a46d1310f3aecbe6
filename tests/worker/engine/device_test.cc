#include "worker/engine/device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

using testing::HasSubstr;

TEST(DeviceTest, NamesAreParsed) {
  EXPECT_EQ(ParseDevice("cpu")->str(), "cpu");
  EXPECT_EQ(ParseDevice("cuda")->str(), "cuda:0");
  EXPECT_EQ(ParseDevice("cuda:3")->str(), "cuda:3");
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:999", "CPU"}) {
    EXPECT_EQ(ParseDevice(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(DeviceTest, AbsentCudaDeviceIsAPreconditionThatSaysWhatIsMissing) {
  const absl::Status status = PrepareDevice(c10::Device(c10::kCUDA, 127));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              testing::AnyOf(HasSubstr("this libtorch cannot use CUDA devices"), HasSubstr("no CUDA device is visible"),
                             HasSubstr("device cuda:127 does not exist")));
}

// Here as on a GPU: what libtorch_cuda.so is asked for needs no device, and what was computed on the CPU before changes
// nothing.
TEST(DeviceTest, CudaIsFoundByWhatWasLoadedLateAndItsProductsAreExact) {
  at::matmul(at::ones({2, 2}), at::ones({2, 2}));
  const absl::Status status = PrepareDevice(c10::Device(c10::kCUDA, 0));
  if (absl::StrContains(status.message(), ".so: ")) GTEST_SKIP() << status;  // no such library beside libtorch_cpu.so
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("before libtorch_cuda.so was loaded")));
  EXPECT_TRUE(at::detail::getCUDAHooks().hasCUDART());
  const at::Context& context = at::globalContext();
  EXPECT_EQ(context.float32MatmulPrecision(), at::Float32MatmulPrecision::HIGHEST);
  EXPECT_EQ(context.allowBF16ReductionCuBLAS(), at::CuBLASReductionOption::DisallowReducedPrecisionDisallowSplitK);
  EXPECT_EQ(context.allowFP16ReductionCuBLAS(), at::CuBLASReductionOption::DisallowReducedPrecisionDisallowSplitK);
}

TEST(TorchStatusTest, ExceptionsBecomeStatusesByKind) {
  const auto code = [](auto thrower) { return CatchTorch("adding", thrower).code(); };
  EXPECT_EQ(code([] { TORCH_CHECK_INDEX(false, "index"); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([] { TORCH_CHECK_VALUE(false, "value"); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([] { TORCH_CHECK_TYPE(false, "type"); }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([] { TORCH_CHECK_NOT_IMPLEMENTED(false, "later"); }), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(code([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "full"); }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([] { throw std::bad_alloc(); }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([] { throw std::runtime_error("other"); }), absl::StatusCode::kInternal);
  EXPECT_EQ(code([] {}), absl::StatusCode::kOk);
}

TEST(TorchStatusTest, WantOfMemoryIsToldFromAFault) {
  const auto code = [](const char* message) { return CatchTorch("adding", [&] { TORCH_CHECK(false, message); }).code(); };
  EXPECT_EQ(code("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("CUDA error: an illegal memory access was encountered"), absl::StatusCode::kInternal);
}

TEST(TorchStatusTest, MessageHasTheContextAndNoBacktrace) {
  const absl::Status status = CatchTorch("adding", [] { at::zeros({2, 3}).add_(at::zeros({4, 5})); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("adding: The size of tensor a"));
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("frame #")));
}

}  // namespace
}  // namespace merganser
