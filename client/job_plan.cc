#include "client/job_plan.h"

#include <algorithm>
#include <map>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/output.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

// "layer.7" -> ("layer.", 7).
std::optional<std::pair<std::string, int>> Numbered(const std::string& group) {
  const size_t dot = group.rfind('.');
  int number = 0;
  if (dot == std::string::npos || !absl::SimpleAtoi(group.substr(dot + 1), &number)) return std::nullopt;
  return std::make_pair(group.substr(0, dot + 1), number);
}

const BenchmarkSpec* Find(const JobSpec& spec, const std::string& name) {
  for (const auto* list : {&spec.benchmarks, &spec.held_out}) {
    for (const BenchmarkSpec& b : *list) {
      if (b.name == name) return &b;
    }
  }
  return nullptr;
}

// What the job says of the length of completions, through `use`; nullopt: the built-in's.
std::optional<int> NewTokens(const JobSpec& spec, const BenchmarkSpec& benchmark) {
  const BenchmarkSpec* b = &benchmark;
  for (int depth = 0; b != nullptr && depth < 64; ++depth) {
    if (b->max_new_tokens) return b->max_new_tokens;
    if (b->use == b->name) break;
    b = Find(spec, b->use);
  }
  return std::nullopt;
}

int64_t At(const std::map<std::string, int64_t>& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? 0 : it->second;
}

void AppendBenchmarks(const JobPlan& plan, const std::vector<BenchmarkSpec>& benchmarks, absl::string_view role,
                      Table* table) {
  for (const BenchmarkSpec& b : benchmarks) {
    const auto new_tokens = NewTokens(plan.spec, b);
    const int64_t samples = At(plan.facts.samples, b.name);
    table->Add({std::string(role), b.name, FormatCount(samples), FormatCount(At(plan.facts.prompt_tokens, b.name)),
                new_tokens ? FormatCount(samples * *new_tokens) : "built-in"});
  }
}

// "420ms per candidate, measured; about 2m48s for the search on one worker".
std::string CostText(const JobPlan& plan) {
  if (!plan.calibration) return "not measured: the baselines calibrate it";
  const absl::Duration each = plan.calibration->per_candidate;
  const bool cut = plan.calibration->cut;
  std::string text = cut ? absl::StrCat("over ", DurationText(each), " per candidate (the measurement was cut there)")
                         : absl::StrCat(DurationText(each), " per candidate, measured");
  if (plan.candidates > 0) {
    absl::StrAppend(&text, "; ", cut ? "over " : "about ", DurationText(each * plan.candidates),
                    " for the search on one such worker");
  }
  return text;
}

}  // namespace

absl::StatusOr<JobPlan> MakeJobPlan(const JobSpec& spec, const JobFacts& facts) {
  MG_ASSIGN_OR_RETURN(const ParameterSpaceDecoder decoder, ParameterSpaceDecoder::Create(spec, facts.num_layers));
  MG_ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                      CreateOptimizer(spec.optimizer, decoder.dimension(), spec.seed));
  JobPlan plan{spec, facts, decoder.genes(), optimizer->batch_size()};
  plan.candidates = spec.budget.candidates;
  if (spec.budget.generations > 0) {
    const int64_t by_generations = spec.budget.generations * plan.population;
    plan.candidates = plan.candidates == 0 ? by_generations : std::min(plan.candidates, by_generations);
  }
  plan.generations = (plan.candidates + plan.population - 1) / plan.population;
  return plan;
}

std::string CondenseGroups(const std::vector<std::string>& groups) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < groups.size();) {
    size_t end = i + 1;
    if (const auto first = Numbered(groups[i])) {
      while (end < groups.size()) {
        const auto next = Numbered(groups[end]);
        if (!next || next->first != first->first || next->second != first->second + static_cast<int>(end - i)) break;
        ++end;
      }
    }
    if (end - i > 2) {
      parts.push_back(absl::StrCat(groups[i], " ... ", groups[end - 1]));
    } else {
      parts.insert(parts.end(), groups.begin() + i, groups.begin() + end);
    }
    i = end;
  }
  return absl::StrJoin(parts, ", ");
}

std::string JobPlanText(const JobPlan& plan) {
  const JobSpec& spec = plan.spec;
  std::string text;
  const auto line = [&](absl::string_view key, const std::string& value) {
    absl::StrAppend(&text, absl::StrFormat("%-11s %s\n", key, value));
  };
  line("job", spec.name);
  line("models", absl::StrCat(spec.models.size(), " of ", plan.facts.architecture, ", ", plan.facts.num_layers, " layers, ",
                              FormatCount(plan.facts.parameters), " parameters; merged as ", spec.dtype));
  for (const ModelRef& model : spec.models) {
    line("", absl::StrCat(model.name, model.name == spec.parameter.base ? " (base): " : ": ", model.path));
  }
  line("genome", absl::StrCat(FormatCount(static_cast<int64_t>(plan.genes.size())), " numbers, ", spec.parameter.method));
  for (const auto& [parameter, bounds] : spec.parameter.bounds) {
    for (const std::string& source : spec.parameter.sources) {
      std::vector<std::string> groups;
      for (const GeneLabel& gene : plan.genes) {
        if (gene.parameter == parameter && gene.source == source) groups.push_back(gene.group);
      }
      line("", absl::StrCat(parameter, " of ", source, " in [", bounds.low, ", ", bounds.high, "]: ", groups.size(),
                            groups.size() == 1 ? " group: " : " groups: ", CondenseGroups(groups)));
    }
  }
  for (const auto& [parameter, value] : spec.parameter.fixed) line("", absl::StrCat(parameter, " = ", value, ", fixed"));
  line("optimizer",
       absl::StrCat(spec.optimizer.name, ", ", plan.population, " candidates per generation, seed ", spec.seed));
  std::vector<std::string> budget;
  if (plan.candidates > 0) {
    budget.push_back(
        absl::StrCat(FormatCount(plan.candidates), " candidates in ", FormatCount(plan.generations), " generations"));
  }
  if (spec.budget.wall_time != absl::InfiniteDuration()) budget.push_back(DurationText(spec.budget.wall_time));
  if (spec.budget.target) budget.push_back(absl::StrCat("until ", *spec.budget.target));
  line("budget",
       absl::StrCat(absl::StrJoin(budget, ", or "), "; and ", spec.models.size(), " models + the average as baselines"));
  for (const Objective& o : spec.objectives) line("objective", absl::StrCat(o.benchmark, ".", o.metric));
  line("memory", absl::StrCat(FormatBytes(plan.facts.resident_bytes), " of sources stay resident, ",
                              FormatBytes(plan.facts.candidate_bytes), " for the candidate at work (per worker)"));
  line("time", CostText(plan));
  Table table({"benchmarks", "name", ">samples", ">prompt tokens", ">new tokens at most"});
  AppendBenchmarks(plan, spec.benchmarks, "search", &table);
  AppendBenchmarks(plan, spec.held_out, "held out", &table);
  return absl::StrCat(text, table.Render());
}

Json JobPlanJson(const JobPlan& plan) {
  Json genes = Json::array();
  for (const GeneLabel& gene : plan.genes) {
    genes.push_back({{"group", gene.group},
                     {"source", gene.source},
                     {"parameter", gene.parameter},
                     {"low", gene.bounds.low},
                     {"high", gene.bounds.high}});
  }
  Json benchmarks = Json::object();
  for (const auto* list : {&plan.spec.benchmarks, &plan.spec.held_out}) {
    for (const BenchmarkSpec& b : *list) {
      Json entry = {{"held_out", list == &plan.spec.held_out},
                    {"samples", At(plan.facts.samples, b.name)},
                    {"prompt_tokens", At(plan.facts.prompt_tokens, b.name)}};
      if (const auto new_tokens = NewTokens(plan.spec, b)) entry["max_new_tokens"] = *new_tokens;
      benchmarks[b.name] = std::move(entry);
    }
  }
  Json json = {{"job", plan.spec.name},
               {"architecture", plan.facts.architecture},
               {"layers", plan.facts.num_layers},
               {"parameters", plan.facts.parameters},
               {"method", plan.spec.parameter.method},
               {"dimension", plan.genes.size()},
               {"genes", std::move(genes)},
               {"optimizer", plan.spec.optimizer.name},
               {"population", plan.population},
               {"candidates", plan.candidates > 0 ? Json(plan.candidates) : Json(nullptr)},
               {"generations", plan.candidates > 0 ? Json(plan.generations) : Json(nullptr)},
               {"benchmarks", std::move(benchmarks)},
               {"resident_bytes", plan.facts.resident_bytes},
               {"candidate_bytes", plan.facts.candidate_bytes},
               {"seconds_per_candidate", nullptr}};
  if (plan.calibration && !plan.calibration->cut) {
    json["seconds_per_candidate"] = absl::ToDoubleSeconds(plan.calibration->per_candidate);
  }
  return json;
}

}  // namespace merganser
