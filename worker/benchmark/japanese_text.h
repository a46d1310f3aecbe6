// Japanese text as EvoVLM-JP's published scorer and JP-LMEH prepare it before they compare: emoji dropped, normalised as
// neologdn does, spaces united.
#ifndef MERGANSER_WORKER_BENCHMARK_JAPANESE_TEXT_H_
#define MERGANSER_WORKER_BENCHMARK_JAPANESE_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

// Without the code points that are emoji by themselves (the Python package emoji's is_emoji, of each character), and without
// those of U+1F600-1F64F, 1F300-1F5FF, 1F680-1F6FF, 1F1E0-1F1FF and 2702-27B0. Bytes that are no UTF-8 stay.
std::string WithoutEmoji(absl::string_view text);

// neologdn 0.5.2's normalize() with its defaults: full-width ASCII becomes half-width and half-width kana full-width,
// hyphens and prolonged sound marks become one of each kind, tildes go, and so do spaces beside Japanese characters.
std::string NormalizedJapanese(absl::string_view text);

// Both, and runs of white space as one space, none at the ends.
std::string ForRouge(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_JAPANESE_TEXT_H_
