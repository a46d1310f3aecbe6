#include "common/codec/job_spec_codec.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/codec/time_codec.h"

namespace merganser {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Value;

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

// A proto map has no order; by name, equal jobs are equal.
template <typename T>
void SortByName(std::vector<T>& items) {
  std::sort(items.begin(), items.end(), [](const T& a, const T& b) { return a.name < b.name; });
}

Value ToProto(const Granularity& granularity) {
  Value value;
  switch (granularity.kind) {
    case Granularity::Kind::kModel: value.set_string_value("model"); break;
    case Granularity::Kind::kLayer: value.set_string_value("layer"); break;
    case Granularity::Kind::kBlock:
      (*value.mutable_struct_value()->mutable_fields())["block"].set_number_value(granularity.block);
      break;
    case Granularity::Kind::kFilters: {
      ListValue* list = (*value.mutable_struct_value()->mutable_fields())["filters"].mutable_list_value();
      for (const std::string& filter : granularity.filters) list->add_values()->set_string_value(filter);
      break;
    }
  }
  return value;
}

absl::StatusOr<Granularity> ParseGranularity(const Value& value) {
  constexpr absl::string_view kField = "space.parameter.granularity";
  constexpr absl::string_view kForms = "give model, layer, {block: n} or {filters: [substring, ...]}";
  Granularity granularity;
  if (value.kind_case() == Value::kStringValue) {
    if (value.string_value() == "model") return granularity;
    if (value.string_value() == "layer") {
      granularity.kind = Granularity::Kind::kLayer;
      return granularity;
    }
    return Bad(kField, absl::StrCat("unknown '", value.string_value(), "'",
                                    DidYouMean(value.string_value(), {"model", "layer", "block", "filters"})));
  }
  if (value.kind_case() != Value::kStructValue || value.struct_value().fields_size() != 1) return Bad(kField, kForms);
  const auto& [key, inner] = *value.struct_value().fields().begin();
  if (key == "block") {
    const double n = inner.number_value();
    if (inner.kind_case() != Value::kNumberValue || n != std::floor(n) || n < 1 || n > 1e6) {
      return Bad(absl::StrCat(kField, ".block"), "must be a whole number of layers, at least 1");
    }
    granularity.kind = Granularity::Kind::kBlock;
    granularity.block = static_cast<int>(n);
    return granularity;
  }
  if (key == "filters") {
    granularity.kind = Granularity::Kind::kFilters;
    for (const Value& filter : inner.list_value().values()) {
      if (filter.kind_case() != Value::kStringValue) return Bad(absl::StrCat(kField, ".filters"), "must be strings");
      granularity.filters.push_back(filter.string_value());
    }
    return granularity;
  }
  return Bad(kField, absl::StrCat("unknown '", key, "'; ", kForms));
}

absl::StatusOr<ParameterSpace> ParseSpace(const v1::ParameterSpace& proto) {
  ParameterSpace space;
  space.method = proto.method();
  space.base = proto.base();
  space.sources = {proto.sources().begin(), proto.sources().end()};
  if (proto.has_granularity()) {
    MG_ASSIGN_OR_RETURN(space.granularity, ParseGranularity(proto.granularity()));
  }
  for (const auto& [name, list] : proto.bounds()) {
    if (list.values_size() != 2 || list.values(0).kind_case() != Value::kNumberValue ||
        list.values(1).kind_case() != Value::kNumberValue) {
      return Bad(absl::StrCat("space.parameter.bounds.", name), "must be two numbers: [low, high]");
    }
    space.bounds[name] = {list.values(0).number_value(), list.values(1).number_value()};
  }
  space.fixed = {proto.fixed().begin(), proto.fixed().end()};
  return space;
}

OptimizerSpec ParseOptimizer(const v1::OptimizerSpec& proto) {
  OptimizerSpec spec;
  switch (proto.kind_case()) {
    case v1::OptimizerSpec::kRandom:
      spec.name = "random";
      if (proto.random().has_population()) spec.numbers["population"] = proto.random().population();
      break;
    case v1::OptimizerSpec::kCmaEs: {
      const v1::CmaEs& cma = proto.cma_es();
      if (!cma.preset().empty()) spec.words["preset"] = cma.preset();
      if (!cma.update().empty()) spec.words["update"] = cma.update();
      if (!cma.bounds().empty()) spec.words["bounds"] = cma.bounds();
      if (cma.has_population()) spec.numbers["population"] = cma.population();
      if (cma.has_sigma0()) spec.numbers["sigma0"] = cma.sigma0();
      if (cma.has_mean()) spec.numbers["mean"] = cma.mean();
      break;
    }
    case v1::OptimizerSpec::KIND_NOT_SET: break;
  }
  return spec;
}

v1::OptimizerSpec ToProto(const OptimizerSpec& spec) {
  v1::OptimizerSpec proto;
  const auto number = [&](const char* key) {
    const auto it = spec.numbers.find(key);
    return it == spec.numbers.end() ? std::optional<double>() : it->second;
  };
  if (spec.name == "random") {
    v1::RandomSearch* random = proto.mutable_random();
    if (auto n = number("population")) random->set_population(static_cast<int32_t>(*n));
    return proto;
  }
  v1::CmaEs* cma = proto.mutable_cma_es();
  const auto word = [&](const char* key) {
    const auto it = spec.words.find(key);
    return it == spec.words.end() ? std::string() : it->second;
  };
  cma->set_preset(word("preset"));
  cma->set_update(word("update"));
  cma->set_bounds(word("bounds"));
  if (auto n = number("population")) cma->set_population(static_cast<int32_t>(*n));
  if (auto n = number("sigma0")) cma->set_sigma0(*n);
  if (auto n = number("mean")) cma->set_mean(*n);
  return proto;
}

}  // namespace

v1::Benchmark ToProto(const BenchmarkSpec& spec) {
  v1::Benchmark proto;
  proto.set_use(spec.use);
  proto.set_data(spec.data);
  if (spec.prompt) proto.set_prompt(*spec.prompt);
  if (spec.max_new_tokens) proto.set_max_new_tokens(*spec.max_new_tokens);
  if (spec.stop) {
    proto.mutable_stop();
    for (const std::string& stop : *spec.stop) proto.mutable_stop()->add_values(stop);
  }
  if (spec.extract) proto.set_extract(*spec.extract);
  if (spec.language) proto.set_language(*spec.language);
  if (spec.limit) proto.set_limit(*spec.limit);
  if (spec.question_field != "question") proto.set_question_field(spec.question_field);
  if (spec.answer_field != "answer") proto.set_answer_field(spec.answer_field);
  return proto;
}

BenchmarkSpec FromProto(const v1::Benchmark& proto, const std::string& name) {
  BenchmarkSpec spec;
  spec.name = name;
  spec.use = proto.use();
  spec.data = proto.data();
  if (proto.has_prompt()) spec.prompt = proto.prompt();
  if (proto.has_max_new_tokens()) spec.max_new_tokens = proto.max_new_tokens();
  if (proto.has_stop()) spec.stop.emplace(proto.stop().values().begin(), proto.stop().values().end());
  if (proto.has_extract()) spec.extract = proto.extract();
  if (proto.has_language()) spec.language = proto.language();
  if (proto.has_limit()) spec.limit = proto.limit();
  if (!proto.question_field().empty()) spec.question_field = proto.question_field();
  if (!proto.answer_field().empty()) spec.answer_field = proto.answer_field();
  return spec;
}

v1::JobSpec ToProto(const JobSpec& spec) {
  v1::JobSpec proto;
  proto.set_name(spec.name);
  proto.set_seed(spec.seed);
  for (const ModelRef& model : spec.models) {
    v1::Model& m = (*proto.mutable_models())[model.name];
    m.set_path(model.path);
    m.set_lora(model.lora);
    for (const auto& [from, to] : model.rename) (*m.mutable_rename())[from] = to;
  }
  v1::ParameterSpace* space = proto.mutable_space()->mutable_parameter();
  space->set_method(spec.parameter.method);
  space->set_base(spec.parameter.base);
  for (const std::string& source : spec.parameter.sources) space->add_sources(source);
  *space->mutable_granularity() = ToProto(spec.parameter.granularity);
  for (const auto& [name, bounds] : spec.parameter.bounds) {
    ListValue& list = (*space->mutable_bounds())[name];
    list.add_values()->set_number_value(bounds.low);
    list.add_values()->set_number_value(bounds.high);
  }
  for (const auto& [name, value] : spec.parameter.fixed) (*space->mutable_fixed())[name] = value;
  *proto.mutable_optimizer() = ToProto(spec.optimizer);
  for (const Objective& objective : spec.objectives) {
    v1::Objective* o = proto.add_objectives();
    o->set_benchmark(objective.benchmark);
    o->set_metric(objective.metric);
  }
  for (const BenchmarkSpec& b : spec.benchmarks) (*proto.mutable_benchmarks())[b.name] = ToProto(b);
  for (const BenchmarkSpec& b : spec.held_out) (*proto.mutable_held_out())[b.name] = ToProto(b);
  v1::Budget* budget = proto.mutable_budget();
  if (spec.budget.candidates > 0) budget->set_candidates(spec.budget.candidates);
  if (spec.budget.generations > 0) budget->set_generations(spec.budget.generations);
  if (spec.budget.wall_time != absl::InfiniteDuration()) *budget->mutable_wall_time() = ToProto(spec.budget.wall_time);
  if (spec.budget.target) budget->set_target(*spec.budget.target);
  proto.set_dtype(spec.dtype);
  proto.set_max_attempts(spec.max_attempts);
  return proto;
}

absl::StatusOr<JobSpec> FromProto(const v1::JobSpec& proto) {
  JobSpec spec;
  spec.name = proto.name();
  spec.seed = proto.seed();
  for (const auto& [name, model] : proto.models()) spec.models.push_back({name, model.path(), model.lora(), {model.rename().begin(), model.rename().end()}});
  SortByName(spec.models);
  if (!proto.space().has_parameter()) return Bad("space", "missing; give space.parameter");
  MG_ASSIGN_OR_RETURN(spec.parameter, ParseSpace(proto.space().parameter()));
  spec.optimizer = ParseOptimizer(proto.optimizer());
  for (const v1::Objective& o : proto.objectives()) spec.objectives.push_back({o.benchmark(), o.metric()});
  for (const auto& [name, b] : proto.benchmarks()) spec.benchmarks.push_back(FromProto(b, name));
  SortByName(spec.benchmarks);
  for (const auto& [name, b] : proto.held_out()) spec.held_out.push_back(FromProto(b, name));
  SortByName(spec.held_out);
  const v1::Budget& budget = proto.budget();
  // 0 in the struct means "no bound"; a written 0 is a mistake.
  if (budget.has_candidates() && budget.candidates() == 0) return Bad("budget.candidates", "0 is no budget; leave it out or give at least 1");
  if (budget.has_generations() && budget.generations() == 0) return Bad("budget.generations", "0 is no budget; leave it out or give at least 1");
  spec.budget.candidates = budget.candidates();
  spec.budget.generations = budget.generations();
  if (budget.has_wall_time()) spec.budget.wall_time = FromProto(budget.wall_time());
  if (budget.has_target()) spec.budget.target = budget.target();
  if (!proto.dtype().empty()) spec.dtype = proto.dtype();
  if (proto.has_max_attempts()) spec.max_attempts = proto.max_attempts();
  return spec;
}

}  // namespace merganser
