// Words of Japanese text, as MeCab finds them with the dictionary unidic-lite: what the published ROUGE of EvoVLM-JP counts.
#ifndef MERGANSER_WORKER_BENCHMARK_MORPHEMES_H_
#define MERGANSER_WORKER_BENCHMARK_MORPHEMES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace MeCab {
class Model;
}

namespace merganser {

// The folder of MeCab's dictionary (the one with sys.dic): what the environment variable UNIDIC_LITE_PATH names, or the
// first of
// ./unidic_lite and `folder`/unidic_lite for each of `folders` that has it; the package's own folder dicdir is looked into.
// FailedPrecondition if there is none, saying what was looked at, what to install and what to set.
absl::StatusOr<std::string> FindMecabDictionary(const std::vector<std::string>& folders);

// Immutable, thread-safe; shared by all benchmarks of the process.
class Morphemes {
 public:
  // The dictionary in `folder`, mapped once while anyone holds it. InvalidArgument if MeCab cannot read it (its words).
  static absl::StatusOr<std::shared_ptr<const Morphemes>> Load(const std::string& folder);

  ~Morphemes();
  Morphemes(const Morphemes&) = delete;
  Morphemes& operator=(const Morphemes&) = delete;

  // The words of `text`, normalised by ForRouge first. Internal if the library fails.
  absl::StatusOr<std::vector<std::string>> Words(absl::string_view text) const;

 private:
  Morphemes();

  std::unique_ptr<MeCab::Model> model_;  // constant after Load
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_MORPHEMES_H_
