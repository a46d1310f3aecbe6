// What the tsan preset has to know to be believed: Abseil's locks order what they guard, and what nothing guards is reported.
#include <functional>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

constexpr int kRounds = 2000;
constexpr int kSanitizerExit = 66;

struct Shared {
  absl::Mutex mu;
  absl::CondVar changed;
  int value = 0;  // plain on purpose: the sanitizer looks at it
};

// `writer` in one thread beside `reader` in another: a report makes the program's exit code kSanitizerExit.
void Together(const std::function<void(Shared&)>& writer, const std::function<void(Shared&)>& reader) {
  Shared shared;
  std::thread other([&] { writer(shared); });
  reader(shared);
  other.join();
}

void CountUnderLock(Shared& shared) {
  for (int i = 0; i < kRounds; ++i) {
    absl::MutexLock lock(&shared.mu);
    ++shared.value;
  }
}

bool IsFull(Shared* shared) { return shared->value == kRounds; }

// Lock, Unlock, TryLock, and a mutex that is used again after another lay at its place.
TEST(TsanTest, LocksOrderWhatTheyGuard) {
  for (int again = 0; again < 3; ++again) {
    Together(CountUnderLock, [](Shared& shared) {
      for (int taken = 0; taken < kRounds;) {
        if (!shared.mu.TryLock()) continue;
        ++shared.value;
        ++taken;
        shared.mu.Unlock();
      }
      absl::MutexLock lock(&shared.mu);
      EXPECT_GE(shared.value, kRounds);
    });
  }
}

TEST(TsanTest, ReadersAreOrderedWithWriters) {
  Together(CountUnderLock, [](Shared& shared) {
    for (int seen = 0; seen < kRounds;) {
      shared.mu.ReaderLock();
      seen = shared.value;
      shared.mu.ReaderUnlock();
    }
    absl::ReaderMutexLock lock(&shared.mu, absl::Condition(&IsFull, &shared));
    EXPECT_EQ(shared.value, kRounds);
  });
}

// What waits reads and writes what the other thread wrote, before and after it waited.
TEST(TsanTest, WaitsForConditionsOrderWhatTheyGuard) {
  const absl::Duration long_enough = absl::Minutes(10);
  const absl::Time far = absl::Now() + long_enough;
  const std::function<void(Shared&, const absl::Condition&)> waits[] = {
      [](Shared& shared, const absl::Condition& full) {
        shared.mu.Lock();
        shared.mu.Await(full);
      },
      [&](Shared& shared, const absl::Condition& full) {
        shared.mu.Lock();
        EXPECT_TRUE(shared.mu.AwaitWithTimeout(full, long_enough));
      },
      [&](Shared& shared, const absl::Condition& full) {
        shared.mu.Lock();
        EXPECT_TRUE(shared.mu.AwaitWithDeadline(full, far));
      },
      [](Shared& shared, const absl::Condition& full) { shared.mu.LockWhen(full); },
      [&](Shared& shared, const absl::Condition& full) { EXPECT_TRUE(shared.mu.LockWhenWithTimeout(full, long_enough)); },
      [&](Shared& shared, const absl::Condition& full) { EXPECT_TRUE(shared.mu.LockWhenWithDeadline(full, far)); },
  };
  for (const auto& wait : waits) {
    Together(CountUnderLock, [&](Shared& shared) {
      wait(shared, absl::Condition(&IsFull, &shared));
      ++shared.value;
      EXPECT_EQ(shared.value, kRounds + 1);
      shared.mu.Unlock();
    });
  }
}

TEST(TsanTest, AWaitThatTimesOutHoldsItsLock) {
  Together(CountUnderLock, [](Shared& shared) {
    const auto never = [] { return false; };
    shared.mu.Lock();
    EXPECT_FALSE(shared.mu.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(1)));
    ++shared.value;
    shared.mu.Unlock();
    EXPECT_FALSE(shared.mu.LockWhenWithTimeout(absl::Condition(&never), absl::Milliseconds(1)));
    ++shared.value;
    shared.mu.Unlock();
  });
}

TEST(TsanTest, ConditionVariablesGiveTheLockAndTakeIt) {
  Together(
      [](Shared& shared) {
        CountUnderLock(shared);
        absl::MutexLock lock(&shared.mu);
        shared.changed.SignalAll();
      },
      [](Shared& shared) {
        absl::MutexLock lock(&shared.mu);
        for (int turn = 0; shared.value < kRounds; ++turn) {
          if (turn % 2 == 0) {
            shared.changed.WaitWithTimeout(&shared.mu, absl::Milliseconds(1));
          } else {
            shared.changed.Wait(&shared.mu);
          }
        }
        ++shared.value;
      });
}

TEST(TsanTest, WhatWasWrittenBeforeANotificationIsSeenAfterIt) {
  const std::function<void(const absl::Notification&)> waits[] = {
      [](const absl::Notification& done) { done.WaitForNotification(); },
      [](const absl::Notification& done) { EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Minutes(10))); },
      [](const absl::Notification& done) {
        EXPECT_TRUE(done.WaitForNotificationWithDeadline(absl::Now() + absl::Minutes(10)));
      },
      [](const absl::Notification& done) {
        while (!done.HasBeenNotified()) std::this_thread::yield();
      },
  };
  for (const auto& wait : waits) {
    absl::Notification done;
    int value = 0;
    std::thread other([&] {
      value = kRounds;
      done.Notify();
    });
    wait(done);
    EXPECT_EQ(value++, kRounds);
    other.join();
  }
}

// The rest of this file and the whole preset would pass if nothing were reported.
TEST(TsanDeathTest, ARaceIsReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto race = [] {
    Together([](Shared& shared) { ++shared.value; },
             [](Shared& shared) {
               absl::MutexLock lock(&shared.mu);  // alone: the writer takes none
               ++shared.value;
             });
    std::exit(0);  // the sanitizer makes another code of it
  };
  EXPECT_EXIT(race(), testing::ExitedWithCode(kSanitizerExit), "data race");
}

TEST(TsanDeathTest, AConditionThatReadsWhatItsLockDoesNotGuardIsReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto race = [] {
    Together([](Shared& shared) { ++shared.value; },
             [](Shared& shared) {
               const auto any = [&] { return shared.value >= 0; };
               shared.mu.LockWhen(absl::Condition(&any));
               shared.mu.Unlock();
             });
    std::exit(0);
  };
  EXPECT_EXIT(race(), testing::ExitedWithCode(kSanitizerExit), "data race");
}

TEST(TsanDeathTest, LocksTakenInTwoOrdersAreReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto cross = [] {
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // Abseil's own would abort
    absl::Mutex first, second;
    for (absl::Mutex* outer : {&first, &second}) {
      absl::MutexLock one(outer);
      absl::MutexLock two(outer == &first ? &second : &first);
    }
    std::exit(0);
  };
  EXPECT_EXIT(cross(), testing::ExitedWithCode(kSanitizerExit), "lock-order-inversion");
}

}  // namespace
