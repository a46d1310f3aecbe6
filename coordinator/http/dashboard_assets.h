// The files of dashboard/, as they are in the binary.
#ifndef MERGANSER_COORDINATOR_HTTP_DASHBOARD_ASSETS_H_
#define MERGANSER_COORDINATOR_HTTP_DASHBOARD_ASSETS_H_

#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

struct DashboardAsset {
  absl::string_view path;  // "/app.js"
  absl::string_view content_type;
  absl::string_view bytes;
};

const std::vector<DashboardAsset>& DashboardAssets();

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_DASHBOARD_ASSETS_H_
