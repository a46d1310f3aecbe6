// A mergekit YAML file as it is written: its keys and values, checked, with the line of each; no model is looked at.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_CONFIG_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_CONFIG_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/recipe.h"

namespace merganser {

// A parameter's value in one place of the file. mergekit writes it as a number, as a list of numbers (a gradient over the
// layers), or as a list of {filter, value} of which the first that matches a tensor's name counts.
struct MergekitSetting {
  struct Entry {
    std::string filter;          // substring of a tensor's name; "": every tensor
    std::vector<double> values;  // one: constant; more: a gradient
    bool steps = false;          // a gradient of booleans: no value between two of them
    int line = 0;
  };
  std::vector<Entry> entries;
  int line = 0;

  // The value for the tensor called `tensor_name` at `t` in [0, 1] of its slice; nullopt if no entry matches. Linear between
  // two values of a gradient.
  std::optional<double> At(absl::string_view tensor_name, double t) const;
};

using MergekitSettings = std::map<std::string, MergekitSetting>;

// The parameter's value for the tensor in the first of these scopes that has one.
std::optional<double> FirstValue(const std::string& parameter, const std::vector<const MergekitSettings*>& scopes,
                                 const std::string& tensor_name, double t);

// "path[@revision][+lora[@revision]]", or {model, lora}.
struct MergekitModel {
  std::string path;  // revision included
  std::string lora;
  int line = 0;
  bool SameAs(const MergekitModel& other) const { return path == other.path && lora == other.lora; }
};

struct MergekitSource {
  MergekitModel model;
  int first_layer = 0;
  int end_layer = -1;  // -1: all layers (`models`)
  MergekitSettings parameters;
};

struct MergekitSlice {
  std::string module;  // of `modules` that it is; "": there are none of their own
  std::vector<MergekitSource> sources;
  std::optional<MergekitModel> base_model;
  MergekitSettings parameters;
  int line = 0;
};

struct MergekitTokenRule {
  TokenRule rule;  // `rule.model` is not set
  std::optional<MergekitModel> model;
  int line = 0;
};

struct MergekitConfig {
  std::string file;  // for messages
  std::string method;
  int method_line = 0;
  std::optional<MergekitModel> base_model;
  // `models` is one slice of all layers, and so is each of several modules; `whole_models` tells them from `slices`.
  std::vector<MergekitSlice> slices;
  bool whole_models = false;
  MergekitSettings parameters;
  std::string dtype, out_dtype;  // "" or a name that recipes know
  bool in_float64 = false;       // `dtype` is float64, and `out_dtype` is given
  int types_line = 0;            // of `dtype`, else of `out_dtype`, else of the method
  // The tokenizer block: "union", "base", "" (none), or "model" with `tokenizer_model`.
  std::string tokenizer_source;
  std::optional<MergekitModel> tokenizer_model;
  std::vector<MergekitTokenRule> tokens;
  int pad_to_multiple_of = 0;
  int tokenizer_line = 0;
  std::string chat_template;  // "", "auto" or Jinja text; of a named one its text

  // InvalidArgument "FILE:LINE: what".
  absl::Status Error(int line, absl::string_view what) const;
};

// Every entry with a filter of its own, once each.
std::vector<MergekitSetting::Entry> FilteredEntries(const MergekitConfig& config);

// Reads the file's text. `file` is named in messages. InvalidArgument "FILE:LINE: what", with the nearest valid name: not
// YAML, a key that mergekit does not have or that stands twice, a method that does not exist, a parameter that the method
// does not take in that place, a value of the wrong type, out of the parameter's bounds or not finite, layer ranges that are
// empty or of different lengths. Unimplemented "FILE:LINE: what": keys of mergekit that have no meaning here (`slices` of
// one of several modules, `override_architecture`).
absl::StatusOr<MergekitConfig> ParseMergekitConfig(absl::string_view text, const std::string& file);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_CONFIG_H_
