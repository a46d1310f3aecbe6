#include "worker/evaluate/temporary_checkpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

// The folder of a checkpoint that a process wrote which was then killed.
std::string LeftByAKilledProcess() {
  int names[2];
  EXPECT_EQ(pipe(names), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto checkpoint = TemporaryCheckpoint::Write(CopyOf("ja"), CpuOptions(), {});
    const std::string dir = checkpoint.ok() ? (*checkpoint)->dir() : "";
    if (write(names[1], dir.data(), dir.size()) < 0) _exit(1);
    _exit(0);  // no destructor, as after kill -9
  }
  close(names[1]);
  char dir[4096];
  const ssize_t size = read(names[0], dir, sizeof dir);
  close(names[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return std::string(dir, size > 0 ? size : 0);
}

TEST(TemporaryCheckpointTest, IsThereAsLongAsItsOwner) {
  auto checkpoint = TemporaryCheckpoint::Write(CopyOf("ja"), CpuOptions(), {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string dir = (*checkpoint)->dir();
  EXPECT_TRUE(fs::exists(dir + "/model.safetensors"));
  TemporaryCheckpoint::RemoveLeft();
  EXPECT_TRUE(fs::exists(dir + "/model.safetensors")) << "its owner lives";
  checkpoint->reset();
  EXPECT_FALSE(fs::exists(fs::path(dir).parent_path()));
}

TEST(TemporaryCheckpointTest, WhatAKilledProcessLeftIsRemovedByTheNext) {
  const std::string dir = LeftByAKilledProcess();
  ASSERT_FALSE(dir.empty());
  const auto checkpoint = TemporaryCheckpoint::Write(CopyOf("ja"), CpuOptions(), {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_FALSE(fs::exists(fs::path(dir).parent_path()));
  EXPECT_TRUE(fs::exists((*checkpoint)->dir()));
}

}  // namespace
}  // namespace merganser
