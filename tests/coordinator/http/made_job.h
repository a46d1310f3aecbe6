// A job that never ran: its log and its records are made up, so that pages and charts have something to show without models.
#ifndef MERGANSER_TESTS_COORDINATOR_HTTP_MADE_JOB_H_
#define MERGANSER_TESTS_COORDINATOR_HTTP_MADE_JOB_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/domain/events.h"

namespace merganser {

struct MadeJobOptions {
  std::string name = "made";
  int64_t candidates = 40;  // of the search, 10 a generation (100 where there are 1,000 or more)
  int layers = 6;
  int objectives = 1;  // 1 or 2
  bool path = false;   // recipes are a route through two models instead of a merge
  int samples = 20;    // per record; of 1,000 candidates or more only each generation's first two and best have one
};

struct MadeJob {
  JobSpec spec;
  std::vector<JobEvent> events;                // the whole log; the job has succeeded
  std::map<std::string, std::string> records;  // by key
};

// As the job `job_id`. The same options give the same job; fitness climbs from about 0.1 to 0.8, one candidate in ten fails.
MadeJob MakeJob(const std::string& job_id, const MadeJobOptions& options);

}  // namespace merganser

#endif  // MERGANSER_TESTS_COORDINATOR_HTTP_MADE_JOB_H_
