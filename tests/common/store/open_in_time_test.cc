// A store that comes up while somebody waits for it, or does not.
#include "common/store/open_in_time.h"

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_clock.h"

namespace merganser {
namespace {

class OpenInTimeTest : public testing::Test {
 protected:
  // What the tries yield, one after another; the last one again and again.
  absl::StatusOr<int> Open(std::vector<absl::StatusOr<int>> tries, absl::Duration patience) {
    return OpenInTime([&, tries] { return tries[std::min(tries_++, tries.size() - 1)]; }, patience,
                      [this] {
                        clock_.Advance(absl::Seconds(1));
                        return interrupted_;
                      },
                      clock_);
  }

  const absl::Status away_ = absl::UnavailableError("refused");
  FakeClock clock_;
  bool interrupted_ = false;
  size_t tries_ = 0;
};

TEST_F(OpenInTimeTest, AStoreThatComesUpIsTaken) {
  EXPECT_EQ(Open({away_, away_, 7}, absl::Seconds(10)).value(), 7);
  EXPECT_EQ(tries_, 3u);
}

TEST_F(OpenInTimeTest, SoIsAFullOneOnceItHasRoom) {
  EXPECT_EQ(Open({absl::ResourceExhaustedError("OOM"), 7}, absl::Seconds(10)).value(), 7);
  EXPECT_EQ(tries_, 2u);
}

TEST_F(OpenInTimeTest, OneThatStaysAwayIsTriedUntilPatienceEnds) {
  EXPECT_EQ(Open({away_}, absl::Seconds(3)).status(), away_);
  EXPECT_EQ(tries_, 4u);  // at 0, 1, 2 and 3 s
}

TEST_F(OpenInTimeTest, AnotherErrorIsNotTriedAgain) {
  const absl::Status refused = absl::UnauthenticatedError("wrong password");
  EXPECT_EQ(Open({refused, 7}, absl::Seconds(10)).status(), refused);
  EXPECT_EQ(tries_, 1u);
}

TEST_F(OpenInTimeTest, AnInterruptEndsTheWait) {
  interrupted_ = true;
  EXPECT_TRUE(absl::IsCancelled(Open({away_, 7}, absl::Seconds(10)).status()));
  EXPECT_EQ(tries_, 1u);
}

}  // namespace
}  // namespace merganser
