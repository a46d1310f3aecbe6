// Recipe <-> proto. FromProto checks shape, not meaning: InvalidArgument names the field.
#ifndef MERGANSER_COMMON_CODEC_RECIPE_CODEC_H_
#define MERGANSER_COMMON_CODEC_RECIPE_CODEC_H_

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "merganser/v1/recipe.pb.h"

namespace merganser {

v1::Recipe ToProto(const Recipe& recipe);
absl::StatusOr<Recipe> FromProto(const v1::Recipe& proto);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CODEC_RECIPE_CODEC_H_
