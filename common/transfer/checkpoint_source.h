// Where a checkpoint can be had from, file by file.
#ifndef MERGANSER_COMMON_TRANSFER_CHECKPOINT_SOURCE_H_
#define MERGANSER_COMMON_TRANSFER_CHECKPOINT_SOURCE_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// What it says is not trusted: names, sizes and bytes are checked by who takes them (checkpoint_cache.h). Used by one
// thread.
class CheckpointSource {
 public:
  struct File {
    std::string name;
    int64_t size = -1;   // -1: not known
    std::string sha256;  // "": not known before it is read
  };
  // Bytes [begin, end) of a file. Those of a file follow one another, from 0 to its size.
  struct Piece {
    int64_t begin = 0, end = 0;
    std::string sha256;
  };
  static constexpr int64_t kPieceMax = int64_t{256} << 20;  // who takes one holds it in memory
  using Sink = std::function<absl::Status(absl::string_view)>;
  using PieceSink = std::function<absl::Status(const Piece&)>;

  virtual ~CheckpointSource() = default;
  virtual std::string name() const = 0;  // for messages: "https://models.example"
  // NotFound: it has no such checkpoint.
  virtual absl::StatusOr<std::vector<File>> List(std::stop_token stop) = 0;
  // Gives the bytes from `offset` to the end to `sink`, in order. The SHA-256 of the whole file, or "" if the source does
  // not know it. Unavailable: it broke off; go on from where it is.
  virtual absl::StatusOr<std::string> Read(const File& file, int64_t offset, const Sink& sink, std::stop_token stop) = 0;
  // Read of a source that sums pieces: `told` is given each one, in order, once its last byte was given or if that lies
  // before `offset`. Other sources tell none.
  virtual absl::StatusOr<std::string> ReadInPieces(const File& file, int64_t offset, const Sink& sink, const PieceSink& told,
                                                   std::stop_token stop) {
    (void)told;
    return Read(file, offset, sink, stop);
  }
  // The bytes of a piece that it told. Unavailable as Read.
  virtual absl::StatusOr<std::string> ReadPiece(const File& file, const Piece& piece, std::stop_token stop) {
    (void)file, (void)piece, (void)stop;
    return absl::UnimplementedError("it tells no pieces");
  }
  // True if a Read that ends well always tells the SHA-256.
  virtual bool ReadTellsSha256() const { return false; }
  // The SHA-256 of a whole file without its bytes, whoever gives those. NotFound: it knows none.
  virtual absl::StatusOr<std::string> Sha256Of(const File& file, std::stop_token stop) {
    (void)file, (void)stop;
    return absl::NotFoundError("it knows no SHA-256");
  }
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_CHECKPOINT_SOURCE_H_
