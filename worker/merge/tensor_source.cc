#include "worker/merge/tensor_source.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

bool NameLess(const TensorHeader& header, absl::string_view name) { return absl::string_view(header.name) < name; }

// The whole pages within a range; empty if there are none.
std::pair<void*, size_t> PagesWithin(absl::Span<const std::byte> bytes) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t end = (begin + bytes.size()) / page * page;
  return {reinterpret_cast<void*>(first), end > first ? end - first : 0};
}

class FileSourceImpl : public TensorSource {
 public:
  explicit FileSourceImpl(std::shared_ptr<const WeightFiles> files) : files_(std::move(files)) {
    for (const TensorView& tensor : files_->tensors()) headers_.push_back({tensor.name, tensor.dtype, tensor.shape});
  }

  const std::string& label() const override { return files_->dir(); }
  const std::vector<TensorHeader>& headers() const override { return headers_; }

  absl::StatusOr<LoadedTensor> Load(absl::string_view name) const override {
    const TensorView* view = files_->Find(name);
    if (view == nullptr) {
      return absl::NotFoundError(absl::StrCat("'", files_->dir(), "' has no tensor '", Printable(name), "'"));
    }
    const auto [pages, size] = PagesWithin(view->data);
    if (size > 0) (void)madvise(pages, size, MADV_WILLNEED);
    // Read pages count as resident until they are given back; the page cache keeps them.
    std::shared_ptr<const void> owner(pages, [files = files_, size = size](void* pages) {
      if (size > 0) (void)madvise(pages, size, MADV_DONTNEED);
    });
    return LoadedTensor{*view, std::move(owner)};
  }

 private:
  const std::shared_ptr<const WeightFiles> files_;
  std::vector<TensorHeader> headers_;
};

}  // namespace

std::shared_ptr<std::byte[]> NewBuffer(int64_t count) {
  return std::make_shared_for_overwrite<std::byte[]>(static_cast<size_t>(count));
}

const TensorHeader* TensorSource::Find(absl::string_view name) const {
  const auto it = std::lower_bound(headers().begin(), headers().end(), name, NameLess);
  return it != headers().end() && it->name == name ? &*it : nullptr;
}

std::shared_ptr<const TensorSource> FileSource(std::shared_ptr<const WeightFiles> files) {
  return std::make_shared<FileSourceImpl>(std::move(files));
}

DerivedSource::DerivedSource(std::shared_ptr<const TensorSource> inner, std::string label)
    : inner_(std::move(inner)), label_(std::move(label)) {
  if (inner_ != nullptr) headers_ = inner_->headers();
}

void DerivedSource::Erase(absl::string_view name) {
  const auto it = std::lower_bound(headers_.begin(), headers_.end(), name, NameLess);
  if (it != headers_.end() && it->name == name) headers_.erase(it);
}

void DerivedSource::Replace(TensorHeader header, Loader loader, int64_t buffer_bytes) {
  Erase(header.name);
  own_[header.name] = {std::move(loader), buffer_bytes};
  headers_.insert(std::lower_bound(headers_.begin(), headers_.end(), header.name, NameLess), std::move(header));
}

void DerivedSource::Hide(const std::string& name) {
  Erase(name);
  own_.erase(name);
}

absl::StatusOr<LoadedTensor> DerivedSource::Load(absl::string_view name) const {
  if (Find(name) == nullptr) {
    return absl::NotFoundError(absl::StrCat("'", label_, "' has no tensor '", Printable(name), "'"));
  }
  const auto own = own_.find(name);
  return own != own_.end() ? own->second.loader() : inner_->Load(name);
}

absl::StatusOr<std::shared_ptr<const TensorSource>> RenamedSource(std::shared_ptr<const TensorSource> source,
                                                                  const std::map<std::string, std::string>& rename) {
  auto renamed = std::make_shared<DerivedSource>(nullptr, source->label());
  for (const TensorHeader& header : source->headers()) {
    const std::pair<const std::string, std::string>* rule = nullptr;
    for (const auto& candidate : rename) {
      if (absl::StartsWith(header.name, candidate.first) && (rule == nullptr || candidate.first.size() > rule->first.size()))
        rule = &candidate;
    }
    TensorHeader out = header;
    if (rule != nullptr) out.name = absl::StrCat(rule->second, header.name.substr(rule->first.size()));
    if (renamed->Find(out.name) != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("rename: two tensors of '", source->label(), "' would be '", out.name, "'"));
    }
    renamed->Replace(
        out,
        [source, from = header.name, to = out.name]() -> absl::StatusOr<LoadedTensor> {
          absl::StatusOr<LoadedTensor> loaded = source->Load(from);
          if (loaded.ok()) loaded->view.name = to;
          return loaded;
        },
        source->BufferBytes(header.name));
  }
  return std::shared_ptr<const TensorSource>(std::move(renamed));
}

int64_t DerivedSource::BufferBytes(absl::string_view name) const {
  const auto own = own_.find(name);
  if (own != own_.end()) return own->second.buffer_bytes;
  return inner_ != nullptr ? inner_->BufferBytes(name) : 0;
}

}  // namespace merganser
