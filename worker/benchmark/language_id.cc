#include "worker/benchmark/language_id.h"

#include <fasttext/fasttext.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/base/closest_name.h"

namespace merganser {
namespace {

constexpr char kVariable[] = "LID176FTZ_PATH";
constexpr char kHowToGet[] =
    "; get it from https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz (938 kB, "
    "CC BY-SA 3.0, https://fasttext.cc) and set LID176FTZ_PATH to its path";
constexpr char kLabelPrefix[] = "__label__";
// The first eight bytes of every fastText model, and the only version of the format since 2016.
constexpr int32_t kMagic = 793712314;
constexpr int32_t kVersionMax = 12;

bool IsFile(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

struct Loaded {
  absl::Mutex mu;
  std::map<std::string, std::weak_ptr<const LanguageId>> by_path ABSL_GUARDED_BY(mu);
};

Loaded& LoadedModels() {
  static auto* const loaded = new Loaded;
  return *loaded;
}

}  // namespace

absl::StatusOr<std::string> FindLanguageModel(const std::string& explicit_path, const std::vector<std::string>& folders) {
  if (!explicit_path.empty()) {
    if (IsFile(explicit_path)) return explicit_path;
    return absl::FailedPreconditionError(absl::StrCat("the language model '", explicit_path, "' is not a file", kHowToGet));
  }
  if (const char* named = std::getenv(kVariable); named != nullptr && *named != '\0') {
    if (IsFile(named)) return std::string(named);
    return absl::FailedPreconditionError(absl::StrCat(kVariable, " names '", named, "', which is not a file", kHowToGet));
  }
  std::vector<std::string> tried = {"lid.176.ftz"};
  for (const std::string& folder : folders) {
    tried.push_back((std::filesystem::path(folder) / "lid.176.ftz").string());
  }
  for (const std::string& path : tried) {
    if (IsFile(path)) return path;
  }
  return absl::FailedPreconditionError(absl::StrCat("the language check needs fastText's lid.176.ftz, and ", kVariable,
                                                    " is not set (looked at ", absl::StrJoin(tried, ", "), ")", kHowToGet));
}

LanguageId::LanguageId() = default;
LanguageId::~LanguageId() = default;

absl::StatusOr<std::shared_ptr<const LanguageId>> LanguageId::Load(const std::string& path) {
  Loaded& loaded = LoadedModels();
  // Held while loading (30 ms), so that two benchmarks of a job do not load it twice.
  absl::MutexLock lock(&loaded.mu);
  std::weak_ptr<const LanguageId>& known = loaded.by_path[path];
  if (auto model = known.lock()) return model;

  std::ifstream file(path, std::ios::binary);
  if (!IsFile(path) || !file) {
    return absl::FailedPreconditionError(absl::StrCat("cannot open the language model '", path, "'", kHowToGet));
  }
  const auto invalid = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is not a whole fastText language model: ", why, kHowToGet));
  };
  // FastText::loadModel(path) checks the same, but cannot tell a file that ends too early.
  int32_t magic = 0, version = 0;
  file.read(reinterpret_cast<char*>(&magic), sizeof magic);
  file.read(reinterpret_cast<char*>(&version), sizeof version);
  if (!file || magic != kMagic || version > kVersionMax) return invalid("its first bytes are others");
  std::shared_ptr<LanguageId> model(new LanguageId);  // shared by the benchmarks that check a language
  try {
    // A missing end becomes an exception of the stream instead of fields left unset.
    file.exceptions(std::ios::failbit | std::ios::badbit);
    model->model_ = std::make_unique<fasttext::FastText>();
    model->model_->loadModel(file);
    const auto dictionary = model->model_->getDictionary();
    for (int32_t i = 0; i < dictionary->nlabels(); ++i) {
      const std::string label = dictionary->getLabel(i);
      if (absl::StartsWith(label, kLabelPrefix)) {
        model->languages_.emplace_back(absl::StripPrefix(label, kLabelPrefix));
      }
    }
  } catch (const std::exception& e) {
    return invalid(e.what());
  }
  if (model->languages_.empty()) return invalid("it has no labels");
  std::sort(model->languages_.begin(), model->languages_.end());
  known = model;
  return model;
}

absl::StatusOr<double> LanguageId::Probability(absl::string_view text, absl::string_view language) const {
  // The published scorer calls the Python binding, which ends the line itself.
  std::istringstream line(absl::StrCat(absl::StrReplaceAll(text, {{"\n", ""}}), "\n"));
  const std::string label = absl::StrCat(kLabelPrefix, language);
  try {
    std::vector<std::pair<fasttext::real, std::string>> predictions;
    model_->predictLine(line, predictions, -1, 0.0);
    for (const auto& [probability, name] : predictions) {
      if (name == label) return probability;
    }
    return 0.0;
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("fastText failed: ", e.what()));
  }
}

absl::Status LanguageId::CheckLanguage(absl::string_view language) const {
  if (std::binary_search(languages_.begin(), languages_.end(), language)) return absl::OkStatus();
  const std::string nearest = ClosestName(language, languages_);
  return absl::InvalidArgumentError(absl::StrCat("language '", language, "' is not one of the language model's ",
                                                 languages_.size(),
                                                 nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
}

}  // namespace merganser
