// The Pareto front of a job as it is shown: how many, how much of the space of objectives they cover, and where they lie.
#ifndef MERGANSER_COORDINATOR_HTTP_JOB_FRONT_H_
#define MERGANSER_COORDINATOR_HTTP_JOB_FRONT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace merganser {

class JobIndex;
class JobIndexes;
class JobManager;
struct JobSpec;

struct JobFront {
  // Of `points`: from a longer front so many stay, evenly along it, its ends among them.
  static constexpr size_t kPointsMax = 32;

  std::vector<std::string> objectives;  // "ja_math.acc"
  int64_t size = 0;
  std::vector<double> reference;            // by objective: where the hypervolume begins (VolumeReference)
  std::optional<double> volume;             // exact; nullopt: it would take too long
  std::vector<std::vector<double>> points;  // by objective; in order of the first one
};

// nullopt for a job with one objective, and while nothing is on the front.
std::optional<JobFront> FrontOf(const JobSpec& spec, const JobIndex& index);

// Of the newest `jobs_max` jobs that are not over, by id. Those that cannot be read now are left out.
std::map<std::string, JobFront> ActiveFronts(JobManager* manager, JobIndexes* indexes, size_t jobs_max);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_JOB_FRONT_H_
