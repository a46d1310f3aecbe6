#include "worker/benchmark/answer_filter.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
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

}  // namespace

absl::StatusOr<AnswerFilter> AnswerFilter::Create(const FilterSpec& spec) {
  AnswerFilter filter;
  filter.name_ = spec.name;
  for (size_t i = 0; i < spec.steps.size(); ++i) {
    const std::string where = absl::StrCat("filter '", spec.name, "', step ", i + 1);
    Step step;
    step.spec = spec.steps[i];
    if (step.spec.kind == FilterStep::Kind::kRegex) {
      auto regex = Regex::Compile(step.spec.pattern);
      if (!regex.ok()) return Annotate(regex.status(), where);
      step.regex.push_back(*std::move(regex));
    } else if (step.spec.kind == FilterStep::Kind::kNumber) {
      auto rule = NumberRule::ByName(step.spec.pattern);
      if (!rule.ok()) return Annotate(rule.status(), where);
      step.number = *rule;
    }
    filter.steps_.push_back(std::move(step));
  }
  return filter;
}

std::string AnswerFilter::Apply(absl::string_view completion) const {
  std::string text(completion);
  for (const Step& step : steps_) {
    switch (step.spec.kind) {
      case FilterStep::Kind::kRegex: text = Selected(step.spec, step.regex.front(), text); break;
      case FilterStep::Kind::kNumber: {
        const auto number = step.number->Extract(text);
        text = number ? number->text : "";
        break;
      }
      case FilterStep::Kind::kStrip: text = std::string(StripWhitespace(text)); break;
      case FilterStep::Kind::kLowercase: text = Lowercase(text); break;
      case FilterStep::Kind::kUppercase: text = Uppercase(text); break;
      case FilterStep::Kind::kMap:
        if (const auto it = step.spec.map.find(text); it != step.spec.map.end()) text = it->second;
        break;
    }
  }
  return text;
}

}  // namespace merganser
