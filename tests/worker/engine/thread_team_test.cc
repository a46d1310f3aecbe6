#include "worker/engine/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace merganser {
namespace {

TEST(ThreadTeamTest, EachIndexIsTakenOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.size(), threads);
    for (const int count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> taken(count);
      team.For(count, [&](int64_t i, int member) {
        EXPECT_GE(member, 0);
        EXPECT_LT(member, threads);
        ++taken[i];
      });
      for (const auto& n : taken) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ThreadTeamTest, ResultsAreVisibleAfterFor) {
  ThreadTeam team(3);
  std::vector<int64_t> values(100, 0);
  for (int round = 0; round < 500; ++round) {
    team.For(100, [&](int64_t i, int) { values[i] += i; });
  }
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(values[i], 500 * i);
}

}  // namespace
}  // namespace merganser
