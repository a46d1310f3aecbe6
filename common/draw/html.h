// Text for HTML, SVG and their attributes.
#ifndef MERGANSER_COMMON_DRAW_HTML_H_
#define MERGANSER_COMMON_DRAW_HTML_H_

#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

// With &, <, >, " and ' as entities.
std::string EscapeHtml(absl::string_view text);

// pictures.css: how the pictures of this folder look, light and dark; for a <style> or a file of its own.
extern const char* const kPicturesCss;

}  // namespace merganser

#endif  // MERGANSER_COMMON_DRAW_HTML_H_
