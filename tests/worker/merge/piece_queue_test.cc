#include "worker/merge/piece_queue.h"

#include <cstring>
#include <memory>
#include <thread>

#include "gtest/gtest.h"
#include "worker/merge/thread_pool.h"

namespace merganser {
namespace {

// Puts `value` as piece `piece`.
void PutNumber(PieceQueue& queue, int64_t piece, int64_t value) {
  std::memcpy(queue.Buffer(piece), &value, sizeof value);
  queue.Put(piece, {queue.Buffer(piece), sizeof value});
}

int64_t NumberOf(absl::Span<const std::byte> bytes) {
  int64_t value = -1;
  EXPECT_EQ(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

TEST(PieceQueueTest, PiecesComeInTheirOrderWhateverThreadsPutThem) {
  constexpr int64_t kPieces = 10'000;  // each buffer again and again
  PieceQueue queue(1024, 8);
  std::jthread producers([&] {
    ThreadPool pool(4);
    pool.For(kPieces, [&](int, int64_t piece) {
      if (queue.WaitForRoom(piece)) PutNumber(queue, piece, piece * piece);
    });
    queue.Flush(kPieces);
  });
  for (int64_t piece = 0; piece < kPieces; ++piece) {
    const auto bytes = queue.Next();
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    ASSERT_EQ(NumberOf(*bytes), piece * piece);
  }
}

TEST(PieceQueueTest, AClosedQueueHasTheRoomThatIsFreeAndNoMore) {
  PieceQueue queue(1024, 8);
  std::jthread consumer([&] { queue.Close(); });
  EXPECT_FALSE(queue.WaitForRoom(queue.pieces_max()));  // would wait for piece 0 to be taken
  EXPECT_TRUE(queue.WaitForRoom(queue.pieces_max() - 1));
}

TEST(PieceQueueTest, AnErrorComesBehindThePiecesThatAreThere) {
  PieceQueue queue(1024, 8);
  PutNumber(queue, 0, 7);
  PutNumber(queue, 1, 8);
  PutNumber(queue, 3, 10);  // behind one that never comes
  queue.Fail(absl::InvalidArgumentError("not finite"));
  EXPECT_EQ(NumberOf(*queue.Next()), 7);
  EXPECT_EQ(NumberOf(*queue.Next()), 8);
  EXPECT_EQ(queue.Next().status().message(), "not finite");
}

TEST(PieceQueueTest, OwnersLiveUntilTheirPieceIsGivenBack) {
  PieceQueue queue(1024, 8);
  auto own = std::make_shared<int64_t>(5);
  const std::weak_ptr<int64_t> watch = own;
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(own.get()), sizeof *own);
  queue.Put(0, bytes, std::move(own));
  PutNumber(queue, 1, 6);
  queue.Flush(2);
  EXPECT_EQ(NumberOf(*queue.Next()), 5);
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(NumberOf(*queue.Next()), 6);
  EXPECT_TRUE(watch.expired());
}

TEST(PieceQueueTest, AwaitTakenEndsOnceTheConsumerHasThePiece) {
  PieceQueue queue(1024, 8);
  PutNumber(queue, 0, 1);
  queue.Flush(1);
  absl::StatusOr<absl::Span<const std::byte>> taken = absl::UnknownError("not taken yet");
  {
    std::jthread consumer([&] { taken = queue.Next(); });
    queue.AwaitTaken(0);
  }
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(NumberOf(*taken), 1);
}

}  // namespace
}  // namespace merganser
