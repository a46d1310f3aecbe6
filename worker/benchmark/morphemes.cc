#include "worker/benchmark/morphemes.h"

#include <mecab.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "worker/benchmark/japanese_text.h"

namespace merganser {
namespace {

constexpr char kDictionaryVariable[] = "UNIDIC_LITE_PATH";
constexpr char kHowToInstall[] =
    "; install it with `pip install unidic-lite` and set UNIDIC_LITE_PATH to what `python3 -c \"import unidic_lite; "
    "print(unidic_lite.DICDIR)\"` prints";

// `folder`, or the folder dicdir in it, if it holds a dictionary.
std::string DictionaryIn(const std::filesystem::path& folder) {
  for (const std::filesystem::path& place : {folder, folder / "dicdir"}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(place / "sys.dic", error)) return place.string();
  }
  return "";
}

struct LoadedDictionaries {
  absl::Mutex mu;
  std::map<std::string, std::weak_ptr<const Morphemes>> by_folder ABSL_GUARDED_BY(mu);
};

LoadedDictionaries& Dictionaries() {
  static auto* const dictionaries = new LoadedDictionaries;
  return *dictionaries;
}

}  // namespace

absl::StatusOr<std::string> FindMecabDictionary(const std::vector<std::string>& folders) {
  if (const char* const named = std::getenv(kDictionaryVariable); named != nullptr && *named != '\0') {
    std::string found = DictionaryIn(named);
    if (!found.empty()) return found;
    return absl::FailedPreconditionError(
        absl::StrCat(kDictionaryVariable, " names '", named, "', which holds no sys.dic", kHowToInstall));
  }
  std::vector<std::string> tried = {"unidic_lite"};
  for (const std::string& folder : folders) tried.push_back((std::filesystem::path(folder) / "unidic_lite").string());
  for (const std::string& place : tried) {
    if (std::string found = DictionaryIn(place); !found.empty()) return found;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("words of Japanese (unit: mecab) need MeCab's dictionary unidic-lite, and ", kDictionaryVariable,
                   " is not set (looked at ", absl::StrJoin(tried, ", "), ")", kHowToInstall));
}

Morphemes::Morphemes() = default;
Morphemes::~Morphemes() = default;

absl::StatusOr<std::shared_ptr<const Morphemes>> Morphemes::Load(const std::string& folder) {
  LoadedDictionaries& loaded = Dictionaries();
  absl::MutexLock lock(&loaded.mu);
  std::weak_ptr<const Morphemes>& known = loaded.by_folder[folder];
  if (auto morphemes = known.lock()) return morphemes;
  // As arguments of their own: a path may have spaces. Without the system's mecabrc, which names another dictionary.
  std::string program = "merganser", rc = "-r", none = "/dev/null", dictionary = "-d", path = folder;
  char* arguments[] = {program.data(), rc.data(), none.data(), dictionary.data(), path.data()};
  std::shared_ptr<Morphemes> morphemes(new Morphemes);
  morphemes->model_.reset(MeCab::createModel(5, arguments));
  if (morphemes->model_ == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("MeCab cannot read the dictionary '", folder, "': ", MeCab::getLastError()));
  }
  known = morphemes;
  return std::shared_ptr<const Morphemes>(std::move(morphemes));
}

absl::StatusOr<std::vector<std::string>> Morphemes::Words(absl::string_view text) const {
  const std::string normalized = ForRouge(text);
  const std::unique_ptr<MeCab::Tagger> tagger(model_->createTagger());
  const std::unique_ptr<MeCab::Lattice> lattice(model_->createLattice());
  if (tagger == nullptr || lattice == nullptr) return absl::InternalError("MeCab gives no tagger");
  lattice->set_sentence(normalized.data(), normalized.size());
  if (!tagger->parse(lattice.get())) return absl::InternalError(absl::StrCat("MeCab: ", lattice->what()));
  std::vector<std::string> words;
  for (const MeCab::Node* node = lattice->bos_node(); node != nullptr; node = node->next) {
    if (node->stat == MECAB_BOS_NODE || node->stat == MECAB_EOS_NODE) continue;
    words.emplace_back(node->surface, node->length);
  }
  return words;
}

}  // namespace merganser
