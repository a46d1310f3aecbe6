// Forms of a text for comparing: Python's strip, lower and upper; the words or characters that F1 and ROUGE count.
#ifndef MERGANSER_WORKER_BENCHMARK_TEXT_FORMS_H_
#define MERGANSER_WORKER_BENCHMARK_TEXT_FORMS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// `text` without Unicode white space at both ends, as str.strip().
absl::string_view StripWhitespace(absl::string_view text);
// Without it at the end, as str.rstrip().
absl::string_view StripTrailingWhitespace(absl::string_view text);

// One character to one: where Python's full mapping gives several ("ß".upper()), the character stays.
std::string Lowercase(absl::string_view text);
std::string Uppercase(absl::string_view text);

// Without ASCII punctuation (Python's string.punctuation), without ASCII digits.
std::string WithoutPunctuation(absl::string_view text);
std::string WithoutDigits(absl::string_view text);

// SQuAD's normalisation: lower case, no ASCII punctuation, no articles (a, an, the), split at white space.
std::vector<std::string> SquadWords(absl::string_view text);

// rouge_score's default tokenizer without stemming: lower case, split at everything but a-z and 0-9.
std::vector<std::string> RougeWords(absl::string_view text);

// Split at white space, as str.split().
std::vector<std::string> WhitespaceWords(absl::string_view text);

// Characters that are no white space, one by one.
std::vector<std::string> Characters(absl::string_view text);

// The elements of a Python literal list of strings or whole numbers ("['a', \"b\"]", "[0, 2]"), numbers as their text. False
// for anything else.
bool ParsePythonList(absl::string_view text, std::vector<std::string>* elements);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_TEXT_FORMS_H_
