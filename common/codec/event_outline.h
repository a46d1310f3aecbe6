// An event of a job's log without what nearly all of its bytes are.
#ifndef MERGANSER_COMMON_CODEC_EVENT_OUTLINE_H_
#define MERGANSER_COMMON_CODEC_EVENT_OUTLINE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

// The bytes of a JobEvent (JobCodec::EncodeEvent) without recipes and genomes of the candidates that it proposes; those of
// other events, and bytes that are no message, come back as they are. Takes the time of a copy of what stays.
std::string EventOutline(absl::string_view event);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CODEC_EVENT_OUTLINE_H_
