#include "worker/checkpoint/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/safetensors_reader.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(SafetensorsWriterTest, WhatItWritesReadsBack) {
  const std::string path = NewFolder() + "/m.safetensors";
  auto writer =
      SafetensorsWriter::Create(path, {{"b \"q\"", DType::kBF16, {2, 1}}, {"a", DType::kU8, {3}}, {"s", DType::kU8, {}}});
  ASSERT_TRUE(writer.ok()) << writer.status();

  ASSERT_TRUE((*writer)->Append(Bytes("abc")).ok());  // not along the tensors' borders
  ASSERT_TRUE((*writer)->Append(Bytes("defgh")).ok());
  ASSERT_TRUE((*writer)->Finish().ok());

  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT((*reader)->Find("b \"q\"")->data, testing::ElementsAreArray(Bytes("abcd")));
  EXPECT_THAT((*reader)->Find("a")->data, testing::ElementsAreArray(Bytes("efg")));
  EXPECT_EQ((*reader)->metadata().at("format"), "pt");
  EXPECT_EQ((*reader)->file_bytes(), (*writer)->file_bytes());
  EXPECT_EQ(((*reader)->file_bytes() - 8) % 8, 0) << "data must start aligned";
}

TEST(SafetensorsWriterTest, UnfinishedFileIsRemoved) {
  const std::string dir = NewFolder();
  { ASSERT_TRUE(SafetensorsWriter::Create(dir + "/m", {{"a", DType::kU8, {3}}}).ok()); }
  EXPECT_THAT(Names(dir), ElementsAre());
}

TEST(SafetensorsWriterTest, TooFewBytesCannotFinish) {
  auto writer = SafetensorsWriter::Create(NewFolder() + "/m", {{"a", DType::kU8, {3}}});
  ASSERT_TRUE((*writer)->Append(Bytes("ab")).ok());
  const absl::Status status = (*writer)->Finish();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the header announces"));
}

TEST(SafetensorsWriterTest, TooManyBytesAreRefused) {
  auto writer = SafetensorsWriter::Create(NewFolder() + "/m", {{"a", DType::kU8, {3}}});
  const absl::Status status = (*writer)->Append(Bytes("abcd"));
  EXPECT_TRUE(absl::IsOutOfRange(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 more bytes, but only 3 are left"));
}

TEST(SafetensorsWriterTest, BadTensorsAreNamed) {
  const std::string path = NewFolder() + "/m";
  const auto message = [&](std::vector<TensorHeader> tensors) {
    return std::string(SafetensorsWriter::Create(path, tensors).status().message());
  };
  EXPECT_THAT(message({{"a", DType::kU8, {1}}, {"a", DType::kU8, {1}}}), HasSubstr("tensor 'a' appears twice"));
  EXPECT_THAT(message({{"__metadata__", DType::kU8, {1}}}), HasSubstr("has a reserved name"));
  EXPECT_THAT(message({{"a", DType::kU8, {-1}}}), HasSubstr("shape [-1] is negative"));
  EXPECT_THAT(message({{"a", DType::kF32, {int64_t{1} << 40, int64_t{1} << 40}}}), HasSubstr("more than 2^62 bytes"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(SafetensorsWriterTest, FileThatCannotFitIsRefusedBeforeWriting) {
  const std::string dir = NewFolder();
  const absl::Status status = SafetensorsWriter::Create(dir + "/m", {{"a", DType::kU8, {int64_t{1} << 60}}}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()),
              testing::ContainsRegex("/m'.*1152921504606847[0-9]+ bytes wanted, [0-9]+ free"));
  EXPECT_THAT(Names(dir), ElementsAre());
}

TEST(SafetensorsWriterTest, FullDiskIsNamedAndTheDeviceStays) {
  const absl::Status status = SafetensorsWriter::Create("/dev/full", {{"a", DType::kU8, {3}}}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write '/dev/full': No space left on device"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("bytes wanted"));
  EXPECT_TRUE(std::filesystem::exists("/dev/full"));
}

TEST(SafetensorsWriterTest, MissingFolderIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(SafetensorsWriter::Create(NewFolder() + "/no/m", {{"a", DType::kU8, {3}}}).status()));
}

}  // namespace
}  // namespace merganser
