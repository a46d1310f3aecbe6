// What a model that sees makes of a picture in a request.
#ifndef MERGANSER_WORKER_SERVE_PICTURE_READER_H_
#define MERGANSER_WORKER_SERVE_PICTURE_READER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct SeenPicture {
  int rows = 0;               // of the prompt: a token each
  std::vector<float> values;  // [rows, hidden size], as GenerationRequest::embeddings wants them
};

// Thread-safe.
class PictureReader {
 public:
  virtual ~PictureReader() = default;

  // The token that stands in a prompt for a picture.
  virtual int32_t image_token() const = 0;
  // `bytes`: a JPEG or PNG file. InvalidArgument, ResourceExhausted: it cannot be read, and why.
  virtual absl::StatusOr<SeenPicture> Read(absl::string_view bytes) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_PICTURE_READER_H_
