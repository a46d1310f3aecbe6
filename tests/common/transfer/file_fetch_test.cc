// A file from a source that tells the sums of its pieces: what comes damaged is fetched again piece by piece.
#include "common/transfer/file_fetch.h"

#include <algorithm>
#include <filesystem>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kPiece = 10'000;

class PieceSource final : public CheckpointSource {
 public:
  explicit PieceSource(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string name() const override { return "fake"; }
  absl::StatusOr<std::vector<File>> List(std::stop_token) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::string> Read(const File&, int64_t, const Sink&, std::stop_token) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::string> ReadInPieces(const File&, int64_t offset, const Sink& sink, const PieceSink& told,
                                           std::stop_token) override {
    offsets.push_back(offset);
    const auto size = static_cast<int64_t>(bytes_.size());
    for (int64_t begin = 0; begin < size; begin += kPiece) {
      const int64_t end = std::min(size, begin + kPiece);
      const std::string piece = bytes_.substr(begin, end - begin);
      if (offset < end) {
        std::string sent = bytes_.substr(std::max(offset, begin), end - std::max(offset, begin));
        for (const int64_t at : std::exchange(flip, {})) {
          if (at >= std::max(offset, begin) && at < end) {
            sent[at - std::max(offset, begin)] ^= 1;
          } else {
            flip.push_back(at);
          }
        }
        if (auto taken = sink(sent); !taken.ok()) return taken;
      }
      if (auto taken = told({begin + shift, end + shift, Sha256Hex(piece)}); !taken.ok()) return taken;
      if (end == breaks_at || (breaks_always && offset < end)) {
        breaks_at = 0;
        return absl::UnavailableError("it broke off");
      }
    }
    return Sha256Hex(bytes_);
  }
  absl::StatusOr<std::string> ReadPiece(const File&, const Piece& piece, std::stop_token) override {
    pieces.push_back(piece.begin);
    if (pieces_away-- > 0) return absl::UnavailableError("it is away");
    std::string bytes = bytes_.substr(piece.begin, piece.end - piece.begin);
    if (flip_pieces-- > 0) bytes[0] ^= 1;
    return bytes;
  }

  std::vector<int64_t> flip;  // bytes that come wrong, once each
  int64_t breaks_at = 0, shift = 0;
  bool breaks_always = false;  // after each piece that is sent
  int flip_pieces = 0, pieces_away = 0;
  std::vector<int64_t> offsets, pieces;  // what was asked for

 private:
  const std::string bytes_;
};

class FileFetchTest : public testing::Test {
 protected:
  absl::StatusOr<int64_t> Fetch() {
    return FetchFile(&source_, {"model.safetensors", static_cast<int64_t>(bytes_.size()), ""}, dir_,
                     {.tries = 3, .backoff = absl::Milliseconds(1)}, [](int64_t) {}, {});
  }
  std::string Fetched() { return ReadAll(dir_ + "/model.safetensors"); }

  const std::string dir_ = testing_support::FreshDir("file_fetch");
  const std::string bytes_ = Weights(45'000, 7);
  PieceSource source_{bytes_};
};

TEST_F(FileFetchTest, OnlyThePiecesThatCameDamagedAreFetchedAgain) {
  source_.flip = {12'345, 23'000, 23'010, static_cast<int64_t>(bytes_.size()) - 1};
  testing::internal::CaptureStderr();
  const auto fetched = Fetch();
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(Fetched() == bytes_);
  EXPECT_THAT(source_.offsets, ElementsAre(0));
  const int64_t last = (static_cast<int64_t>(bytes_.size()) - 1) / kPiece * kPiece;
  EXPECT_THAT(source_.pieces, ElementsAre(10'000, 20'000, last));
  EXPECT_THAT(log, HasSubstr(absl::StrCat("bytes=\"12345-12345 of ", bytes_.size(), "\" fetched_again=10000")));
  EXPECT_THAT(log, HasSubstr(absl::StrCat("bytes=\"23000-23010 of ", bytes_.size(), "\"")));
  EXPECT_FALSE(fs::exists(dir_ + "/model.safetensors.part"));
}

TEST_F(FileFetchTest, DamageBeforeWhereATransferBrokeOffIsFoundToo) {
  source_.flip = {12'345};
  source_.breaks_at = 30'000;
  ASSERT_TRUE(Fetch().ok());
  EXPECT_TRUE(Fetched() == bytes_);
  EXPECT_THAT(source_.offsets, ElementsAre(0, 30'000));
  EXPECT_THAT(source_.pieces, ElementsAre(10'000));
}

TEST_F(FileFetchTest, WhatAnEarlierProcessLeftIsMendedWhereItIsWrong) {
  std::string left = bytes_;
  left[3] ^= 1;
  WriteAll(dir_ + "/model.safetensors.part", left);
  ASSERT_TRUE(Fetch().ok());
  EXPECT_TRUE(Fetched() == bytes_);
  EXPECT_THAT(source_.offsets, ElementsAre(bytes_.size())) << "no byte of it came a second time";
  EXPECT_THAT(source_.pieces, ElementsAre(0));
}

// With waits that go on doubling, the fortieth would be of 35 years.
TEST_F(FileFetchTest, ALineThatBreaksAgainAndAgainIsWaitedForNoLongerEachTimeWhileBytesCome) {
  const std::string bytes = Weights(400'000, 8);
  PieceSource source(bytes);
  source.breaks_always = true;
  std::stop_source patience;
  const std::jthread watch([&patience](std::stop_token done) {
    const absl::Time end = absl::Now() + absl::Minutes(2);
    while (absl::Now() < end && !done.stop_requested()) absl::SleepFor(absl::Milliseconds(50));
    patience.request_stop();
  });
  const auto fetched = FetchFile(
      &source, {"model.safetensors", static_cast<int64_t>(bytes.size()), ""}, dir_,
      {.tries = 3, .backoff = absl::Milliseconds(1), .progress = kPiece}, [](int64_t) {}, patience.get_token());
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(Fetched() == bytes);
  EXPECT_GE(source.offsets.size(), 40u);
}

TEST_F(FileFetchTest, APieceIsTriedAsOftenAsThereAreTries) {
  source_.flip = {12'345};
  source_.pieces_away = 1;
  source_.flip_pieces = 1;
  ASSERT_TRUE(Fetch().ok());
  EXPECT_TRUE(Fetched() == bytes_);
  EXPECT_THAT(source_.pieces, ElementsAre(10'000, 10'000, 10'000));
}

TEST_F(FileFetchTest, OneThatStaysDamagedIsNamedAndNothingIsLeft) {
  source_.flip = {12'345};
  source_.flip_pieces = 100;
  const absl::Status damaged = Fetch().status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(damaged.message(), HasSubstr(absl::StrCat("'model.safetensors': bytes 10000-19999 of ", bytes_.size(),
                                                        " came from fake with the SHA-256 ")));
  EXPECT_THAT(damaged.message(), HasSubstr("and should have " + Sha256Hex(bytes_.substr(kPiece, kPiece))));
  EXPECT_EQ(source_.pieces.size(), 3u);
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(FileFetchTest, PiecesThatDoNotFitTheFileAreNotBelieved) {
  source_.shift = 1;
  EXPECT_THAT(Fetch().status().message(), HasSubstr("the source tells of bytes 1-10000 where 0 of 10000 are told of"));
  EXPECT_THAT(source_.pieces, IsEmpty());
}

}  // namespace
}  // namespace merganser
