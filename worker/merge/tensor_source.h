// A model as a merge sees it: named tensors, whose bytes are fetched one tensor at a time.
#ifndef MERGANSER_WORKER_MERGE_TENSOR_SOURCE_H_
#define MERGANSER_WORKER_MERGE_TENSOR_SOURCE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/safetensors_writer.h"
#include "worker/checkpoint/tensor_view.h"
#include "worker/checkpoint/weight_files.h"

namespace merganser {

// A tensor's bytes, and who keeps them: pages of a mapped file, which are given back to the system
// when `owner` goes, or memory of its own.
struct LoadedTensor {
  TensorView view;
  std::shared_ptr<const void> owner;
};

// `count` bytes of uninitialised memory.
std::shared_ptr<std::byte[]> NewBuffer(int64_t count);

// Immutable; any thread. Names, types and shapes are known without reading a byte of weights.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // What messages call it: a directory.
  virtual const std::string& label() const = 0;
  // All tensors, in the order of their names.
  virtual const std::vector<TensorHeader>& headers() const = 0;
  // The bytes, in the header's type. NotFound without such a tensor; other errors name it.
  virtual absl::StatusOr<LoadedTensor> Load(absl::string_view name) const = 0;

  // Bytes that Load allocates (0: it only maps).
  virtual int64_t BufferBytes(absl::string_view /*name*/) const { return 0; }

  // The header of that name, or nullptr.
  const TensorHeader* Find(absl::string_view name) const;
};

// The tensors of a checkpoint's files, as they are.
std::shared_ptr<const TensorSource> FileSource(std::shared_ptr<const WeightFiles> files);

// Another source, with some tensors replaced, added or hidden. Built by one thread, then immutable.
class DerivedSource : public TensorSource {
 public:
  using Loader = std::function<absl::StatusOr<LoadedTensor>()>;

  // `inner` may be null: a source of computed tensors only.
  DerivedSource(std::shared_ptr<const TensorSource> inner, std::string label);

  // `loader` gives the bytes of header.name, in the header's type; any thread. `buffer_bytes`: what it
  // allocates.
  void Replace(TensorHeader header, Loader loader, int64_t buffer_bytes);
  void Hide(const std::string& name);

  const std::string& label() const override { return label_; }
  const std::vector<TensorHeader>& headers() const override { return headers_; }
  absl::StatusOr<LoadedTensor> Load(absl::string_view name) const override;
  int64_t BufferBytes(absl::string_view name) const override;

 private:
  struct Own {
    Loader loader;
    int64_t buffer_bytes;
  };

  void Erase(absl::string_view name);

  const std::shared_ptr<const TensorSource> inner_;
  const std::string label_;
  std::vector<TensorHeader> headers_;
  std::map<std::string, Own, std::less<>> own_;
};

// `source` with the beginnings of its tensors' names replaced: of the rules that fit a name, the longest. InvalidArgument if
// two tensors would have one name.
absl::StatusOr<std::shared_ptr<const TensorSource>> RenamedSource(std::shared_ptr<const TensorSource> source,
                                                                  const std::map<std::string, std::string>& rename);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_TENSOR_SOURCE_H_
