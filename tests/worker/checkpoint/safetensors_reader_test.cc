#include "worker/checkpoint/safetensors_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/finite_scan.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<SafetensorsContents> Parse(const std::string& bytes) {
  return ParseSafetensors(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()),
                          "m.safetensors");
}

TEST(SafetensorsReaderTest, GivesTensorsInTheOrderOfTheirData) {
  const std::string path = NewFolder() + "/m.safetensors";
  WriteText(path, SafetensorsBytes(R"({"__metadata__":{"format":"pt"},
      "b":{"dtype":"U8","shape":[2,1],"data_offsets":[4,6]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
      "none":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]}}   )",
                                   std::string("\0\0\x80\x3f\x07\x08", 6)));

  const auto reader = SafetensorsReader::Open(path);

  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ((*reader)->tensors().size(), 3u);
  EXPECT_EQ((*reader)->tensors()[0].name, "a");
  EXPECT_EQ((*reader)->tensors()[0].NumElements(), 1);
  EXPECT_EQ((*reader)->tensors()[1].name, "none");
  EXPECT_TRUE((*reader)->tensors()[1].data.empty());
  EXPECT_THAT((*reader)->tensors()[2].shape, ElementsAre(2, 1));
  EXPECT_THAT((*reader)->Find("b")->data, ElementsAre(std::byte{7}, std::byte{8}));
  EXPECT_EQ((*reader)->Find("c"), nullptr);
  EXPECT_EQ((*reader)->metadata().at("format"), "pt");
}

TEST(SafetensorsReaderTest, MissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(SafetensorsReader::Open(NewFolder() + "/none").status()));
}

TEST(SafetensorsReaderTest, FolderIsRefused) {
  EXPECT_THAT(std::string(SafetensorsReader::Open(NewFolder()).status().message()), HasSubstr("not a regular file"));
}

TEST(SafetensorsReaderTest, EmptyFileIsTruncated) {
  const std::string path = NewFolder() + "/empty";
  WriteText(path, "");
  EXPECT_TRUE(absl::IsDataLoss(SafetensorsReader::Open(path).status()));
}

struct BadFile {
  const char* name;
  std::string bytes;
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class BadFileTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadFileTest, IsRefusedWithAReason) {
  const auto contents = Parse(GetParam().bytes);
  EXPECT_EQ(contents.status().code(), GetParam().code);
  EXPECT_THAT(std::string(contents.status().message()), HasSubstr("'m.safetensors'"));
  EXPECT_THAT(std::string(contents.status().message()), HasSubstr(GetParam().message));
}

std::string One(const char* entry, absl::string_view data) {
  return SafetensorsBytes(absl::StrCat("{\"t\":", entry, "}"), data);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, BadFileTest,
    testing::Values(
        BadFile{"TooShort", "abc", "3 bytes, less than the 8 bytes", absl::StatusCode::kDataLoss},
        BadFile{"LfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"},
        BadFile{"HeaderLongerThanFormatAllows", std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10),
                "header length 100000001 is more than 100000000"},
        BadFile{"HeaderLongerThanFile", std::string("\x09\0\0\0\0\0\0\0{}", 10), "the header takes 9 bytes, 2 are present",
                absl::StatusCode::kDataLoss},
        BadFile{"EmptyHeader", SafetensorsBytes("", ""), "does not start with '{'"},
        BadFile{"LeadingSpace", SafetensorsBytes(" {}", ""), "does not start with '{'"},
        BadFile{"List", SafetensorsBytes("[]", ""), "does not start with '{'"},
        BadFile{"BrokenJson", SafetensorsBytes("{\"t\":", ""), "not valid JSON at byte"},
        BadFile{"SecondValue", SafetensorsBytes("{} {}", ""), "not valid JSON at byte"},
        BadFile{"InvalidUtf8", SafetensorsBytes("{\"\xff\":1}", ""), "not valid JSON at byte"},
        BadFile{"DuplicateTensor",
                SafetensorsBytes(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                 R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                 "ab"),
                "'t' appears twice in the header"},
        BadFile{"DuplicateField", One(R"({"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]})", "a"),
                "tensor 't': field 'dtype' appears twice"},
        BadFile{"DuplicateMetadata", SafetensorsBytes(R"({"__metadata__":{"a":"b","a":"c"}})", ""),
                "metadata key 'a' appears twice"},
        BadFile{"MetadataNumber", SafetensorsBytes(R"({"__metadata__":{"a":1}})", ""),
                "found 1 in the header; expected a string"},
        BadFile{"UnknownField", One(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]})", "a"),
                "tensor 't': unknown field 'strides'"},
        BadFile{"MissingOffsets", One(R"({"dtype":"U8","shape":[1]})", ""), "tensor 't': field 'data_offsets' is missing"},
        BadFile{"TensorIsNumber", One("5", ""), "tensor 't': found 5 in the header; expected an object"},
        BadFile{"UnknownDtype", One(R"({"dtype":"F4","shape":[1],"data_offsets":[0,1]})", "a"),
                "tensor 't': unknown dtype 'F4'"},
        BadFile{"DtypeNumber", One(R"({"dtype":1,"shape":[1],"data_offsets":[0,1]})", "a"), "expected the name of a dtype"},
        BadFile{"NegativeSize", One(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})", "a"),
                "found -1 in the header; expected a size"},
        BadFile{"FractionalSize", One(R"({"dtype":"U8","shape":[1.0],"data_offsets":[0,1]})", "a"), "found 1.0"},
        BadFile{"NestedShape", One(R"({"dtype":"U8","shape":[[1]],"data_offsets":[0,1]})", "a"), "found a list"},
        BadFile{"SizeBeyond63Bits", One(R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]})", "a"),
                "expected a size in [0, 2^63)"},
        BadFile{"ProductOverflows", One(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})", ""),
                "has more than 2^63 bytes"},
        BadFile{"ProductOverflowsBesideZero",
                One(R"({"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]})", ""),
                "has more than 2^63 bytes"},
        BadFile{"ThreeOffsets", One(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1,2]})", "a"), "expected two offsets"},
        BadFile{"OneOffset", One(R"({"dtype":"U8","shape":[1],"data_offsets":[0]})", "a"), "data_offsets has 1 numbers"},
        BadFile{"BackwardOffsets", One(R"({"dtype":"U8","shape":[1],"data_offsets":[1,0]})", "a"),
                "data_offsets [1, 0] do not span the 1 bytes of U8 [1]"},
        BadFile{"SizeDisagrees", One(R"({"dtype":"F16","shape":[2],"data_offsets":[0,2]})", "ab"),
                "data_offsets [0, 2] do not span the 4 bytes of F16 [2]"},
        BadFile{"Gap", One(R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})", "ab"),
                "tensor 't' starts at byte 1 of the data, a gap behind the previous end at 0"},
        BadFile{"Overlap",
                SafetensorsBytes(R"({"s":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                 R"("t":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                                 "abc"),
                "tensor 't' starts at byte 1 of the data, an overlap with the previous end at 2"},
        BadFile{"Truncated", One(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "abcde"),
                "is truncated: its tensors need 8 bytes of data, 5 are present; the first "
                "incomplete one is 't' with 8 "
                "bytes, of which 5 are present",
                absl::StatusCode::kDataLoss},
        BadFile{"TrailingBytes", One(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})", "abc"),
                "2 bytes follow the last tensor"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(FiniteScanTest, FindsFirstNonFiniteOfEachType) {
  const auto scan = [](DType dtype, std::string bytes) {
    TensorView tensor{"t", dtype, {}, {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}};
    return FirstNonFinite(tensor).value_or(-1);
  };
  EXPECT_EQ(scan(DType::kBF16, std::string("\x80\x3f\xc0\x7f", 4)), 1);
  EXPECT_EQ(scan(DType::kBF16, std::string("\x80\x3f\x7f\x7f", 4)),
            -1);  // the largest finite value
  EXPECT_EQ(scan(DType::kF16, std::string("\x00\xfc", 2)), 0);
  EXPECT_EQ(scan(DType::kF16, std::string("\xff\x7b", 2)), -1);
  EXPECT_EQ(scan(DType::kF32, std::string(8192, '\0') + std::string("\0\0\x80\xff", 4)), 2048);
  EXPECT_EQ(scan(DType::kF64, std::string("\0\0\0\0\0\0\xf0\x7f", 8)), 0);
  EXPECT_EQ(scan(DType::kF8E4M3, "\x7e\xff"), 1);
  EXPECT_EQ(scan(DType::kF8E5M2, "\x7b\x7c"), 1);
  EXPECT_EQ(scan(DType::kI32, "\xff\xff\xff\xff"), -1);
}

}  // namespace
}  // namespace merganser
