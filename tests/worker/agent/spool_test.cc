#include "worker/agent/spool.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() : dir_(absl::StrCat(testing::TempDir(), "/spool-test-", RandomToken())) {}
  ~SpoolTest() override { std::filesystem::remove_all(dir_); }
  const std::string dir_;
};

TEST_F(SpoolTest, SaysBeforeItIsNeededThatItCannotWrite) {
  EXPECT_EQ(Spool(dir_, 1000).Probe(), absl::OkStatus());
  EXPECT_TRUE(std::filesystem::is_empty(dir_)) << "a probe leaves nothing";
  EXPECT_EQ(Spool("", 1000).Probe(), absl::OkStatus());
  std::ofstream(dir_ + "/file") << "not a folder";
  const absl::Status status = Spool(dir_ + "/file/spool", 1000).Probe();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr(dir_ + "/file/spool"));
}

TEST_F(SpoolTest, KeepsRecordsAcrossProcesses) {
  {
    Spool spool(dir_, 1000);
    ASSERT_EQ(spool.Put("key/../a", "one"), absl::OkStatus());
    ASSERT_EQ(spool.Put("b", "two"), absl::OkStatus());
    ASSERT_EQ(spool.Put("b", "two"), absl::OkStatus());
    EXPECT_EQ(spool.count(), 2);
    EXPECT_EQ(spool.bytes(), 6);
    EXPECT_EQ(*spool.Get("key/../a"), "one");
  }
  std::ofstream(dir_ + "/unrelated.txt") << "not a record";
  Spool again(dir_, 1000);
  EXPECT_THAT(again.LoadAll(), UnorderedElementsAre("one", "two"));
  again.Remove("b");
  again.Remove("b");
  EXPECT_EQ(again.count(), 1);
  EXPECT_EQ(again.bytes(), 3);
  EXPECT_EQ(again.Get("b").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SpoolTest, IsBounded) {
  Spool spool(dir_, 10);
  ASSERT_EQ(spool.Put("a", "12345678"), absl::OkStatus());
  const absl::Status full = spool.Put("b", "123");
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("holds 8 bytes; 3 more would pass 10"));
  spool.Remove("a");
  EXPECT_EQ(spool.Put("b", "123"), absl::OkStatus());
}

TEST_F(SpoolTest, WithoutAFolderThereIsNone) {
  Spool spool("", 10);
  EXPECT_EQ(spool.Put("a", "1").code(), absl::StatusCode::kFailedPrecondition);
  spool.Remove("a");
  EXPECT_TRUE(spool.LoadAll().empty());
}

}  // namespace
}  // namespace merganser
