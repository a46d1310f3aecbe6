#include "coordinator/http/job_front.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/http/job_index.h"
#include "coordinator/http/job_indexes.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/replay/front_volume.h"

namespace merganser {

std::optional<JobFront> FrontOf(const JobSpec& spec, const JobIndex& index) {
  const size_t objectives = spec.objectives.size();
  if (objectives < 2 || index.front().empty()) return std::nullopt;
  JobFront front;
  for (const Objective& o : spec.objectives) front.objectives.push_back(absl::StrCat(o.benchmark, ".", o.metric));
  front.size = static_cast<int64_t>(index.front().size());
  front.reference = VolumeReference(objectives, {index.lowest()});
  std::vector<std::vector<FrontValue>> values;
  std::vector<FitnessVector> points;
  for (const int64_t number : index.front()) {
    points.push_back(index.Find(number)->fitness);
    std::vector<FrontValue>& point = values.emplace_back();
    for (const double value : points.back()) point.push_back({value, "", {}});
  }
  front.volume = FrontVolume(values, front.reference);
  std::sort(points.begin(), points.end());
  const size_t shown = std::min(points.size(), JobFront::kPointsMax);
  for (size_t i = 0; i < shown; ++i) {
    front.points.push_back(points[shown < 2 ? 0 : i * (points.size() - 1) / (shown - 1)]);
  }
  return front;
}

std::map<std::string, JobFront> ActiveFronts(JobManager* manager, JobIndexes* indexes, size_t jobs_max) {
  std::map<std::string, JobFront> fronts;
  const absl::StatusOr<std::vector<JobSummary>> jobs = manager->ListJobs();
  if (!jobs.ok()) return fronts;
  size_t looked = 0;
  for (auto job = jobs->rbegin(); job != jobs->rend() && looked < jobs_max; ++job) {
    if (IsTerminal(job->phase) || job->spec.objectives.size() < 2) continue;
    ++looked;
    // A job that was deleted meanwhile, or a store that is away, shows nothing until the next look.
    indexes
        ->Look(job->id,
               [&](const JobSummary& summary, const JobIndex& index) {
                 if (auto front = FrontOf(summary.spec, index)) fronts[summary.id] = *std::move(front);
               })
        .IgnoreError();
  }
  return fronts;
}

}  // namespace merganser
