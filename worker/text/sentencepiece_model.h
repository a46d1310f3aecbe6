// tokenizer.model: the part of SentencePiece's ModelProto that decides how text is cut.
#ifndef MERGANSER_WORKER_TEXT_SENTENCEPIECE_MODEL_H_
#define MERGANSER_WORKER_TEXT_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct SentencePieceModel {
  enum class Type { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string text;  // UTF-8; U+2581 stands for a space
    float score = 0;
    Type type = Type::kNormal;
  };

  std::vector<Piece> pieces;  // a piece's place is its id
  bool unigram = true;        // else BPE
  bool byte_fallback = false;
  int32_t unk_id = 0, bos_id = 1, eos_id = 2;  // negative: there is none
  std::string unk_piece = "<unk>", bos_piece = "<s>", eos_piece = "</s>";
  std::string precompiled_charsmap;  // of the normalizer; "" for the identity
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  // Reads the protobuf's bytes; what it does not know is passed over. InvalidArgument, with the place: it is no such
  // message, a piece is not UTF-8, there are none, an id is of no piece, the model is of words or characters (neither BPE
  // nor unigram).
  static absl::StatusOr<SentencePieceModel> Parse(absl::string_view bytes);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_SENTENCEPIECE_MODEL_H_
