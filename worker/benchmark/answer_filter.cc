#include "worker/benchmark/answer_filter.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_forms.h"

namespace merganser {
namespace {

std::string Selected(const FilterStep& step, const Regex& regex, absl::string_view text) {
  const std::vector<std::vector<std::string>> found = regex.FindAll(text);
  const auto count = static_cast<int64_t>(found.size());
  const int64_t at = step.match < 0 ? count + step.match : step.match;
  if (at < 0 || at >= count) return step.fallback;
  if (found[at].size() == 1) return std::string(StripWhitespace(found[at][0]));
  for (const std::string& group : found[at]) {
    if (!group.empty()) return std::string(StripWhitespace(group));
  }
  return step.fallback;
}

// The selected match as MultiChoiceRegexFilter takes it; "" if there is none.
std::string Match(const FilterStep& step, const Regex& regex, absl::string_view text,
                  const std::map<std::string, std::string>& labels) {
  FilterStep plain = step;
  plain.fallback = "";
  const std::string found = Selected(plain, regex, text);
  const auto label = labels.find(found);
  return label == labels.end() ? found : label->second;
}

// re.escape(), and how many characters it gives.
std::pair<std::string, size_t> Escaped(absl::string_view text) {
  std::string escaped;
  size_t characters = 0;
  for (const char c : text) {
    if (absl::string_view("()[]{}?*+-|^$\\.&~# \t\n\r\v\f").find(c) != absl::string_view::npos) {
      escaped.push_back('\\');
      ++characters;
    }
    escaped.push_back(c);
    characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }
  return {escaped, characters};
}

std::string WithoutIgnored(const FilterStep& step, const std::vector<Regex>& ignored, absl::string_view text) {
  static const auto* const punctuation = new absl::StatusOr<Regex>(Regex::Compile("\\p{P}"));
  std::string out(text);
  for (const Regex& regex : ignored) out = regex.Without(out);
  if (step.ignore_case) out = Lowercase(out);
  if (step.ignore_punctuation && punctuation->ok()) out = (*punctuation)->Without(out);
  return out;
}

std::string ChoiceOf(const FilterStep& step, const Regex& regex, const std::vector<Regex>& ignored,
                     absl::Span<const std::string> choices, absl::string_view text) {
  std::string found = Match(step, regex, text, {});
  if (!found.empty()) return found;
  std::vector<std::pair<std::string, size_t>> texts;
  std::vector<std::string> letters;
  std::map<std::string, std::string> of_text, of_letter;
  for (const std::string& choice : choices) {
    const std::string letter(1, static_cast<char>('A' + letters.size()));
    const std::string plain = WithoutIgnored(step, ignored, StripWhitespace(choice));
    texts.push_back(Escaped(plain));
    of_text[plain] = of_letter[letter] = absl::StrCat("(", letter, ")");
    letters.push_back(letter);
  }
  // Alternatives are tried in order: a choice must not hide a longer one that begins with it.
  std::stable_sort(texts.begin(), texts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  const std::string any = absl::StrJoin(texts, "|", [](std::string* out, const auto& t) { out->append(t.first); });
  const auto by_text = Regex::Compile(any);
  if (by_text.ok()) found = Match(step, *by_text, WithoutIgnored(step, ignored, text), of_text);
  if (!found.empty()) return found;
  const auto by_letter = Regex::Compile(absl::StrCat(":[\\s]*(", absl::StrJoin(letters, "|"), ")"));
  if (by_letter.ok()) found = Match(step, *by_letter, text, of_letter);
  return found.empty() ? step.fallback : found;
}

}  // namespace

absl::StatusOr<AnswerChoice> ChoiceOfCompletions(const FilterSpec& spec, int completions) {
  AnswerChoice choice;
  for (size_t i = 0; i < spec.steps.size(); ++i) {
    const FilterStep& step = spec.steps[i];
    const bool one = choice.vote || choice.first == 1;  // that is left
    const auto bad = [&](const auto&... what) {
      return absl::InvalidArgumentError(absl::StrCat("filter '", spec.name, "', step ", i + 1, ": ", what...));
    };
    if (step.kind == FilterStep::Kind::kTakeFirst) {
      if (!choice.vote) choice.first = 1;
    } else if (step.kind == FilterStep::Kind::kTakeFirstK) {
      const int left = one ? 1 : choice.first == 0 ? completions : choice.first;
      if (step.count < 1) return bad("take_first_k ", step.count, " is below 1");
      if (step.count > left) return bad("take_first_k ", step.count, " of ", left, " completions");
      if (!choice.vote) choice.first = step.count;
    } else if (step.kind == FilterStep::Kind::kMajorityVote) {
      if (one && completions > 1) return bad("majority_vote of one completion, which a step before has taken");
      choice.vote = true;
    }
  }
  return choice;
}

absl::StatusOr<AnswerFilter> AnswerFilter::Create(const FilterSpec& spec) {
  AnswerFilter filter;
  filter.name_ = spec.name;
  for (size_t i = 0; i < spec.steps.size(); ++i) {
    const std::string where = absl::StrCat("filter '", spec.name, "', step ", i + 1);
    Step step;
    step.spec = spec.steps[i];
    if (step.spec.kind == FilterStep::Kind::kRegex || step.spec.kind == FilterStep::Kind::kChoiceRegex) {
      auto regex = Regex::Compile(step.spec.pattern);
      if (!regex.ok()) return Annotate(regex.status(), where);
      step.regex.push_back(*std::move(regex));
      for (const std::string& pattern : step.spec.regexes_to_ignore) {
        auto ignored = Regex::Compile(pattern);
        if (!ignored.ok()) return Annotate(ignored.status(), absl::StrCat(where, ": regexes_to_ignore"));
        step.ignored.push_back(*std::move(ignored));
      }
    } else if (step.spec.kind == FilterStep::Kind::kNumber) {
      auto rule = NumberRule::ByName(step.spec.pattern);
      if (!rule.ok()) return Annotate(rule.status(), where);
      step.number = *rule;
    }
    filter.steps_.push_back(std::move(step));
  }
  return filter;
}

bool AnswerFilter::needs_choices() const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [](const Step& step) { return step.spec.kind == FilterStep::Kind::kChoiceRegex; });
}

std::string AnswerFilter::Apply(absl::string_view completion, absl::Span<const std::string> choices,
                                std::string* ballot) const {
  std::string text(completion);
  for (const Step& step : steps_) {
    switch (step.spec.kind) {
      case FilterStep::Kind::kRegex:
        text = Selected(step.spec, step.regex.front(), text);
        break;
      case FilterStep::Kind::kChoiceRegex:
        text = ChoiceOf(step.spec, step.regex.front(), step.ignored, choices, text);
        break;
      case FilterStep::Kind::kNumber: {
        const auto number = step.number->Extract(text);
        text = number ? number->text : "";
        break;
      }
      case FilterStep::Kind::kStrip:
        text = std::string(StripWhitespace(text));
        break;
      case FilterStep::Kind::kLowercase:
        text = Lowercase(text);
        break;
      case FilterStep::Kind::kUppercase:
        text = Uppercase(text);
        break;
      case FilterStep::Kind::kMap:
        if (const auto it = step.spec.map.find(text); it != step.spec.map.end()) {
          text = it->second;
        } else if (!step.spec.others_stay) {
          text = step.spec.fallback;
        }
        break;
      case FilterStep::Kind::kMajorityVote:
        if (ballot != nullptr) *ballot = text;
        break;
      case FilterStep::Kind::kTakeFirst:
      case FilterStep::Kind::kTakeFirstK:
        break;
    }
  }
  return text;
}

}  // namespace merganser
