#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/rng.h"
#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

// Known answers of the Random123 distribution (kat_vectors): philox4x32-10.
TEST(PhiloxTest, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox4x32(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32(~0ull, ~0ull, ~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x0370734413198a2eull),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RngTest, SkippingContinuesAsDrawingDoes) {
  Rng drawn(7, 3);
  for (int i = 0; i < 1001; ++i) drawn.Normal();
  Rng skipped(7, 3);
  skipped.SkipTo(drawn.position());
  EXPECT_EQ(drawn.NextU64(), skipped.NextU64());
}

TEST(RngTest, NormalHasMeanZeroAndVarianceOne) {
  Rng rng(1, 0);
  double sum = 0, squares = 0;
  constexpr int n = 100'000;
  for (int i = 0; i < n; ++i) {
    const double x = rng.Normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2.0 / n));
}

TEST(ClosestNameTest, FindsTheTypo) {
  EXPECT_EQ(ClosestName("granularty", {"method", "granularity", "bounds"}), "granularity");
  EXPECT_EQ(ClosestName("xyz", {"method", "granularity"}), "");
  EXPECT_EQ(ClosestName("tise", {"linear", "ties"}), "ties") << "letters that changed places are one mistake";
  EXPECT_EQ(ClosestName("list", {"best", "jobs"}), "") << "half of a short word is another word";
  EXPECT_THAT(DidYouMean("metod", {"method", "base"}), HasSubstr("did you mean 'method'?"));
  EXPECT_THAT(DidYouMean("qqqqqq", {"method", "base"}), HasSubstr("method, base"));
}

TEST(Sha256Test, KnownAnswer) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, TokensDiffer) {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) tokens.insert(RandomToken());
  EXPECT_EQ(tokens.size(), 100u);
  EXPECT_EQ(tokens.begin()->size(), 32u);
}

class FilesTest : public testing::Test {
 protected:
  const std::string path_ = testing::TempDir() + "/mg_files_" + std::to_string(getpid());
  void TearDown() override { std::filesystem::remove(path_); }
};

TEST_F(FilesTest, WritesWholeFilesAndReadsThemBack) {
  ASSERT_TRUE(WriteFileAtomically(path_, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path_, std::string("t\0wo", 4)).ok());
  EXPECT_EQ(*ReadFile(path_), std::string("t\0wo", 4));
}

TEST_F(FilesTest, NamesWhatIsMissingOrTooLarge) {
  EXPECT_EQ(ReadFile(path_).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(path_, "12345").ok());
  const absl::Status status = ReadFile(path_, 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  EXPECT_EQ(WriteFileAtomically("/nowhere/at/all", "x").code(), absl::StatusCode::kNotFound);
}

TEST_F(FilesTest, ReadsAPipeToItsEnd) {
  const std::string bytes(200'000, 'x');
  for (const int64_t most : {int64_t{200'000}, int64_t{199'999}}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::thread writer([&] {
      EXPECT_EQ(write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
      close(ends[1]);
    });
    const absl::StatusOr<std::string> read = ReadFile("/dev/fd/" + std::to_string(ends[0]), most);
    writer.join();
    close(ends[0]);
    EXPECT_EQ(read.ok(), most == 200'000) << read.status();
    if (read.ok()) EXPECT_EQ(*read, bytes);
  }
}

TEST_F(FilesTest, FullDiskIsResourceExhausted) {
  EXPECT_EQ(ErrnoStatus(ENOSPC, "write", "/x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(ErrnoStatus(ENOSPC, "write", "/x").message()), HasSubstr("/x"));
}

}  // namespace
}  // namespace merganser
