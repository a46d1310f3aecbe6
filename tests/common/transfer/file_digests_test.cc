#include "common/transfer/file_digests.h"

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "common/base/sha256.h"
#include "common/transfer/file_fetch.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

class FileDigestsTest : public testing::Test {
 protected:
  const std::string dir_ = testing_support::FreshDir("file_digests"), path_ = dir_ + "/f";
  FileDigests digests_;
  std::atomic<int> pieces_ = 0;  // that were read
  const std::function<bool()> count_ = [this] { return ++pieces_ < 0; };
};

TEST_F(FileDigestsTest, SumsAFileOnceUntilItChanges) {
  WriteAll(path_, std::string(3 << 20, 'x'));
  EXPECT_EQ(*digests_.Of(path_, count_), Sha256Hex(std::string(3 << 20, 'x')));
  const int once = pieces_;
  EXPECT_GT(once, 1);
  EXPECT_TRUE(digests_.Of(path_, count_).ok());
  EXPECT_EQ(pieces_, once) << "from memory";
  // Of the same size and time, but another file.
  const auto time = fs::last_write_time(path_);
  WriteAll(dir_ + "/other", std::string(3 << 20, 'y'));
  fs::last_write_time(dir_ + "/other", time);
  fs::rename(dir_ + "/other", path_);
  EXPECT_EQ(*digests_.Of(path_, count_), Sha256Hex(std::string(3 << 20, 'y')));
}

TEST_F(FileDigestsTest, WhoAsksMeanwhileSharesTheSum) {
  WriteAll(path_, std::string(8 << 20, 'x'));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { EXPECT_TRUE(digests_.Of(path_, count_).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pieces_, 8);
}

TEST_F(FileDigestsTest, AFileThatChangesMeanwhileHasNoSum) {
  WriteAll(path_, std::string(3 << 20, 'x'));
  EXPECT_TRUE(absl::IsAborted(digests_
                                  .Of(path_,
                                      [&] {
                                        WriteAll(path_, "shorter");
                                        return false;
                                      })
                                  .status()));
  EXPECT_EQ(*digests_.Of(path_), Sha256Hex("shorter"));
  EXPECT_TRUE(absl::IsNotFound(digests_.Of(dir_ + "/none").status()));
  EXPECT_TRUE(absl::IsCancelled(Sha256OfFile(path_, [] { return true; }).status()));
}

TEST_F(FileDigestsTest, WhatWasSummedWhileItWasSentIsRemembered) {
  WriteAll(path_, "content");
  struct stat found = {};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  digests_.Learn(path_, StampOf(found), "what the caller says");
  EXPECT_EQ(*digests_.Of(path_), "what the caller says");
}

TEST_F(FileDigestsTest, SaysWhichBytesDiffer) {
  std::string bytes(3 << 20, 'x');
  WriteAll(path_, bytes);
  EXPECT_EQ(*DifferingBytes(path_, path_), "");
  bytes[2'000'000] = 'y', bytes[1'234'567] = 'y';
  WriteAll(dir_ + "/other", bytes);
  EXPECT_EQ(*DifferingBytes(path_, dir_ + "/other"), "1234567-2000000 of 3145728");
  WriteAll(dir_ + "/other", std::string((3 << 20) - 10, 'x'));
  EXPECT_EQ(*DifferingBytes(path_, dir_ + "/other"), "3145718-3145727 of 3145728");
  EXPECT_TRUE(absl::IsNotFound(DifferingBytes(path_, dir_ + "/none").status()));
}

}  // namespace
}  // namespace merganser
