#include "common/domain/dispatch.h"

namespace merganser {

absl::string_view ToString(Disposition disposition) {
  switch (disposition) {
    case Disposition::kCommitted:
      return "committed";
    case Disposition::kDuplicate:
      return "duplicate";
    case Disposition::kSuperseded:
      return "superseded";
    case Disposition::kRejected:
      return "rejected";
  }
  return "unknown";
}

}  // namespace merganser
