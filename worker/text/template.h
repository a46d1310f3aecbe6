// Jinja templates, rendered as the Python programs that they were written for render them
// (minijinja behind a C ABI, set up with Python's spelling of values, its string and dict methods,
// and json.dumps for tojson).
//
// In both kinds: raise_exception(message) fails the render with that message; strftime_now(format)
// formats the given time; the filters tojson (escapes no HTML) and regex_replace(pattern,
// replacement, count) exist; nothing is escaped for HTML; {% break %} and {% continue %} work;
// there is no include, import, file or environment.
//
// Threading: immutable after Compile; Render may run on any number of threads at once.
#ifndef MERGANSER_WORKER_TEXT_TEMPLATE_H_
#define MERGANSER_WORKER_TEXT_TEMPLATE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

struct MgTextTemplate;

namespace merganser {

enum class TemplateKind {
  // A benchmark's prompt, in lm-evaluation-harness's environment: an undefined variable is an error
  // that names it
  // (`x is defined` and `x | default(...)` may still ask), the source's last newline stays, white
  // space around blocks
  // stays unless the source says {%- or -%}.
  kPrompt,
  // A checkpoint's chat template, in transformers' environment: undefined variables render as
  // nothing, the newline
  // after a block and the indentation before it go (trim_blocks, lstrip_blocks), and so does the
  // source's last newline.
  // {% generation %} blocks render their body.
  kChat,
};

class Template {
 public:
  static constexpr int64_t kSourceBytesMax = int64_t{1} << 20;
  static constexpr int64_t kContextBytesMax = int64_t{64} << 20;

  // `name` appears in error messages: a file, or the field that holds the source. InvalidArgument:
  // a syntax error (the message has name and line), an unknown filter or test, source not UTF-8 or
  // larger than kSourceBytesMax.
  static absl::StatusOr<Template> Compile(absl::string_view name, absl::string_view source,
                                          TemplateKind kind = TemplateKind::kPrompt);

  // The text for `json_context`, a JSON object whose members are the variables. `now` is for
  // strftime_now and is formatted in UTC, so that it reads the same on every worker; give the job's
  // time, not each machine's.
  //   InvalidArgument    not a JSON object, an undefined variable, raise_exception, any other error of the template
  //   ResourceExhausted  the template ran for too many steps
  absl::StatusOr<std::string> Render(absl::string_view json_context, absl::Time now = absl::Now()) const;

 private:
  struct Free {
    void operator()(MgTextTemplate* handle) const;
  };
  Template(std::string name, MgTextTemplate* handle);

  std::string name_;
  std::unique_ptr<MgTextTemplate, Free> handle_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_TEMPLATE_H_
