#include "coordinator/rpc/page.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/rng.h"
#include "common/domain/limits.h"

namespace merganser {

absl::StatusOr<Page> MakePage(int32_t page_size, absl::string_view token, absl::string_view request, size_t count) {
  if (page_size < 0) {
    return absl::InvalidArgumentError(absl::StrCat("page_size: ", page_size, " is below 0"));
  }
  const size_t size = page_size == 0 ? limits::kPageSizeDefault : std::min<int32_t>(page_size, limits::kPageSizeMax);
  const std::string mark = absl::StrCat(absl::Hex(StableHash64(request), absl::kZeroPad16));
  Page page;
  if (!token.empty()) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(token, absl::MaxSplits('-', 1));
    uint64_t begin = 0;
    if (parts.first != mark || !absl::SimpleAtoi(parts.second, &begin)) {
      return absl::InvalidArgumentError(absl::StrCat("page_token: '", token, "' is not of this request"));
    }
    page.begin = std::min<uint64_t>(begin, count);
  }
  page.end = std::min(count, page.begin + size);
  if (page.end < count) page.next_token = absl::StrCat(mark, "-", page.end);
  return page;
}

}  // namespace merganser
