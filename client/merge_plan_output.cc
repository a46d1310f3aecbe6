#include "client/merge_plan_output.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/output.h"

namespace merganser {
namespace {

// "model.layers.#.mlp.up_proj.weight" and 3; the name itself and -1 without a number.
std::pair<std::string, int> WithoutLayer(const std::string& name) {
  for (size_t at = name.find('.'); at != std::string::npos; at = name.find('.', at + 1)) {
    size_t end = at + 1;
    while (end < name.size() && absl::ascii_isdigit(static_cast<unsigned char>(name[end]))) ++end;
    int layer = -1;
    if (end == at + 1 || end == name.size() || name[end] != '.' ||
        !absl::SimpleAtoi(name.substr(at + 1, end - at - 1), &layer))
      continue;
    return {absl::StrCat(name.substr(0, at + 1), "#", name.substr(end)), layer};
  }
  return {name, -1};
}

struct Line {
  std::string name, dtype, shape, from;
  int64_t bytes = 0;
  int count = 0;
};

}  // namespace

std::string MergePlanText(const RecipeExportPlan& plan) {
  std::string text = absl::StrCat(
      FormatCount(plan.parameters), " parameters in ", FormatCount(static_cast<int64_t>(plan.tensors.size())), " tensors",
      plan.layers > 0 ? absl::StrCat(" and ", plan.layers, " layers") : "", "\nreads ", FormatBytes(plan.read_bytes),
      ", writes ", FormatBytes(plan.write_bytes), " in ", plan.shards, plan.shards == 1 ? " file" : " files",
      "\nmemory at most ", FormatBytes(plan.memory_bytes), " beyond the page cache\ncomputing about ",
      DurationText(absl::Seconds(plan.estimated_seconds)), ", the disk's time apart\n");
  for (const std::string& note : plan.notes) absl::StrAppend(&text, note, "\n");
  absl::StrAppend(
      &text, "mergekit.yaml: ", plan.no_mergekit_yaml.empty() ? "yes" : absl::StrCat("no, ", plan.no_mergekit_yaml), "\n\n");
  std::vector<Line> lines;
  for (const RecipeExportPlan::Tensor& tensor : plan.tensors) {
    Line line{WithoutLayer(tensor.name).first, tensor.dtype, absl::StrJoin(tensor.shape, " x "), tensor.from, 0, 0};
    Line* same = nullptr;
    for (Line& other : lines) {
      if (other.name == line.name && other.dtype == line.dtype && other.shape == line.shape && other.from == line.from)
        same = &other;
    }
    if (same == nullptr) same = &lines.emplace_back(std::move(line));
    same->bytes += tensor.write_bytes;
    ++same->count;
  }
  Table table({">tensors", "name", "type", "shape", ">bytes", "from"});
  for (const Line& line : lines) {
    table.Add({absl::StrCat(line.count), line.name, line.dtype, line.shape, FormatBytes(line.bytes), line.from});
  }
  return text + table.Render();
}

Json MergePlanJson(const RecipeExportPlan& plan) {
  Json tensors = Json::array();
  for (const RecipeExportPlan::Tensor& tensor : plan.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", tensor.dtype},
                       {"shape", tensor.shape},
                       {"from", tensor.from},
                       {"read_bytes", tensor.read_bytes},
                       {"write_bytes", tensor.write_bytes}});
  }
  return {{"parameters", plan.parameters},
          {"layers", plan.layers},
          {"files", plan.shards},
          {"read_bytes", plan.read_bytes},
          {"write_bytes", plan.write_bytes},
          {"memory_bytes", plan.memory_bytes},
          {"estimated_seconds", plan.estimated_seconds},
          {"no_mergekit_yaml", plan.no_mergekit_yaml},
          {"notes", plan.notes},
          {"tensors", std::move(tensors)}};
}

absl::StatusOr<int64_t> ParseSize(absl::string_view text) {
  struct Unit {
    absl::string_view suffix;
    double bytes;
  };
  constexpr Unit kUnits[] = {
      {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}};
  for (const Unit& unit : kUnits) {
    if (!absl::EndsWithIgnoreCase(text, unit.suffix)) continue;
    double number = 0;
    const absl::string_view digits = text.substr(0, text.size() - unit.suffix.size());
    if (absl::SimpleAtod(absl::StripAsciiWhitespace(digits), &number) && number * unit.bytes >= 1 &&
        number * unit.bytes < 9e18)
      return static_cast<int64_t>(number * unit.bytes);
    break;
  }
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no size; write 5GB, 500MB or 4GiB"));
}

}  // namespace merganser
