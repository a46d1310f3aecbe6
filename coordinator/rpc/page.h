// Paging of list calls (AIP-158): a token is the position after the page and names the request that it belongs to.
#ifndef MERGANSER_COORDINATOR_RPC_PAGE_H_
#define MERGANSER_COORDINATOR_RPC_PAGE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct Page {
  size_t begin = 0;
  size_t end = 0;
  std::string next_token;  // "" on the last page
};

// The page of `count` items. `request`: everything but size and token that decides the list. InvalidArgument: a negative
// size, or a token that is damaged or of another request. A size of 0 means limits::kPageSizeDefault; more than
// limits::kPageSizeMax is cut to it.
absl::StatusOr<Page> MakePage(int32_t page_size, absl::string_view token, absl::string_view request, size_t count);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_PAGE_H_
