// Which language a text is in, by fastText's lid.176 model.
#ifndef MERGANSER_WORKER_BENCHMARK_LANGUAGE_ID_H_
#define MERGANSER_WORKER_BENCHMARK_LANGUAGE_ID_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fasttext {
class FastText;
}

namespace merganser {

// Where lid.176.ftz is: `explicit_path` if not empty; else what the environment variable
// LID176FTZ_PATH names; else the first of ./lid.176.ftz and `folder`/lid.176.ftz for each of
// `folders` that is a file. FailedPrecondition if there is none, saying what was looked at and
// where the file is to be had.
absl::StatusOr<std::string> FindLanguageModel(const std::string& explicit_path, const std::vector<std::string>& folders);

// The loaded model: immutable, thread-safe, shared by all benchmarks of the process.
class LanguageId {
 public:
  // The model at `path`; loaded once while anyone holds it. FailedPrecondition if the file cannot
  // be opened; InvalidArgument if it is not a whole fastText classifier.
  static absl::StatusOr<std::shared_ptr<const LanguageId>> Load(const std::string& path);

  ~LanguageId();
  LanguageId(const LanguageId&) = delete;
  LanguageId& operator=(const LanguageId&) = delete;

  // P(`language`) of `text`, 0 if the model does not list it for this text. As in the published
  // scorer, line feeds are removed first (not replaced by spaces) and a text without words has a
  // probability too (that of the end of a line). May exceed 1 by the library's 1e-5. Internal if
  // the library fails.
  absl::StatusOr<double> Probability(absl::string_view text, absl::string_view language) const;

  // OK if the model knows `language` ("ja"); otherwise InvalidArgument with the nearest name.
  absl::Status CheckLanguage(absl::string_view language) const;

 private:
  LanguageId();

  // Constant after Load.
  std::unique_ptr<fasttext::FastText> model_;
  std::vector<std::string> languages_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_LANGUAGE_ID_H_
