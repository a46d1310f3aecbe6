#include "worker/text/sentencepiece_model.h"

#include <cstring>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// One field of a protobuf message.
struct WireField {
  uint64_t number = 0;
  Wire type = Wire::kVarint;
  uint64_t varint = 0;      // kVarint
  absl::string_view bytes;  // the others: what they consist of
};

// A protobuf message, field by field.
class WireReader {
 public:
  WireReader(absl::string_view bytes, size_t offset) : bytes_(bytes), offset_(offset) {}

  bool AtEnd() const { return at_ == bytes_.size(); }
  // Where the next field begins in the file.
  size_t Offset() const { return offset_ + at_; }

  absl::StatusOr<WireField> Next() {
    const size_t start = Offset();
    const auto broken = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("not a SentencePiece model: at byte ", start, " ", what));
    };
    uint64_t tag = 0;
    if (!Varint(&tag)) return broken("a field's number is cut off");
    WireField field;
    field.number = tag >> 3;
    field.type = static_cast<Wire>(tag & 7);
    if (field.number == 0) return broken("a field has number 0");
    uint64_t size = 0;
    switch (field.type) {
      case Wire::kVarint:
        if (!Varint(&field.varint)) return broken("a number is cut off");
        return field;
      case Wire::kFixed64:
        size = 8;
        break;
      case Wire::kFixed32:
        size = 4;
        break;
      case Wire::kBytes:
        if (!Varint(&size)) return broken("a length is cut off");
        break;
      default:
        return broken(absl::StrCat("a field has the unknown wire type ", tag & 7));
    }
    if (size > bytes_.size() - at_) return broken("a field is longer than what is left");
    field.bytes = bytes_.substr(at_, size);
    at_ += size;
    return field;
  }

 private:
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) return false;
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  const absl::string_view bytes_;
  const size_t offset_;
  size_t at_ = 0;
};

// Calls `read` with each field of a message that begins at `offset` of the file.
absl::Status ForEachField(absl::string_view bytes, size_t offset,
                          const std::function<absl::Status(const WireField&, size_t offset)>& read) {
  WireReader reader(bytes, offset);
  while (!reader.AtEnd()) {
    MG_ASSIGN_OR_RETURN(const WireField field, reader.Next());
    MG_RETURN_IF_ERROR(read(field, reader.Offset() - field.bytes.size()));
  }
  return absl::OkStatus();
}

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
    if (more < 0 || i + more >= text.size()) return false;
    for (int k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto next = more > 0 ? static_cast<unsigned char>(text[i + 1]) : 0;
    // Overlong forms, surrogates, beyond U+10FFFF.
    if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
        (c == 0xf4 && next > 0x8f)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

absl::StatusOr<SentencePieceModel::Piece> ParsePiece(absl::string_view bytes, size_t offset) {
  SentencePieceModel::Piece piece;
  MG_RETURN_IF_ERROR(ForEachField(bytes, offset, [&](const WireField& field, size_t) {
    if (field.number == 1 && field.type == Wire::kBytes) piece.text = std::string(field.bytes);
    if (field.number == 2 && field.type == Wire::kFixed32) std::memcpy(&piece.score, field.bytes.data(), sizeof(float));
    if (field.number == 3 && field.type == Wire::kVarint) piece.type = static_cast<SentencePieceModel::Type>(field.varint);
    return absl::OkStatus();
  }));
  return piece;
}

// TrainerSpec, the fields that concern us.
void TakeTrainerField(const WireField& field, SentencePieceModel* model, uint64_t* model_type) {
  const auto id = static_cast<int32_t>(field.varint);
  switch (field.number) {
    case 3:
      *model_type = field.varint;
      break;
    case 35:
      model->byte_fallback = field.varint != 0;
      break;
    case 40:
      model->unk_id = id;
      break;
    case 41:
      model->bos_id = id;
      break;
    case 42:
      model->eos_id = id;
      break;
    case 45:
      model->unk_piece = std::string(field.bytes);
      break;
    case 46:
      model->bos_piece = std::string(field.bytes);
      break;
    case 47:
      model->eos_piece = std::string(field.bytes);
      break;
    default:
      break;
  }
}

// NormalizerSpec.
void TakeNormalizerField(const WireField& field, SentencePieceModel* model) {
  switch (field.number) {
    case 2:
      model->precompiled_charsmap = std::string(field.bytes);
      break;
    case 3:
      model->add_dummy_prefix = field.varint != 0;
      break;
    case 4:
      model->remove_extra_whitespaces = field.varint != 0;
      break;
    case 5:
      model->escape_whitespaces = field.varint != 0;
      break;
    default:
      break;
  }
}

}  // namespace

absl::StatusOr<SentencePieceModel> SentencePieceModel::Parse(absl::string_view bytes) {
  SentencePieceModel model;
  uint64_t model_type = 1;
  const auto trainer = [&](const WireField& field, size_t) {
    TakeTrainerField(field, &model, &model_type);
    return absl::OkStatus();
  };
  const auto normalizer = [&](const WireField& field, size_t) {
    TakeNormalizerField(field, &model);
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(ForEachField(bytes, 0, [&](const WireField& field, size_t offset) -> absl::Status {
    if (field.type != Wire::kBytes) return absl::OkStatus();
    if (field.number == 2) return ForEachField(field.bytes, offset, trainer);
    if (field.number == 3) return ForEachField(field.bytes, offset, normalizer);
    if (field.number != 1) return absl::OkStatus();
    MG_ASSIGN_OR_RETURN(Piece piece, ParsePiece(field.bytes, offset));
    if (!IsUtf8(piece.text)) {
      return absl::InvalidArgumentError(absl::StrCat("piece ", model.pieces.size(), " is not UTF-8"));
    }
    model.pieces.push_back(std::move(piece));
    return absl::OkStatus();
  }));
  if (model.pieces.empty()) return absl::InvalidArgumentError("not a SentencePiece model: it has no pieces");
  if (model_type != 1 && model_type != 2) {
    return absl::InvalidArgumentError(absl::StrCat("its model type is ", model_type, "; unigram (1) and BPE (2) are known"));
  }
  model.unigram = model_type == 1;
  const auto count = static_cast<int32_t>(model.pieces.size());
  if (model.unk_id < 0 || model.unk_id >= count) {
    return absl::InvalidArgumentError(absl::StrCat("unk_id ", model.unk_id, " is not in [0, ", count, "), its pieces"));
  }
  for (std::string* text : {&model.unk_piece, &model.bos_piece, &model.eos_piece}) {
    if (!IsUtf8(*text)) return absl::InvalidArgumentError("the name of a special piece is not UTF-8");
  }
  return model;
}

}  // namespace merganser
