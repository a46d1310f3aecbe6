// The coordinator's dashboard: a page for people, and the JSON under /api/ that it draws. The files of the page are in
// dashboard/ and are part of the binary. docs/dashboard.md lists the paths.
#ifndef MERGANSER_COORDINATOR_HTTP_DASHBOARD_H_
#define MERGANSER_COORDINATOR_HTTP_DASHBOARD_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/rpc/http_server.h"
#include "common/store/results_store.h"
#include "coordinator/http/job_indexes.h"
#include "coordinator/job/job_manager.h"

namespace merganser {

struct DashboardOptions {
  std::string store_uri;  // shown
  // May the holder of this bearer token ("" if the request has none) look, or (`change`) cancel, pause and resume jobs? Who
  // it is, for the log ("submitter/alice"; "" if nobody is known by name). Unset: everybody may.
  std::function<absl::StatusOr<std::string>(absl::string_view token, bool change)> authorize;
  // Names under which the page is reached ("127.0.0.1", "localhost"); a request for another host is refused, so that a page
  // from elsewhere cannot point a name of its own at this server (DNS rebinding). Unset: every name is good.
  std::function<bool(absl::string_view host)> host_allowed;
  // Of the same manager. Unset: its own, which read every log through the manager.
  std::shared_ptr<JobIndexes> indexes;
};

// What the pages say of requests: HttpServer::RequestHandler. Thread-safe. `manager` and `records` outlive it and every
// stream that it answered with.
//
// Everything but the page's own files asks `authorize`. A change (POST) needs the header "X-Merganser: dashboard", which a
// form or a script of another site cannot send. Errors are {"error": text} with 400, 401, 403, 404, 409 or 503.
HttpServer::RequestHandler MakeDashboard(JobManager* manager, RecordStore* records, DashboardOptions options);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_DASHBOARD_H_
