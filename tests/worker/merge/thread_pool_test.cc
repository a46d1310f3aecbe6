#include "worker/merge/thread_pool.h"

#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(ThreadPoolTest, EveryIndexIsVisitedOnceInEveryLoop) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count = 0; count < 200; ++count) {
      std::vector<std::atomic<int>> visits(count);
      std::vector<std::atomic<int>> inside(threads);
      std::atomic<bool> shared = false;
      pool.For(count, [&](int thread, int64_t i) {
        if (inside[thread].fetch_add(1) != 0) shared = true;
        visits[i].fetch_add(1);
        inside[thread].fetch_sub(1);
      });
      for (const auto& v : visits) ASSERT_EQ(v, 1);
      ASSERT_FALSE(shared) << "two calls at once under one thread number";
    }
  }
}

}  // namespace
}  // namespace merganser
