// Compares a job file with the spec that a stored job was started with.
#ifndef MERGANSER_CLIENT_SPEC_DIFFERENCE_H_
#define MERGANSER_CLIENT_SPEC_DIFFERENCE_H_

#include <optional>
#include <string>

#include "common/domain/job_spec.h"

namespace merganser {

// The first field, in order of its path, that differs: "budget.candidates: 400 in the store, 500 in
// the file"; nullopt if the specs are equal. A field that only one side has is "unset" on the
// other.
std::optional<std::string> SpecDifference(const JobSpec& stored, const JobSpec& file);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_SPEC_DIFFERENCE_H_
