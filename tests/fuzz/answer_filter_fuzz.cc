// Entry for libFuzzer and for the mutation driver: whatever a completion, the number rules give a JSON number or nothing,
// and filters (the first line is a pattern) give a text; metrics of it are shares.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "worker/benchmark/answer_filter.h"
#include "worker/benchmark/number_rule.h"
#include "worker/benchmark/text_metrics.h"

using namespace merganser;

namespace {

void CheckNumber(const char* rule, absl::string_view completion) {
  const auto number = (*NumberRule::ByName(rule))->Extract(completion);
  if (!number) return;
  if (number->text.empty() || std::isnan(number->value)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  const std::string pattern = text.substr(0, line), completion = line == std::string::npos ? "" : text.substr(line + 1);
  CheckNumber("sakana", completion);
  CheckNumber("jp_lmeh", completion);
  for (const int match : {0, -1}) {
    FilterStep regex{.kind = FilterStep::Kind::kRegex, .pattern = pattern, .match = match};
    const auto filter =
        AnswerFilter::Create({"f", {regex, {.kind = FilterStep::Kind::kStrip}, {.kind = FilterStep::Kind::kLowercase}}});
    if (!filter.ok()) continue;
    const std::string answer = filter->Apply(completion);
    for (const char* name : {"exact_match", "f1", "rouge1", "rouge2", "rougeL"}) {
      for (const char* unit : {"words", "characters"}) {
        MetricSpec spec{name};
        if (spec.name != "exact_match") spec.unit = unit;
        const auto metric = TextMetric::Create(spec);
        if (!metric.ok()) std::abort();
        const auto share = metric->Best(answer.substr(0, 2000), {completion.substr(0, 2000), pattern});
        if (!share.ok() || !(*share >= 0 && *share <= 1)) std::abort();
      }
    }
  }
  return 0;
}
