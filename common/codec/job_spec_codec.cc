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

constexpr double kGiB = 1 << 30;
constexpr double kMemoryGibMax = 1 << 20;

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
    case Granularity::Kind::kModel:
      value.set_string_value("model");
      break;
    case Granularity::Kind::kLayer:
      value.set_string_value("layer");
      break;
    case Granularity::Kind::kBlock:
      (*value.mutable_struct_value()->mutable_fields())["block"].set_number_value(granularity.block);
      break;
    case Granularity::Kind::kFilters:
      break;
  }
  if (!granularity.filters.empty()) {
    ListValue* list = (*value.mutable_struct_value()->mutable_fields())["filters"].mutable_list_value();
    for (const std::string& filter : granularity.filters) list->add_values()->set_string_value(filter);
  }
  return value;
}

absl::StatusOr<Granularity> ParseGranularity(const Value& value, const std::string& field) {
  constexpr absl::string_view kForms = "give model, layer, {block: n}, {filters: [substring, ...]} or both in one map";
  Granularity granularity;
  if (value.kind_case() == Value::kStringValue) {
    if (value.string_value() == "model") return granularity;
    if (value.string_value() == "layer") {
      granularity.kind = Granularity::Kind::kLayer;
      return granularity;
    }
    return Bad(field, absl::StrCat("unknown '", value.string_value(), "'",
                                   DidYouMean(value.string_value(), {"model", "layer", "block", "filters"})));
  }
  if (value.kind_case() != Value::kStructValue || value.struct_value().fields().empty()) return Bad(field, kForms);
  granularity.kind = Granularity::Kind::kFilters;
  for (const auto& [key, inner] : value.struct_value().fields()) {
    if (key == "block") {
      const double n = inner.number_value();
      if (inner.kind_case() != Value::kNumberValue || n != std::floor(n) || n < 1 || n > 1e6) {
        return Bad(absl::StrCat(field, ".block"), "must be a whole number of layers, at least 1");
      }
      granularity.kind = Granularity::Kind::kBlock;
      granularity.block = static_cast<int>(n);
    } else if (key == "filters") {
      if (inner.list_value().values().empty()) return Bad(absl::StrCat(field, ".filters"), "empty");
      for (const Value& filter : inner.list_value().values()) {
        if (filter.kind_case() != Value::kStringValue) return Bad(absl::StrCat(field, ".filters"), "must be strings");
        granularity.filters.push_back(filter.string_value());
      }
    } else {
      return Bad(field, absl::StrCat("unknown '", key, "'; ", kForms));
    }
  }
  return granularity;
}

absl::StatusOr<Bounds> ParseBounds(const ListValue& list, const std::string& field) {
  if (list.values_size() != 2 || list.values(0).kind_case() != Value::kNumberValue ||
      list.values(1).kind_case() != Value::kNumberValue) {
    return Bad(field, "must be two numbers: [low, high]");
  }
  return Bounds{list.values(0).number_value(), list.values(1).number_value()};
}

ListValue ToProto(const Bounds& bounds) {
  ListValue list;
  list.add_values()->set_number_value(bounds.low);
  list.add_values()->set_number_value(bounds.high);
  return list;
}

absl::StatusOr<ParameterSpace> ParseSpace(const v1::ParameterSpace& proto, const std::string& at) {
  ParameterSpace space;
  space.method = proto.method();
  space.methods = {proto.methods().begin(), proto.methods().end()};
  space.start = proto.start();
  space.base = proto.base();
  space.sources = {proto.sources().begin(), proto.sources().end()};
  if (proto.has_granularity()) {
    MG_ASSIGN_OR_RETURN(space.granularity, ParseGranularity(proto.granularity(), absl::StrCat(at, ".granularity")));
  }
  for (const auto& [name, list] : proto.bounds()) {
    MG_ASSIGN_OR_RETURN(space.bounds[name], ParseBounds(list, absl::StrCat(at, ".bounds.", name)));
  }
  space.fixed = {proto.fixed().begin(), proto.fixed().end()};
  return space;
}

// The words of an enum's values, in their order; the first is what an unset field means.
constexpr const char* kEncodings[] = {"published", "bits", "path"};
constexpr const char* kScales[] = {"none", "slot", "matrix", "network"};
constexpr int kHiddenUnits = 4;  // of a network of scales, unless said otherwise
constexpr const char* kEnds[] = {"first", "search"};
constexpr const char* kModes[] = {"synchronous", "rolling"};

template <typename E, size_t N>
absl::StatusOr<E> ParseWord(const std::string& word, const char* const (&words)[N], E otherwise, const std::string& field) {
  if (word.empty()) return otherwise;
  for (size_t i = 0; i < N; ++i) {
    if (word == words[i]) return static_cast<E>(i);
  }
  return Bad(field, absl::StrCat("unknown '", word, "'", DidYouMean(word, std::vector<std::string>(words, words + N))));
}

absl::StatusOr<DataFlowSpace> ParseDataFlow(const v1::DataFlowSpace& proto, const std::string& at) {
  using Space = DataFlowSpace;
  Space space;
  space.sources = {proto.sources().begin(), proto.sources().end()};
  MG_ASSIGN_OR_RETURN(space.encoding,
                      ParseWord(proto.encoding(), kEncodings, Space::Encoding::kPath, absl::StrCat(at, ".encoding")));
  const bool published = space.encoding == Space::Encoding::kPublished;
  space.repeats = proto.has_repeats() ? proto.repeats() : published ? 3 : 1;
  MG_ASSIGN_OR_RETURN(space.scales,
                      ParseWord(proto.scales(), kScales, published ? Space::Scales::kMatrix : Space::Scales::kNone,
                                absl::StrCat(at, ".scales")));
  if (proto.has_scale_bounds()) {
    MG_ASSIGN_OR_RETURN(space.scale_bounds, ParseBounds(proto.scale_bounds(), absl::StrCat(at, ".scale_bounds")));
  }
  if (proto.has_hidden_units()) {
    if (proto.hidden_units() < 1) {
      return Bad(absl::StrCat(at, ".hidden_units"), absl::StrCat(proto.hidden_units(), " is below 1"));
    }
    space.hidden_units = proto.hidden_units();
  } else if (space.scales == Space::Scales::kNetwork) {
    space.hidden_units = kHiddenUnits;
  }
  MG_ASSIGN_OR_RETURN(space.ends, ParseWord(proto.ends(), kEnds, Space::Ends::kFirst, absl::StrCat(at, ".ends")));
  if (proto.has_max_hops() && proto.max_hops() < 1) {
    return Bad(absl::StrCat(at, ".max_hops"), absl::StrCat(proto.max_hops(), " is below 1"));
  }
  space.max_hops = proto.max_hops();
  return space;
}

v1::DataFlowSpace ToProto(const DataFlowSpace& space) {
  v1::DataFlowSpace proto;
  for (const std::string& source : space.sources) proto.add_sources(source);
  proto.set_encoding(kEncodings[static_cast<int>(space.encoding)]);
  proto.set_repeats(space.repeats);
  proto.set_scales(kScales[static_cast<int>(space.scales)]);
  *proto.mutable_scale_bounds() = ToProto(space.scale_bounds);
  if (space.hidden_units > 0) proto.set_hidden_units(space.hidden_units);
  proto.set_ends(kEnds[static_cast<int>(space.ends)]);
  if (space.max_hops > 0) proto.set_max_hops(space.max_hops);
  return proto;
}

// Validate() refuses an unknown method, too; it knows no near names.
absl::Status CheckMethodNames(const ParameterSpace& space, const std::string& at) {
  std::vector<std::string> known;
  for (const MethodSignature& method : KnownMethods()) known.push_back(method.name);
  const auto check = [&](const std::string& name, const std::string& field) {
    return FindMethod(name) != nullptr ? absl::OkStatus()
                                       : Bad(field, absl::StrCat("unknown method '", name, "'", DidYouMean(name, known)));
  };
  if (!space.method.empty()) MG_RETURN_IF_ERROR(check(space.method, absl::StrCat(at, ".method")));
  for (size_t i = 0; i < space.methods.size(); ++i) {
    MG_RETURN_IF_ERROR(check(space.methods[i], absl::StrCat(at, ".methods[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status ParseSpaces(const v1::SearchSpace& proto, const std::string& at, ParameterSpace* parameter,
                         std::optional<DataFlowSpace>* data_flow) {
  if (!proto.has_parameter() && !proto.has_data_flow()) {
    return Bad(absl::StrCat(at, "space"), absl::StrCat("missing; give ", at, "space.parameter or ", at, "space.data_flow"));
  }
  if (proto.has_parameter()) {
    MG_ASSIGN_OR_RETURN(*parameter, ParseSpace(proto.parameter(), absl::StrCat(at, "space.parameter")));
    if (!parameter->used()) {
      return Bad(absl::StrCat(at, "space.parameter.method"), "missing; name a merge method, or several in `methods`");
    }
    MG_RETURN_IF_ERROR(CheckMethodNames(*parameter, absl::StrCat(at, "space.parameter")));
  }
  if (proto.has_data_flow()) {
    MG_ASSIGN_OR_RETURN(*data_flow, ParseDataFlow(proto.data_flow(), absl::StrCat(at, "space.data_flow")));
  }
  return absl::OkStatus();
}

v1::SearchSpace ToProto(const ParameterSpace& parameter, const std::optional<DataFlowSpace>& data_flow) {
  v1::SearchSpace proto;
  if (parameter.used()) {
    v1::ParameterSpace* space = proto.mutable_parameter();
    space->set_method(parameter.method);
    for (const std::string& method : parameter.methods) space->add_methods(method);
    space->set_start(parameter.start);
    space->set_base(parameter.base);
    for (const std::string& source : parameter.sources) space->add_sources(source);
    *space->mutable_granularity() = ToProto(parameter.granularity);
    for (const auto& [name, bounds] : parameter.bounds) (*space->mutable_bounds())[name] = ToProto(bounds);
    for (const auto& [name, value] : parameter.fixed) (*space->mutable_fixed())[name] = value;
  }
  if (data_flow) *proto.mutable_data_flow() = ToProto(*data_flow);
  return proto;
}

absl::StatusOr<Budget> ParseBudget(const v1::Budget& proto, const std::string& at) {
  // 0 in the struct means "no bound"; a written 0 is a mistake.
  const auto zero = [&](bool has, int64_t value, const char* name) {
    return has && value == 0 ? Bad(absl::StrCat(at, "budget.", name), "0 is no budget; leave it out or give at least 1")
                             : absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(zero(proto.has_candidates(), proto.candidates(), "candidates"));
  MG_RETURN_IF_ERROR(zero(proto.has_generations(), proto.generations(), "generations"));
  MG_RETURN_IF_ERROR(zero(proto.has_samples(), proto.samples(), "samples"));
  Budget budget{proto.candidates(), proto.generations(), proto.samples()};
  if (proto.has_wall_time()) budget.wall_time = FromProto(proto.wall_time());
  if (proto.has_gpu_time()) budget.gpu_time = FromProto(proto.gpu_time());
  if (proto.has_target()) budget.target = proto.target();
  return budget;
}

// The optimizers' options are scalars under the names that coordinator/optimizer/factory.h gives them,
// so one walk over the chosen message's fields serves all: numbers and words, unset ones left out.
OptimizerSpec ParseOptimizer(const v1::OptimizerSpec& proto) {
  OptimizerSpec spec;
  const auto* kind =
      proto.GetReflection()->GetOneofFieldDescriptor(proto, v1::OptimizerSpec::descriptor()->FindOneofByName("kind"));
  if (kind == nullptr) return spec;
  spec.name = kind->name();
  const google::protobuf::Message& options = proto.GetReflection()->GetMessage(proto, kind);
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  options.GetReflection()->ListFields(options, &fields);
  for (const auto* field : fields) {
    switch (field->cpp_type()) {
      case google::protobuf::FieldDescriptor::CPPTYPE_INT32:
        spec.numbers[field->name()] = options.GetReflection()->GetInt32(options, field);
        break;
      case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE:
        spec.numbers[field->name()] = options.GetReflection()->GetDouble(options, field);
        break;
      default:
        spec.words[field->name()] = options.GetReflection()->GetString(options, field);
    }
  }
  return spec;
}

v1::OptimizerSpec ToProto(const OptimizerSpec& spec) {
  v1::OptimizerSpec proto;
  const auto* kind = v1::OptimizerSpec::descriptor()->FindFieldByName(spec.name);
  if (kind == nullptr) return proto;
  google::protobuf::Message* options = proto.GetReflection()->MutableMessage(&proto, kind);
  for (const auto& [name, value] : spec.numbers) {
    const auto* field = options->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) continue;
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT32) {
      options->GetReflection()->SetInt32(options, field, static_cast<int32_t>(value));
    } else {
      options->GetReflection()->SetDouble(options, field, value);
    }
  }
  for (const auto& [name, value] : spec.words) {
    const auto* field = options->GetDescriptor()->FindFieldByName(name);
    if (field != nullptr) options->GetReflection()->SetString(options, field, value);
  }
  return proto;
}

}  // namespace

v1::Budget ToProto(const Budget& budget) {
  v1::Budget proto;
  if (budget.candidates > 0) proto.set_candidates(budget.candidates);
  if (budget.generations > 0) proto.set_generations(budget.generations);
  if (budget.samples > 0) proto.set_samples(budget.samples);
  if (budget.wall_time != absl::InfiniteDuration()) *proto.mutable_wall_time() = merganser::ToProto(budget.wall_time);
  if (budget.gpu_time != absl::InfiniteDuration()) *proto.mutable_gpu_time() = merganser::ToProto(budget.gpu_time);
  if (budget.target) proto.set_target(*budget.target);
  return proto;
}

absl::StatusOr<Budget> FromProto(const v1::Budget& proto) { return ParseBudget(proto, ""); }

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
  *proto.mutable_space() = ToProto(spec.parameter, spec.data_flow);
  *proto.mutable_optimizer() = ToProto(spec.optimizer);
  for (const Objective& objective : spec.objectives) {
    v1::Objective* o = proto.add_objectives();
    o->set_benchmark(objective.benchmark);
    o->set_metric(objective.metric);
    if (objective.weight != 1) o->set_weight(objective.weight);
  }
  for (const BenchmarkSpec& b : spec.benchmarks) (*proto.mutable_benchmarks())[b.name] = ToProto(b);
  for (const BenchmarkSpec& b : spec.held_out) (*proto.mutable_held_out())[b.name] = ToProto(b);
  *proto.mutable_budget() = ToProto(spec.budget);
  proto.set_dtype(spec.dtype);
  proto.set_max_attempts(spec.max_attempts);
  for (const SearchStage& stage : spec.then) {
    v1::SearchStage* p = proto.add_then();
    *p->mutable_space() = ToProto(stage.parameter, stage.data_flow);
    *p->mutable_optimizer() = ToProto(stage.optimizer);
    *p->mutable_budget() = ToProto(stage.budget);
  }
  proto.set_mode(kModes[static_cast<int>(spec.mode)]);
  if (spec.samples != SamplePolicy{}) {
    proto.mutable_samples()->set_per_generation(spec.samples.per_generation);
    proto.mutable_samples()->set_choose(spec.samples.choose);
  }
  if (spec.samples.racing) {
    proto.mutable_samples()->mutable_racing()->set_block(spec.samples.racing->block);
    proto.mutable_samples()->mutable_racing()->set_confidence(spec.samples.racing->confidence);
  }
  for (const Constraint& constraint : spec.constraints) {
    v1::Constraint* c = proto.add_constraints();
    c->set_benchmark(constraint.benchmark);
    c->set_metric(constraint.metric);
    if (constraint.at_least) c->set_at_least(*constraint.at_least);
    if (constraint.at_most) c->set_at_most(*constraint.at_most);
    c->set_at_least_model(constraint.at_least_model);
  }
  if (spec.finalists != Finalists{}) {
    proto.mutable_finalists()->set_count(spec.finalists.count);
    proto.mutable_finalists()->set_benchmark(spec.finalists.benchmark);
    proto.mutable_finalists()->set_metric(spec.finalists.metric);
  }
  if (spec.attempt_timeout != absl::InfiniteDuration()) *proto.mutable_attempt_timeout() = ToProto(spec.attempt_timeout);
  proto.set_priority(spec.priority);
  if (spec.share != 1) proto.set_share(spec.share);
  if (spec.workers != WorkerRequirements{}) {
    v1::WorkerRequirements* workers = proto.mutable_workers();
    workers->set_memory_gib(static_cast<double>(spec.workers.memory_bytes) / kGiB);
    workers->set_device(spec.workers.device);
    workers->mutable_labels()->insert(spec.workers.labels.begin(), spec.workers.labels.end());
  }
  proto.set_config_from(spec.config_from);
  return proto;
}

absl::StatusOr<JobSpec> FromProto(const v1::JobSpec& proto) {
  JobSpec spec;
  spec.name = proto.name();
  spec.seed = proto.seed();
  for (const auto& [name, model] : proto.models())
    spec.models.push_back({name, model.path(), model.lora(), {model.rename().begin(), model.rename().end()}});
  SortByName(spec.models);
  MG_RETURN_IF_ERROR(ParseSpaces(proto.space(), "", &spec.parameter, &spec.data_flow));
  spec.optimizer = ParseOptimizer(proto.optimizer());
  for (const v1::Objective& o : proto.objectives()) {
    spec.objectives.push_back({o.benchmark(), o.metric(), o.has_weight() ? o.weight() : 1});
  }
  for (const auto& [name, b] : proto.benchmarks()) spec.benchmarks.push_back(FromProto(b, name));
  SortByName(spec.benchmarks);
  for (const auto& [name, b] : proto.held_out()) spec.held_out.push_back(FromProto(b, name));
  SortByName(spec.held_out);
  MG_ASSIGN_OR_RETURN(spec.budget, ParseBudget(proto.budget(), ""));
  for (int i = 0; i < proto.then_size(); ++i) {
    const std::string at = absl::StrCat("then[", i, "].");
    SearchStage& stage = spec.then.emplace_back();
    MG_RETURN_IF_ERROR(ParseSpaces(proto.then(i).space(), at, &stage.parameter, &stage.data_flow));
    stage.optimizer = ParseOptimizer(proto.then(i).optimizer());
    MG_ASSIGN_OR_RETURN(stage.budget, ParseBudget(proto.then(i).budget(), at));
  }
  MG_ASSIGN_OR_RETURN(spec.mode, ParseWord(proto.mode(), kModes, SearchMode::kSynchronous, "mode"));
  spec.samples.per_generation = proto.samples().per_generation();
  spec.samples.choose = proto.samples().choose();
  if (proto.samples().has_racing()) {
    const v1::Racing& p = proto.samples().racing();
    Racing& racing = spec.samples.racing.emplace();
    if (p.has_block()) racing.block = p.block();
    if (p.has_confidence()) racing.confidence = p.confidence();
  }
  for (const v1::Constraint& c : proto.constraints()) {
    Constraint& constraint = spec.constraints.emplace_back();
    constraint.benchmark = c.benchmark();
    constraint.metric = c.metric();
    if (c.has_at_least()) constraint.at_least = c.at_least();
    if (c.has_at_most()) constraint.at_most = c.at_most();
    constraint.at_least_model = c.at_least_model();
  }
  spec.finalists = {proto.finalists().count(), proto.finalists().benchmark(), proto.finalists().metric()};
  if (!proto.dtype().empty()) spec.dtype = proto.dtype();
  if (proto.has_max_attempts()) spec.max_attempts = proto.max_attempts();
  if (proto.has_attempt_timeout()) spec.attempt_timeout = FromProto(proto.attempt_timeout());
  spec.priority = proto.priority();
  if (proto.has_share()) spec.share = proto.share();
  const v1::WorkerRequirements& workers = proto.workers();
  if (!(workers.memory_gib() >= 0 && workers.memory_gib() <= kMemoryGibMax)) {
    return Bad("workers.memory_gib", absl::StrCat(workers.memory_gib(), " is not in [0, ", kMemoryGibMax, "]"));
  }
  spec.workers.memory_bytes = std::llround(workers.memory_gib() * kGiB);
  spec.workers.device = workers.device();
  spec.workers.labels = {workers.labels().begin(), workers.labels().end()};
  spec.config_from = proto.config_from();
  return spec;
}

}  // namespace merganser
