#include "worker/checkpoint/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace merganser {
namespace {

using testing::HasSubstr;

TEST(DTypeTest, EveryNameReadsBackInBothSpellings) {
  for (int i = 0; i <= static_cast<int>(DType::kBool); ++i) {
    const DType dtype = static_cast<DType>(i);
    EXPECT_EQ(*ParseDType(Name(dtype)), dtype);
    EXPECT_EQ(*ParseConfigDType(ConfigName(dtype)), dtype);
  }
}

TEST(DTypeTest, ConfigNamesMayCarryTorchPrefix) {
  EXPECT_EQ(*ParseConfigDType("torch.bfloat16"), DType::kBF16);
  EXPECT_EQ(*ParseConfigDType("float16"), DType::kF16);
}

TEST(DTypeTest, SizesAreThoseOfTheFormat) {
  EXPECT_EQ(SizeOf(DType::kF64), 8);
  EXPECT_EQ(SizeOf(DType::kF32), 4);
  EXPECT_EQ(SizeOf(DType::kBF16), 2);
  EXPECT_EQ(SizeOf(DType::kF8E4M3), 1);
  EXPECT_EQ(SizeOf(DType::kBool), 1);
}

TEST(DTypeTest, UnknownNameListsKnownOnes) {
  EXPECT_THAT(std::string(ParseDType("bf16").status().message()), HasSubstr("unknown dtype 'bf16' (known: F64, F32"));
  EXPECT_THAT(std::string(ParseConfigDType("half").status().message()), HasSubstr("float16, bfloat16"));
}

}  // namespace
}  // namespace merganser
