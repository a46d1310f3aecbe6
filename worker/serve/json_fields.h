// The arguments of a request, each taken once; what nobody took is a misspelt argument.
#ifndef MERGANSER_WORKER_SERVE_JSON_FIELDS_H_
#define MERGANSER_WORKER_SERVE_JSON_FIELDS_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace merganser {

// Thread-compatible. Of the readers below, an argument that is absent or null leaves the value as it is; an error is
// ParamError.
class JsonFields {
 public:
  // `object` is a JSON object and outlives this.
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  // Null if the argument is absent or null.
  const nlohmann::json* Take(const std::string& name);
  absl::Status Number(const std::string& name, double low, double high, double* value);
  absl::Status Integer(const std::string& name, int64_t low, int64_t high, int64_t* value);
  absl::Status Bool(const std::string& name, bool* value);
  absl::Status String(const std::string& name, std::string* value);
  // An argument that is accepted only with a value that changes nothing: absent, null, or one of `neutral`.
  absl::Status Neutral(const std::string& name, const nlohmann::json& neutral);
  // Accepted and without effect here (who asks, for the provider's own books).
  void Ignore(const std::string& name) { taken_.insert(name); }

  // Names the first argument that was not taken.
  absl::Status CheckAllTaken() const;

 private:
  const nlohmann::json& object_;
  std::set<std::string> taken_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_JSON_FIELDS_H_
