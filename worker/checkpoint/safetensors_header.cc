#include "worker/checkpoint/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

using Json = nlohmann::json;

// Streams the header into entries: a document tree of a 100 MB header would take gigabytes, and the
// library's tree keeps only the last of two equal keys.
class HeaderSax : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderSax(SafetensorsHeader& header) : header_(header) {}

  const std::string& error() const { return error_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override { return Unexpected(text); }
  bool number_integer(number_integer_t value) override { return Unexpected(absl::StrCat(value)); }
  bool binary(binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return Unexpected(absl::StrCat(value));
    if (state_ == State::kShapeItem) {
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsetsItem && num_offsets_ < 2) {
      (num_offsets_++ == 0 ? entry_.begin : entry_.end) = static_cast<int64_t>(value);
      return true;
    }
    return Unexpected(absl::StrCat(value));
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadataValue) {
      header_.metadata[metadata_key_] = std::move(value);
      state_ = State::kMetadataKey;
      return true;
    }
    if (state_ == State::kDtypeValue) {
      const absl::StatusOr<DType> dtype = ParseDType(value);
      if (!dtype.ok()) return Fail(dtype.status().message());
      entry_.dtype = *dtype;
      state_ = State::kFieldKey;
      return true;
    }
    return Unexpected(absl::StrCat("the string '", Printable(value), "'"));
  }

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kNameKey;
        return true;
      case State::kTensorValue:
        seen_dtype_ = seen_shape_ = seen_offsets_ = false;
        num_offsets_ = 0;
        state_ = State::kFieldKey;
        return true;
      case State::kMetadataStart:
        state_ = State::kMetadataKey;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& key) override {
    if (state_ == State::kNameKey) return NameKey(key);
    if (state_ == State::kMetadataKey) {
      if (header_.metadata.contains(key)) {
        return Fail(absl::StrCat("metadata key '", Printable(key), "' appears twice"));
      }
      metadata_key_ = std::move(key);
      state_ = State::kMetadataValue;
      return true;
    }
    bool* seen = nullptr;
    if (key == "dtype") seen = &seen_dtype_, state_ = State::kDtypeValue;
    if (key == "shape") seen = &seen_shape_, state_ = State::kShapeStart;
    if (key == "data_offsets") seen = &seen_offsets_, state_ = State::kOffsetsStart;
    if (seen == nullptr) {
      return Fail(absl::StrCat("unknown field '", Printable(key), "' (known: dtype, shape, data_offsets)"));
    }
    if (*seen) return Fail(absl::StrCat("field '", key, "' appears twice"));
    *seen = true;
    return true;
  }

  bool end_object() override {
    if (state_ == State::kNameKey) {
      state_ = State::kDone;
      return true;
    }
    if (state_ == State::kMetadataKey) {
      state_ = State::kNameKey;
      return true;
    }
    for (auto [seen, field] :
         {std::pair{seen_dtype_, "dtype"}, std::pair{seen_shape_, "shape"}, std::pair{seen_offsets_, "data_offsets"}}) {
      if (!seen) return Fail(absl::StrCat("field '", field, "' is missing"));
    }
    if (!CheckSize()) return false;
    header_.entries.push_back(std::move(entry_));
    entry_ = {};
    state_ = State::kNameKey;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kShapeStart) {
      state_ = State::kShapeItem;
      return true;
    }
    if (state_ == State::kOffsetsStart) {
      state_ = State::kOffsetsItem;
      return true;
    }
    return Unexpected("a list");
  }

  bool end_array() override {
    if (state_ == State::kOffsetsItem && num_offsets_ != 2) {
      return Fail(absl::StrCat("data_offsets has ", num_offsets_, " numbers; expected 2"));
    }
    state_ = State::kFieldKey;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_ = absl::StrCat("the header is not valid JSON at byte ", position);
    return false;
  }

 private:
  enum class State {
    kStart,
    kNameKey,
    kMetadataStart,
    kMetadataKey,
    kMetadataValue,
    kTensorValue,
    kFieldKey,
    kDtypeValue,
    kShapeStart,
    kShapeItem,
    kOffsetsStart,
    kOffsetsItem,
    kDone,
  };

  bool NameKey(string_t& key) {
    if (!names_.insert(key).second) {
      error_ = absl::StrCat("'", Printable(key), "' appears twice in the header");
      return false;
    }
    state_ = key == "__metadata__" ? State::kMetadataStart : State::kTensorValue;
    entry_.name = std::move(key);
    return true;
  }

  bool CheckSize() {
    int64_t bytes = SizeOf(entry_.dtype);
    bool empty = false;
    for (int64_t dimension : entry_.shape) {
      empty = empty || dimension == 0;
      // Checked even behind a zero, so that products of parts of a shape fit as well.
      if (dimension != 0 && __builtin_mul_overflow(bytes, dimension, &bytes)) {
        return Fail(absl::StrCat("shape ", ShapeText(entry_.shape), " has more than 2^63 bytes"));
      }
    }
    if (empty) bytes = 0;
    if (entry_.begin > entry_.end || entry_.end - entry_.begin != bytes) {
      return Fail(absl::StrCat("data_offsets [", entry_.begin, ", ", entry_.end, "] do not span the ", bytes, " bytes of ",
                               Name(entry_.dtype), " ", ShapeText(entry_.shape)));
    }
    return true;
  }

  bool Fail(absl::string_view what) {
    error_ = state_ == State::kStart ? std::string(what) : absl::StrCat("tensor '", Printable(entry_.name), "': ", what);
    return false;
  }

  bool Unexpected(absl::string_view what) {
    absl::string_view wanted = "an object";
    if (state_ == State::kMetadataValue) wanted = "a string";
    if (state_ == State::kDtypeValue) wanted = "the name of a dtype";
    if (state_ == State::kShapeStart) wanted = "a list as shape";
    if (state_ == State::kShapeItem) wanted = "a size in [0, 2^63)";
    if (state_ == State::kOffsetsStart) wanted = "a list as data_offsets";
    if (state_ == State::kOffsetsItem) wanted = "two offsets in [0, 2^63)";
    return Fail(absl::StrCat("found ", what, " in the header; expected ", wanted));
  }

  SafetensorsHeader& header_;
  State state_ = State::kStart;
  SafetensorsEntry entry_;
  std::string metadata_key_;
  absl::flat_hash_set<std::string> names_;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  int num_offsets_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, const std::string& path) {
  SafetensorsHeader header;
  HeaderSax sax(header);
  if (!Json::sax_parse(json.begin(), json.end(), &sax)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "': ", sax.error()));
  }
  return header;
}

}  // namespace merganser
