// Entry for libFuzzer and for the mutation driver: whatever the template (up to the first line "---") and its variables
// (behind it), rendering ends in a text, or in an error that names the template, within its bound of steps.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "worker/text/template.h"

using namespace merganser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t at = text.find("\n---\n");
  const absl::string_view source = text.substr(0, at);
  const absl::string_view variables = at == absl::string_view::npos ? "{}" : text.substr(at + 5);
  for (const TemplateKind kind : {TemplateKind::kPrompt, TemplateKind::kChat}) {
    const auto compiled = Template::Compile("fuzz", source, kind);
    if (!compiled.ok()) {
      if (compiled.status().code() != absl::StatusCode::kInvalidArgument) std::abort();
      continue;
    }
    const absl::Time now = absl::FromUnixSeconds(1700000000);
    const auto first = compiled->Render(variables, now), again = compiled->Render(variables, now);
    if (first.status().code() == absl::StatusCode::kInternal) std::abort();  // a panic
    if (first.ok() != again.ok() || (first.ok() && *first != *again)) std::abort();
  }
  return 0;
}
