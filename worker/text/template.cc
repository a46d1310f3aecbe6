#include "worker/text/template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/text/rust_abi.h"
#include "worker/text/rust_call.h"

namespace merganser {

using text_internal::CheckSize;
using text_internal::RustBuffer;
using text_internal::ToSlice;
using text_internal::ToStatus;

void Template::Free::operator()(MgTextTemplate* handle) const { mg_text_template_free(handle); }

Template::Template(std::string name, MgTextTemplate* handle) : name_(std::move(name)), handle_(handle) {}

absl::StatusOr<Template> Template::Compile(absl::string_view name, absl::string_view source, TemplateKind kind) {
  MG_RETURN_IF_ERROR(CheckSize(absl::StrCat("template ", name), source, kSourceBytesMax));
  MgTextTemplate* handle = nullptr;
  RustBuffer error;
  const int32_t code =
      mg_text_template_new(ToSlice(name), ToSlice(source), kind == TemplateKind::kChat, &handle, error.out());
  MG_RETURN_IF_ERROR(Annotate(ToStatus(code, error), absl::StrCat("template ", name)));
  return Template(std::string(name), handle);
}

absl::StatusOr<std::string> Template::Render(absl::string_view json_context, absl::Time now) const {
  MG_RETURN_IF_ERROR(CheckSize(absl::StrCat("context of template ", name_), json_context, kContextBytesMax));
  RustBuffer text;
  RustBuffer error;
  const int32_t code =
      mg_text_template_render(handle_.get(), ToSlice(json_context), absl::ToUnixSeconds(now), text.out(), error.out());
  MG_RETURN_IF_ERROR(Annotate(ToStatus(code, error), absl::StrCat("template ", name_)));
  return std::string(text.view());
}

}  // namespace merganser
