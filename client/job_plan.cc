#include "client/job_plan.h"

#include <algorithm>
#include <map>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/output.h"
#include "common/base/status_macros.h"
#include "common/domain/scored_items.h"
#include "common/domain/search_validation.h"
#include "common/transfer/checkpoint_files.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/ranking.h"
#include "coordinator/job/stage_population.h"
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

// The benchmark on the way through `use` that says how long completions may be, or the last one that the job itself has.
const BenchmarkSpec& LengthFrom(const JobSpec& spec, const BenchmarkSpec& benchmark) {
  const BenchmarkSpec* b = &benchmark;
  for (int depth = 0; depth < 64 && !b->max_new_tokens && b->use != b->name; ++depth) {
    const BenchmarkSpec* const used = BenchmarkNamed(spec, b->use);
    if (used == nullptr) break;
    b = used;
  }
  return *b;
}

// What the job says of the length of completions; nullopt: a built-in's or a file's.
std::optional<int> NewTokens(const JobSpec& spec, const BenchmarkSpec& benchmark) {
  return LengthFrom(spec, benchmark).max_new_tokens;
}

int64_t At(const std::map<std::string, int64_t>& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? 0 : it->second;
}

void AppendBenchmarks(const JobPlan& plan, const std::vector<BenchmarkSpec>& benchmarks, absl::string_view role,
                      Table* table) {
  for (const BenchmarkSpec& b : benchmarks) {
    if (b.use == "command") {
      table->Add({std::string(role), b.name, "-", "-", "-"});
      continue;
    }
    const auto new_tokens = NewTokens(plan.spec, b);
    const int64_t samples = At(plan.facts.samples, b.name);
    const auto told = plan.facts.new_tokens.find(b.name);
    table->Add({std::string(role), b.name, FormatCount(samples), FormatCount(At(plan.facts.prompt_tokens, b.name)),
                told != plan.facts.new_tokens.end()                    ? FormatCount(told->second)
                : new_tokens                                           ? FormatCount(samples * *new_tokens)
                : absl::StrContains(LengthFrom(plan.spec, b).use, '/') ? "as its file says"
                                                                       : "built-in"});
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

const char* EncodingText(DataFlowSpace::Encoding encoding) {
  switch (encoding) {
    case DataFlowSpace::Encoding::kPublished:
      return "a number per layer, kept above 0";
    case DataFlowSpace::Encoding::kBits:
      return "a bit per layer";
    case DataFlowSpace::Encoding::kPath:
      return "a choice per depth";
  }
  return "";
}

std::string PathText(const DataFlowSpace& space) {
  std::string text = absl::StrCat("paths through ", absl::StrJoin(space.sources, ", "), "; ", EncodingText(space.encoding));
  if (space.repeats > 1) absl::StrAppend(&text, ", ", space.repeats, " times");
  if (space.scales != DataFlowSpace::Scales::kNone) {
    absl::StrAppend(&text, "; scales in [", space.scale_bounds.low, ", ", space.scale_bounds.high, "]");
    if (space.hidden_units > 0) absl::StrAppend(&text, " from a network of ", space.hidden_units, " hidden units");
  }
  if (space.ends == DataFlowSpace::Ends::kSearch) absl::StrAppend(&text, "; embedding and head are searched");
  if (space.max_hops > 0) absl::StrAppend(&text, "; at most ", space.max_hops, " hops");
  return text;
}

// " (where a fleet has more evaluation slots: as many as it has, up to 20)"; "" where nothing raises the population.
std::string SlotsText(const StagePlan& stage) {
  if (stage.population_max <= stage.population) return "";
  return absl::StrCat(" (where a fleet has more evaluation slots: as many as it has, up to ",
                      FormatCount(stage.population_max), ")");
}

// What a stage searches, with which optimizer and budget.
template <typename Line>
void AppendStage(const JobPlan& plan, const StagePlan& stage, bool last, const Line& line) {
  const ParameterSpace& space = stage.spec.parameter;
  const std::string method =
      space.methods.empty() ? space.method : absl::StrCat("one of ", absl::StrJoin(space.methods, ", "));
  line("genome", absl::StrCat(FormatCount(static_cast<int64_t>(stage.genes.size())), " numbers", space.used() ? ", " : "",
                              method, stage.spec.data_flow ? ", a path" : ""));
  for (const auto& [parameter, bounds] : space.bounds) {
    std::vector<std::string> owners = space.sources;
    owners.emplace_back();  // the method itself
    for (const std::string& source : owners) {
      std::vector<std::string> groups;
      for (const GeneLabel& gene : stage.genes) {
        if (gene.parameter == parameter && gene.source == source) groups.push_back(gene.group);
      }
      if (groups.empty()) continue;
      line("", absl::StrCat(parameter, source.empty() ? "" : absl::StrCat(" of ", source), " in [", bounds.low, ", ",
                            bounds.high, "]: ", groups.size(),
                            groups.size() == 1 ? " group: " : " groups: ", CondenseGroups(groups)));
    }
  }
  if (TakesWinnersPath(plan.spec, static_cast<int>(&stage - plan.stages.data()))) {
    const bool by_layer =
        space.granularity.kind == Granularity::Kind::kLayer || space.granularity.kind == Granularity::Kind::kBlock;
    line("", absl::StrCat("where the winner is a path it stays, with its scales",
                          by_layer ? ", and groups are of its layers, as \"hop.0\"" : ""));
  }
  for (const auto& [parameter, value] : space.fixed) line("", absl::StrCat(parameter, " = ", value, ", fixed"));
  if (stage.spec.data_flow) line("", PathText(*stage.spec.data_flow));
  line("optimizer", absl::StrCat(stage.spec.optimizer.name, ", ", stage.population, " candidates ",
                                 plan.spec.mode == SearchMode::kRolling ? "in flight" : "per generation", SlotsText(stage),
                                 ", seed ", plan.spec.seed));
  std::vector<std::string> budget;
  const Budget& bounds = stage.spec.budget;
  const std::string counted = absl::StrCat(FormatCount(stage.candidates), " candidates in ", FormatCount(stage.generations),
                                           stage.generations == 1 ? " generation" : " generations");
  if (stage.candidates > 0 && !stage.by_samples) budget.push_back(counted);
  if (bounds.samples > 0) {
    budget.push_back(absl::StrCat(FormatCount(bounds.samples), " sample evaluations",
                                  !stage.by_samples          ? ""
                                  : plan.spec.samples.racing ? absl::StrCat(" (at least ", counted, ")")
                                                             : absl::StrCat(" (about ", counted, ")")));
  }
  if (bounds.wall_time != absl::InfiniteDuration()) budget.push_back(DurationText(bounds.wall_time));
  if (bounds.gpu_time != absl::InfiniteDuration()) {
    budget.push_back(absl::StrCat(DurationText(bounds.gpu_time), " of evaluation"));
  }
  if (bounds.target) budget.push_back(absl::StrCat("until ", *bounds.target));
  line("budget",
       absl::StrCat(absl::StrJoin(budget, ", or "),
                    last ? absl::StrCat("; and ", plan.spec.models.size(), " models + the average as baselines") : ""));
}

}  // namespace

absl::StatusOr<JobPlan> MakeJobPlan(const JobSpec& spec, const JobFacts& facts) {
  JobPlan plan{spec, facts};
  bool bounded = true;
  for (int i = 0; i < NumStages(spec); ++i) {
    StagePlan stage{StageOf(spec, i)};
    MG_ASSIGN_OR_RETURN(const SearchSpace space,
                        SearchSpace::Create(spec, facts.num_layers, i, nullptr, ArchitectureSees(facts.architecture)));
    const auto optimizer =
        CreateOptimizer(stage.spec.optimizer, space.genome(), ToldNumbers(spec, stage.spec.optimizer), spec.seed);
    if (!optimizer.ok()) {
      return absl::Status(optimizer.status().code(), absl::StrCat(StageField(i), optimizer.status().message()));
    }
    stage.genes = space.labels();
    stage.population = (*optimizer)->batch_size();
    stage.candidates = stage.spec.budget.candidates;
    if (PopulationFollowsSlots(stage.spec.optimizer)) {
      stage.population_max = PopulationMax(stage.spec.budget, SamplesPerCandidate(spec, facts));
    }
    if (stage.spec.budget.generations > 0) {
      const int64_t by_generations = stage.spec.budget.generations * stage.population;
      stage.candidates = stage.candidates == 0 ? by_generations : std::min(stage.candidates, by_generations);
    }
    if (const int64_t each = SamplesPerCandidate(spec, facts); stage.spec.budget.samples > 0 && each > 0) {
      int64_t by_samples = (stage.spec.budget.samples + each - 1) / each;
      if (spec.mode == SearchMode::kSynchronous) {  // whole generations
        by_samples = (by_samples + stage.population - 1) / stage.population * stage.population;
      }
      stage.by_samples = stage.candidates == 0 || by_samples < stage.candidates;
      if (stage.by_samples) stage.candidates = by_samples;
    }
    stage.generations = (stage.candidates + stage.population - 1) / stage.population;
    bounded = bounded && stage.candidates > 0;
    plan.candidates += stage.candidates;
    plan.stages.push_back(std::move(stage));
  }
  if (!bounded) plan.candidates = 0;
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
  line("models", absl::StrCat(spec.models.size(), " of ", plan.facts.architecture, ", ",
                              plan.facts.num_layers > 0 ? absl::StrCat(plan.facts.num_layers, " layers, ") : "",
                              FormatCount(plan.facts.parameters), " parameters; merged as ", spec.dtype));
  for (const ModelRef& model : spec.models) {
    line("",
         absl::StrCat(model.name, model.name == spec.parameter.base ? " (base): " : ": ", SplitContent(model.path).first));
  }
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    if (plan.stages.size() > 1) line("stage", absl::StrCat(i + 1, " of ", plan.stages.size()));
    AppendStage(plan, plan.stages[i], i + 1 == plan.stages.size(), line);
  }
  for (const Objective& o : spec.objectives) {
    line("objective", absl::StrCat(o.benchmark, ".", o.metric, o.benchmark == kCostBenchmark ? ", less is better" : "",
                                   o.weight == 1 ? "" : absl::StrCat(", weight ", o.weight)));
  }
  for (const Constraint& c : spec.constraints) {
    line("constraint", absl::StrCat(c.benchmark, ".", c.metric,
                                    c.at_most ? absl::StrCat(" at most ", *c.at_most)
                                              : absl::StrCat(" at least ", c.at_least ? absl::StrCat(*c.at_least)
                                                                                      : "that of " + c.at_least_model)));
  }
  if (spec.samples.per_generation > 0) {
    line("samples",
         absl::StrCat(FormatCount(spec.samples.per_generation), " of each benchmark, ",
                      spec.samples.choose == kChooseInformation ? "chosen by what they tell of the last generation"
                                                                : "drawn anew for each generation"));
  }
  if (spec.samples.racing) {
    line("race", absl::StrCat("in blocks of ", spec.samples.racing->block, "; behind the middle of their generation with ",
                              100 * spec.samples.racing->confidence, " % confidence, candidates are stopped"));
  }
  if (spec.finalists.count > 0) {
    line("finalists", absl::StrCat(spec.finalists.count == 1 ? std::string("the best one is")
                                                             : absl::StrCat("the best ", spec.finalists.count, " are"),
                                   " scored again on ", spec.finalists.benchmark));
  }
  line("memory", absl::StrCat(FormatBytes(plan.facts.resident_bytes), " of sources stay resident, ",
                              FormatBytes(plan.facts.candidate_bytes), " for the candidate at work (per worker)"));
  line("time", CostText(plan));
  if (plan.calibration && plan.calibration->generated_tokens > 0) {
    line("tokens", absl::StrCat(FormatCount(plan.calibration->generated_tokens),
                                " generated by that candidate, the plain average of the sources"));
  }
  Table table({"benchmarks", "name", ">samples", ">prompt tokens", ">new tokens at most"});
  AppendBenchmarks(plan, spec.benchmarks, "search", &table);
  AppendBenchmarks(plan, spec.held_out, "held out", &table);
  return absl::StrCat(text, table.Render());
}

Json JobPlanJson(const JobPlan& plan) {
  Json stages = Json::array();
  for (const StagePlan& stage : plan.stages) {
    Json genes = Json::array();
    for (const GeneLabel& gene : stage.genes) {
      genes.push_back({{"group", gene.group},
                       {"source", gene.source},
                       {"parameter", gene.parameter},
                       {"low", gene.bounds.low},
                       {"high", gene.bounds.high}});
    }
    stages.push_back({{"method", stage.spec.parameter.method},
                      {"dimension", stage.genes.size()},
                      {"genes", std::move(genes)},
                      {"optimizer", stage.spec.optimizer.name},
                      {"population", stage.population},
                      {"candidates", stage.candidates > 0 ? Json(stage.candidates) : Json(nullptr)},
                      {"population_max", std::max<int64_t>(stage.population, stage.population_max)},
                      {"generations", stage.candidates > 0 ? Json(stage.generations) : Json(nullptr)}});
  }
  Json benchmarks = Json::object();
  for (const auto* list : {&plan.spec.benchmarks, &plan.spec.held_out}) {
    for (const BenchmarkSpec& b : *list) {
      Json entry = {{"held_out", list == &plan.spec.held_out},
                    {"samples", At(plan.facts.samples, b.name)},
                    {"prompt_tokens", At(plan.facts.prompt_tokens, b.name)}};
      if (const auto new_tokens = NewTokens(plan.spec, b)) entry["max_new_tokens"] = *new_tokens;
      if (const auto told = plan.facts.new_tokens.find(b.name); told != plan.facts.new_tokens.end()) {
        entry["new_tokens"] = told->second;
      }
      benchmarks[b.name] = std::move(entry);
    }
  }
  Json json = {{"job", plan.spec.name},
               {"architecture", plan.facts.architecture},
               {"layers", plan.facts.num_layers},
               {"parameters", plan.facts.parameters},
               {"benchmarks", std::move(benchmarks)},
               {"resident_bytes", plan.facts.resident_bytes},
               {"candidate_bytes", plan.facts.candidate_bytes},
               {"seconds_per_candidate", nullptr},
               {"generated_tokens_per_candidate", nullptr}};
  // The first stage's, as the whole job's: most have only one.
  json.update(stages.front());
  json["candidates"] = plan.candidates > 0 ? Json(plan.candidates) : Json(nullptr);
  if (stages.size() > 1) json["stages"] = std::move(stages);
  if (plan.calibration && !plan.calibration->cut) {
    json["seconds_per_candidate"] = absl::ToDoubleSeconds(plan.calibration->per_candidate);
    json["generated_tokens_per_candidate"] = plan.calibration->generated_tokens;
  }
  return json;
}

}  // namespace merganser
